"""DFSDT on scripted models: the order of states, how far it backs off, what it says, what it keeps."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import OPTConfig, OPTForCausalLM

from toolslm_helpers.agent.dfsdt import Dfsdt, path_to, search_named
from toolslm_helpers.agent.search import ModelAgent, opening_messages, play_episodes, single_chain
from toolslm_helpers.data.queries import test_queries as queries_of
from toolslm_helpers.data.toolbench import read_tree
from toolslm_helpers.data.world import build_world
from toolslm_helpers.files import WorkbookError
from toolslm_helpers.sizes import get_size
from toolslm_helpers.text.flatten import prompt_ids
from toolslm_helpers.text.protocol import diversity_text
from toolslm_helpers.text.tokenizer import load_small_tokenizer

WORLD = build_world(0)
QUERY = queries_of(WORLD, "G1_instruction")[0]
ANSWER = '\nThought: Done.\nAction: Finish\nAction Input: {"return_type": "give_answer", "final_answer": "48"}'
GIVE_UP = '\nThought: No.\nAction: Finish\nAction Input: {"return_type": "give_up_and_restart"}'


def call(name):
    return f"\nThought: t\nAction: {name}\nAction Input: {{}}"


def play(*turns, **limits):
    """Plays turns in the order they are asked for -> (episode, the path and the last message that each turn was asked with)."""
    told, left = [], list(turns)

    def agent(conversations):
        (one,) = conversations
        told.append(("".join(step.action for step in one.steps), one.messages[-1]))
        return [left.pop(0)]

    (episode,) = play_episodes(agent, WORLD, [QUERY], "compact", 10, 0, search=Dfsdt(**limits))
    return episode, told


def shape(tree):
    return {node.step.action: shape(node.children) for node in tree}


def test_preorder_and_two_states_back_after_giving_up():
    """a-b-c-give up: back to the state after a, not to the one after b; its second action is tried there, and that path answers."""
    episode, told = play(call("a"), call("b"), call("c"), GIVE_UP, call("d"), ANSWER)
    assert [path for path, _ in told] == ["", "a", "ab", "abc", "ab", "abd"]
    assert shape(episode.tree) == {"a": {"b": {"c": {"Finish": {}}, "d": {"Finish": {}}}}}
    assert [step.action for step in episode.steps] == ["a", "b", "d", "Finish"]
    assert (episode.ended, episode.return_type, episode.final_answer, episode.turns) == ("finish", "give_answer", "48", 6)


@pytest.mark.parametrize(("back_off", "second"), [(1, "abc"), (2, "ab"), (3, "a"), (4, "")])
def test_how_far_it_backs_off(back_off, second):
    _, told = play(call("a"), call("b"), call("c"), GIVE_UP, ANSWER, back_off=back_off)
    assert told[4][0] == second


def test_the_first_answer_stops_it():
    episode, told = play(ANSWER)
    assert len(told) == 1 and shape(episode.tree) == {"Finish": {}}


def test_only_giving_up_is_giving_up():
    """Depth 1: two actions from the start, both of which give up, and nothing else is left."""
    episode, told = play(GIVE_UP)
    assert len(told) == 1, "two states back from the end of the first path: there is no state left"
    assert (episode.ended, episode.return_type) == ("finish", "give_up_and_restart")
    episode, told = play(call("a"), GIVE_UP, GIVE_UP)
    assert [path for path, _ in told] == ["", "a", ""] and [s.action for s in episode.steps] == ["a", "Finish"]


def test_depth_is_counted_in_calls_and_a_broken_finish_is_one():
    broken = "\nAction: Finish\nAction Input: {}"
    turns = [call("a"), broken, call("b"), call("c"), call("d"), call("e")]
    episode, told = play(*turns, max_depth=2)
    assert [path for path, _ in told] == ["", "a", "a", "", "c", "c"]
    assert (episode.ended, [s.action for s in episode.steps]) == ("iterations", ["c", "e"])
    assert shape(episode.tree) == {"a": {"Finish": {}, "b": {}}, "c": {"d": {}, "e": {}}}


def test_the_budget_is_for_the_query():
    episode, told = play(*[call("a")] * 7, max_turns=7, max_depth=3)
    assert len(told) == 7 == episode.turns and episode.ended == "iterations"


def test_no_room_ends_a_path_and_where_there_never_was_any_the_query():
    assert play(None)[0].ended == "context"
    episode, told = play(call("a"), None, ANSWER)
    assert [path for path, _ in told] == ["", "a", ""] and episode.final_answer == "48"


def test_a_second_try_is_told_the_first_and_only_that_turn_is():
    episode, told = play(call("a"), GIVE_UP, call("b"), call("c"), ANSWER)
    assert told[2][1].role == "user" and told[2][1].content == "Tried before: a({}). Try something else."
    assert [message.role for _, message in told] == ["user", "function", "user", "function", "function"]
    assert told[0][1].content == QUERY.query.query and episode.steps[0].action == "b"


def test_toolbenchs_own_words(toolbench_dir):
    """The search's prompts in the published trees are made again from what they say, to the letter."""
    made = 0
    for path in sorted((toolbench_dir / "raw_trees").glob("*/*.json")):
        for messages in read_tree(path).answer_generation.train_messages:
            for before, message in zip(messages, messages[1:], strict=False):
                text = message.content or ""
                if message.role != "user" or not text.startswith("This is not the first time"):
                    continue
                listed, end = json.JSONDecoder().raw_decode(text, text.index("[\n"))
                steps = [_Said(one["name"], one["arguments"], one["function_output"]) for one in listed]
                again = "again, your former observation: "
                observation = text[end:].partition(again)[2].partition("\n\nRemember")[0]
                assert diversity_text(steps, observation, "toolbench") == text
                assert not observation or before.role != "function" or before.content == observation
                made += 1
    assert made > 10


class _Said:
    def __init__(self, action, action_input, observation):
        self.action, self.action_input, self.observation = action, action_input, observation


SCRIPT = st.lists(st.sampled_from([call("a"), call("b"), GIVE_UP, ANSWER, "nonsense", None]), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(SCRIPT, st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 12))
def test_whatever_happens_the_limits_hold(script, width, back_off, depth, turns):
    asked = []

    def agent(conversations):
        asked.append(conversations[0].turn_seed)
        return [script[(len(asked) - 1) % len(script)]]

    search = Dfsdt(width=width, back_off=back_off, max_depth=depth, max_turns=turns)
    (episode,) = play_episodes(agent, WORLD, [QUERY], "compact", 10, 0, search=search)
    assert len(asked) <= turns and len(set(asked)) == len(asked), "each turn has a seed of its own"
    assert episode.turns == sum(script[i % len(script)] is not None for i in range(len(asked)))

    def check(nodes, level):
        assert len(nodes) <= width and (not nodes or level <= depth)
        for node in nodes:
            check(node.children, level + 1)

    check(episode.tree, 1)
    assert [node.step for node in path_to(episode.tree, episode.steps)] == list(episode.steps)
    assert (episode.return_type == "give_answer") == (episode.final_answer is not None)


TOKENIZER = load_small_tokenizer()


def random_model():
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=len(TOKENIZER), hidden_size=16, word_embed_proj_dim=8, num_hidden_layers=1, ffn_dim=32, init_std=0.5,
        num_attention_heads=2, max_position_embeddings=1024, do_layer_norm_before=False,
    )  # fmt: skip
    return OPTForCausalLM(config).eval()


def test_a_model_plays_it_and_its_first_path_is_the_chains():
    size = replace(get_size("smoke"), max_new_tokens=6, max_iterations=3, temperature=1.0)
    agent = ModelAgent(random_model(), TOKENIZER, size)
    many = queries_of(WORLD, "G1_instruction")[:3]
    trees = play_episodes(agent, WORLD, many, "compact", 3, 0, batch_size=2, search=Dfsdt(max_depth=3, max_turns=9))
    chains = play_episodes(agent, WORLD, many, "compact", 3, 0, search=single_chain(3))
    for tree, chain in zip(trees, chains, strict=True):
        node, first = tree.tree[0], [tree.tree[0].step]
        while node.children:
            node = node.children[0]
            first.append(node.step)
        assert first == list(chain.steps) and tree.turns == 9


def test_prompts_are_shortened_on_every_branch_and_what_was_read_before_does_not_change_the_turns(monkeypatch):
    """The prompt that a branch is asked with holds the query and what was tried; a memory of another branch's prompt is no harm."""
    size = replace(get_size("smoke"), max_new_tokens=6, temperature=0, truncation="shorten")
    search, many = Dfsdt(max_depth=3, max_turns=9), queries_of(WORLD, "G3_instruction")[:3]
    opening = max(len(prompt_ids(opening_messages(WORLD, query.query, "compact"), TOKENIZER)) for query in many)
    agent = ModelAgent(random_model(), TOKENIZER, replace(size, max_length=opening + 120))
    prompts, written, cut = [], agent._write, []

    def watched(conversations, asked):
        prompts.extend(zip(conversations, map(TOKENIZER.decode, asked), strict=True))
        cut.extend(
            agent.shortened(conversation).trajectory.messages != tuple(conversation.messages) for conversation in conversations
        )
        assert max(map(len, asked)) <= agent.limit - agent.room
        return written(conversations, asked)

    def forgetful(conversations):
        for conversation in conversations:
            conversation.memory = None
        return agent(conversations)

    monkeypatch.setattr(ModelAgent, "_write", lambda self, *arguments: watched(*arguments))
    remembered = play_episodes(agent, WORLD, many, "compact", 3, 0, search=search)
    again = [
        (conversation, text) for conversation, text in prompts if conversation.messages[-1].role == "user" and conversation.turn
    ]
    assert len(prompts) == 27 and len(again) >= 9 and 9 <= sum(cut) < 27
    for conversation, text in prompts:
        assert conversation.world_query.query.query in text
    assert all("Tried before: " in text and text.endswith("Try something else.\nAssistant: ") for _, text in again)
    assert remembered == play_episodes(forgetful, WORLD, many, "compact", 3, 0, search=search)


def test_names():
    size = get_size("tiny")
    assert search_named("dfsdt", size) == Dfsdt("compact") and callable(search_named("cot", size))
    with pytest.raises(WorkbookError, match="'bfs'; expected one of 'cot', 'dfsdt'"):
        search_named("bfs", size)
    with pytest.raises(ValueError, match="width is 0"):
        Dfsdt(width=0)
