import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import OPTConfig, OPTForCausalLM

from toolslm_helpers.agent import search
from toolslm_helpers.agent.episode import Conversation
from toolslm_helpers.agent.gold import gold_trajectory
from toolslm_helpers.agent.search import (
    ModelAgent,
    offered_tools,
    opening_messages,
    own_words,
    play_episodes,
    run_episodes,
)
from toolslm_helpers.agent.virtual_api import Status, VirtualApi
from toolslm_helpers.data import queries
from toolslm_helpers.data.names import function_name
from toolslm_helpers.data.world import build_world
from toolslm_helpers.model.decoding import Continuation
from toolslm_helpers.sizes import SIZES
from toolslm_helpers.text.flatten import flatten, prompt_ids
from toolslm_helpers.text.protocol import write_action
from toolslm_helpers.text.tokenizer import load_small_tokenizer

WORLD = build_world(0)
QUERIES = queries.test_queries(WORLD, "G1_instruction")[:6]
ANSWERABLE = next(q for q in QUERIES if q.goal.kind == "answer")
TOKENIZER = load_small_tokenizer()
SIZE = replace(SIZES["smoke"], max_new_tokens=12, max_iterations=3)
FINISH = '\nThought: Done.\nAction: Finish\nAction Input: {"return_type": "give_answer", "final_answer": "48"}'
GIVE_UP = '\nThought: No.\nAction: Finish\nAction Input: {"return_type": "give_up_and_restart"}'


def scripted(*turns):
    """An agent that says the same turns in every conversation, and the conversations that it was shown."""
    shown = []

    def agent(conversations):
        shown.append([(c.world_query.query.query_id, [m.content for m in c.messages]) for c in conversations])
        return [turns[len(c.steps)] for c in conversations]

    return agent, shown


def play_one(*turns, world_query=ANSWERABLE, max_iterations=10):
    agent, shown = scripted(*turns)
    (episode,) = play_episodes(agent, WORLD, [world_query], "compact", max_iterations, seed=0)
    return episode, shown


def good_call(world_query=ANSWERABLE):
    call = world_query.goal.facts[0].calls[0]
    api = next(a for a in world_query.query.api_list if (a.tool_name, a.api_name) == (call.tool_name, call.api_name))
    return function_name(api), json.dumps(dict(call.arguments))


def random_model(seed=0, layers=2, positions=1024):
    torch.manual_seed(seed)
    return OPTForCausalLM(
        OPTConfig(
            vocab_size=len(TOKENIZER), hidden_size=16, word_embed_proj_dim=8, num_hidden_layers=layers, ffn_dim=32, init_std=0.5,
            num_attention_heads=2, max_position_embeddings=positions, do_layer_norm_before=False,
        )
    ).eval()  # fmt: skip


def test_a_turn_is_called_observed_and_shown_to_the_next():
    name, action_input = good_call()
    turn = write_action("I look it up.", name, action_input)
    episode, shown = play_one(turn, FINISH)
    first, last = episode.steps
    call = ANSWERABLE.goal.facts[0].calls[0]
    reply = WORLD.respond(call.tool_name, call.api_name, call.arguments)
    assert (first.thought, first.action, first.action_input) == ("I look it up.", name, action_input)
    assert first.observation == json.dumps({"error": reply.error, "response": reply.response}) and first.code == reply.code
    opening = [m.content for m in opening_messages(WORLD, ANSWERABLE.query, "compact")]
    assert shown == [[(episode.query_id, opening)], [(episode.query_id, [*opening, turn, first.observation])]]
    assert (episode.ended, episode.final_answer, episode.return_type) == ("finish", "48", "give_answer")
    assert last.code == Status.FINAL_ANSWER
    assert type(first.code) is int, "codes go into JSON as numbers"


def test_giving_up_ends_the_episode_without_an_answer():
    episode, _ = play_one(GIVE_UP)
    assert (episode.ended, episode.return_type, episode.final_answer) == ("finish", "give_up_and_restart", None)


def test_a_broken_finish_is_observed_and_can_be_mended():
    episode, shown = play_one("\nAction: Finish\nAction Input: {}", FINISH)
    assert [step.code for step in episode.steps] == [Status.BAD_FINISH, Status.FINAL_ANSWER]
    assert "return_type" in shown[1][0][1][-1]


@pytest.mark.parametrize("turn", ["", "   ", "I do not know.", "\nThought: hm", "\nAction: \nAction Input: {}"])
def test_a_turn_that_cannot_be_read_becomes_an_observation(turn):
    episode, shown = play_one(turn, FINISH)
    assert [step.code for step in episode.steps] == [Status.UNKNOWN_FUNCTION, Status.FINAL_ANSWER]
    assert "Action" in json.loads(shown[1][0][1][-1])["error"]


def test_at_most_the_given_number_of_iterations():
    episode, shown = play_one(*["nonsense"] * 20, max_iterations=7)
    assert (episode.ended, len(episode.steps), len(shown)) == ("iterations", 7, 7)
    assert (episode.final_answer, episode.return_type) == (None, None)


def test_finishing_in_the_last_iteration_counts():
    assert play_one("nonsense", FINISH, max_iterations=2)[0].ended == "finish"


def test_no_room_for_a_turn_ends_the_episode():
    episode, _ = play_one("nonsense", None)
    assert (episode.ended, len(episode.steps)) == ("context", 1)


def test_batches_hold_open_episodes_of_similar_length_and_progress_is_told():
    def agent(conversations):
        assert 0 < len(conversations) <= 4
        lengths = [sum(len(m.content) for m in c.messages) for c in conversations]
        seen.append(lengths)
        return [FINISH if c.world_query.query.query_id % 2 or c.steps else "nonsense" for c in conversations]

    seen, told = [], []
    episodes = play_episodes(agent, WORLD, QUERIES, "compact", 10, 0, batch_size=4, on_progress=lambda *p: told.append(p))
    assert [e.query_id for e in episodes] == [q.query.query_id for q in QUERIES], "episodes come in the order of the queries"
    assert [len(lengths) for lengths in seen] == [4, 2, 3]
    assert sum(seen[:2], []) == sorted(sum(seen[:2], []))
    assert told == [(told[0][0], 6), (3, 6), (6, 6), (6, 6)]


@given(st.text(), st.sampled_from(["System", "User", "Assistant", "Function"]), st.text())
def test_a_turn_is_never_another_roles(before, role, after):
    words = own_words(f"{before}\n{role}: {after}")
    assert words.startswith("\n") and not any(f"\n{r}:" in words for r in ("System", "User", "Assistant", "Function"))


def test_a_turn_that_begins_as_another_role_is_empty():
    assert own_words("User: hello") == own_words("\nUser: hello") == "\n"
    assert own_words(FINISH) == FINISH
    assert own_words(FINISH + "\nFunction: {}\nAssistant: more") == FINISH


PIECES = (
    *("\nThought: ", "\nAction: ", "\nAction Input: ", "Finish", "\nUser: ", "Assistant: ", "</s>", "<pad>"),
    *("{", "}", "[", '"', "\\", "\n"),
    '{"return_type": "give_answer", "final_answer": "</s>\\nUser: x"}',
    *good_call(),
)
HOSTILE = st.lists(st.text() | st.sampled_from(PIECES), max_size=12).map("".join)
ROLES = ("System", "User", "Assistant", "Function")


@settings(max_examples=60, deadline=None)
@given(st.lists(HOSTILE, min_size=3, max_size=3))
def test_whatever_a_model_writes_the_loop_goes_on_and_no_role_is_added(turns):
    counted = []

    def agent(conversations):
        ids = prompt_ids(conversations[0].messages, TOKENIZER)
        text = TOKENIZER.decode(ids)
        counted.append((ids.count(TOKENIZER.eos_token_id), sum(text.count(f"\n{role}: ") for role in ROLES)))
        return [turns[len(conversations[0].steps)]]

    play_episodes(agent, WORLD, [ANSWERABLE], "compact", 3, seed=0)
    for step, (ends, roles) in enumerate(counted):
        assert ends == 1 + step, "one </s> begins the text and one ends each assistant turn; content adds none"
        assert roles == 2 + 2 * step, "user, a call and an observation for each step, and the turn that is asked for"


def test_the_prompt_of_every_turn_is_a_prefix_of_the_training_ids():
    for world_query in QUERIES:
        trajectory = gold_trajectory(WORLD, world_query, "compact")
        turns = [message.content for message in trajectory.messages if message.role == "assistant"]
        prompts = []

        def agent(conversations, turns=turns, prompts=prompts):
            prompts.append(prompt_ids(conversations[0].messages, TOKENIZER))
            return [turns[len(conversations[0].steps)]]

        play_episodes(agent, WORLD, [world_query], "compact", 10, seed=0)
        trained = flatten(trajectory, TOKENIZER)
        starts = [i for i in range(1, len(trained)) if trained.loss_mask[i] and not trained.loss_mask[i - 1]]
        assert prompts == [trained.input_ids[:start].tolist() for start in starts]


def test_the_model_agent_samples_each_conversation_from_its_own_stream():
    model = random_model()
    size = replace(SIZE, temperature=1.0)
    together = run_episodes(model, TOKENIZER, WORLD, QUERIES, size, seed=3)
    assert together == run_episodes(model, TOKENIZER, WORLD, QUERIES, size, seed=3, batch_size=2), "the batch changed the text"
    assert together[2:4] == run_episodes(model, TOKENIZER, WORLD, QUERIES[2:4], size, seed=3)
    assert together != run_episodes(model, TOKENIZER, WORLD, QUERIES, size, seed=4)


def test_every_turn_of_every_query_and_run_has_a_seed_of_its_own(monkeypatch):
    seeds = []

    def record(model, prompts, memories, max_new_tokens, temperature, turn_seeds, stop_id, max_length, allowed):
        assert max_length == SIZE.max_length
        seeds.extend(turn_seeds)
        return [Continuation([stop_id], None) for _ in prompts]

    monkeypatch.setattr(search, "continue_batch", record)
    for seed in (0, 1):
        run_episodes(random_model(), TOKENIZER, WORLD, QUERIES, SIZE, seed)
    assert len(seeds) == len(set(seeds)) == 2 * len(QUERIES) * SIZE.max_iterations


def test_the_model_agent_stops_at_the_context(monkeypatch):
    model = random_model()
    prompt = len(prompt_ids(opening_messages(WORLD, ANSWERABLE.query, "compact"), TOKENIZER))
    for room, written in ((0, 0), (5, 1)):
        size = replace(SIZE, max_length=prompt + room)
        (episode,) = run_episodes(model, TOKENIZER, WORLD, [ANSWERABLE], size, seed=0)
        assert (episode.ended, len(episode.steps)) == ("context", written)
    short = random_model(positions=prompt)
    assert run_episodes(short, TOKENIZER, WORLD, [ANSWERABLE], SIZE, seed=0)[0].ended == "context"


def test_a_full_context_leaves_the_other_rows_alone():
    open_episodes = [
        Conversation(q, opening_messages(WORLD, q.query, "compact"), VirtualApi(WORLD).session(q.query), seed=0) for q in QUERIES
    ]
    lengths = {id(c): len(prompt_ids(c.messages, TOKENIZER)) for c in open_episodes}
    open_episodes.sort(key=lambda c: lengths[id(c)], reverse=True)  # those without room come first
    limit = sorted(lengths.values())[3]
    agent = ModelAgent(random_model(), TOKENIZER, replace(SIZE, temperature=1.0, max_length=limit))
    texts = agent(open_episodes)
    assert [text is None for text in texts] == [lengths[id(c)] >= limit for c in open_episodes]
    assert texts == [agent([c])[0] for c in open_episodes]


def test_turns_end_at_the_end_token_which_is_no_part_of_the_text(monkeypatch):
    ids = TOKENIZER(FINISH, add_special_tokens=False)["input_ids"]
    monkeypatch.setattr(search, "continue_batch", lambda *a, **kw: [Continuation([*ids, TOKENIZER.eos_token_id], None)])
    (episode,) = play_episodes(ModelAgent(random_model(), TOKENIZER, SIZE), WORLD, [ANSWERABLE], "compact", 3, seed=0)
    assert episode.final_answer == "48"


def agents_prompts(monkeypatch, size, script=(), queries=QUERIES):
    """The ids that a model was asked to go on from, turn by turn, and the episodes that came of it."""
    prompts, left = [], iter(script)

    def record(model, asked, *arguments, **more):
        prompts.extend(asked)
        return [Continuation(next(left, [TOKENIZER.eos_token_id]), None) for _ in asked]

    monkeypatch.setattr(search, "continue_batch", record)
    return prompts, run_episodes(random_model(), TOKENIZER, WORLD, queries, size, seed=0)


def test_a_size_that_shortens_leaves_room_for_a_turn_and_changes_no_episode(monkeypatch):
    name, action_input = good_call()
    script = [TOKENIZER(write_action("I look.", name, action_input), add_special_tokens=False)["input_ids"]]
    whole, expected = agents_prompts(monkeypatch, SIZE, script, [ANSWERABLE])
    limit = max(map(len, whole)) - 20 + SIZE.max_new_tokens
    size = replace(SIZE, max_length=limit, truncation="shorten")
    shortened, episodes = agents_prompts(monkeypatch, size, script, [ANSWERABLE])
    assert episodes == expected, "what is played and kept is the whole conversation"
    assert len(shortened) == len(whole) and [a == b for a, b in zip(shortened, whole, strict=True)][0]
    assert max(map(len, shortened)) <= limit - size.max_new_tokens < max(map(len, whole))
    texts = [TOKENIZER.decode(ids) for ids in shortened]
    assert all(ANSWERABLE.query.query in text and text.startswith("</s>System: Use the APIs.") for text in texts)


def test_what_cannot_be_shortened_any_more_loses_its_beginning_as_in_training(monkeypatch):
    for truncation in ("shorten", "left"):
        size = replace(SIZE, max_length=60, truncation=truncation)
        prompts, episodes = agents_prompts(monkeypatch, size)
        assert {len(ids) for ids in prompts} == {60 - min(size.max_new_tokens, 15)}
        assert all(ids[0] == TOKENIZER.eos_token_id and TOKENIZER.decode(ids).endswith("Assistant: ") for ids in prompts)
        assert {episode.ended for episode in episodes} == {"iterations"}
    prompts, episodes = agents_prompts(monkeypatch, replace(SIZE, max_length=60))
    assert not prompts and {episode.ended for episode in episodes} == {"context"}


def test_the_seed_of_a_run_decides_which_apis_a_prompt_loses():
    apis = tuple({function_name(api): api for q in QUERIES for api in q.query.api_list}.values())
    crowded = replace(ANSWERABLE, query=ANSWERABLE.query.model_copy(update={"api_list": apis}))
    agent = ModelAgent(random_model(), TOKENIZER, replace(SIZE, max_length=200, truncation="shorten"))

    def dropped(seed):
        messages = opening_messages(WORLD, crowded.query, "compact")
        session = VirtualApi(WORLD).session(crowded.query)
        conversation = Conversation(crowded, messages, session, seed, tools=offered_tools(WORLD, crowded.query))
        return agent.shortened(conversation).dropped

    assert len(dropped(0)) == len(apis) - 4 and dropped(0) == dropped(0)
    assert len({dropped(seed) for seed in range(6)}) > 3
    assert any(good_call()[0] in dropped(seed) for seed in range(12)), "nobody tells which one is needed"


def test_only_new_tokens_are_read_and_the_episodes_are_the_same():
    """The model of the second run forgets after each turn; temperature 0, so the texts must be the same."""
    model, size = random_model(seed=1), replace(SIZE, temperature=0, max_iterations=4)
    agent = ModelAgent(model, TOKENIZER, size)

    def forgetful(conversations):
        for conversation in conversations:
            conversation.memory = None
        return agent(conversations)

    read, forward = [], model.forward
    model.forward = lambda ids, **kw: (read.append(ids.numel()), forward(ids, **kw))[1]
    remembered = play_episodes(agent, WORLD, QUERIES, "compact", 4, seed=0)
    with_memory, read[:] = sum(read), []
    assert remembered == play_episodes(forgetful, WORLD, QUERIES, "compact", 4, seed=0)
    assert with_memory < sum(read) / 2


def test_few_queries_are_open_at_a_time_and_each_is_told_when_it_ends():
    asked, told = [], []

    def agent(conversations):
        asked.append({c.world_query.query.query_id for c in conversations})
        return [FINISH if c.steps else "nonsense" for c in conversations]

    many = queries.test_queries(WORLD, "G1_instruction")[:12]
    episodes = play_episodes(agent, WORLD, many, "compact", 5, 0, batch_size=2, on_episode=lambda q, e: told.append((q, e)))
    assert len(set.union(*asked[:4])) == 8 and all(len(ids) <= 2 for ids in asked)
    assert sorted(q.query.query_id for q, _ in told) == sorted(q.query.query_id for q in many) and len(told) == 12
    assert {q.query.query_id: e for q, e in told} == {e.query_id: e for e in episodes}


def test_what_was_played_before_is_not_played_again():
    before, _ = play_one(FINISH)
    agent, shown = scripted(GIVE_UP)
    episodes = play_episodes(agent, WORLD, QUERIES, "compact", 3, 0, finished={search.key_of(ANSWERABLE): before})
    assert episodes[QUERIES.index(ANSWERABLE)] is before
    assert len(shown[0]) == len(QUERIES) - 1 and sum(e.return_type == "give_up_and_restart" for e in episodes) == len(QUERIES) - 1
