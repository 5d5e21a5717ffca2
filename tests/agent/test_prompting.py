"""Examples before a conversation: which are chosen, how many are shown, and that they stay out of the episode."""

from dataclasses import replace

import torch
from transformers import OPTConfig, OPTForCausalLM

from toolslm_helpers.agent import prompting
from toolslm_helpers.agent.prompting import FewShotAgent, choose_examples, mean_shown, with_examples
from toolslm_helpers.agent.search import ModelAgent, opening_messages, play_episodes
from toolslm_helpers.data import queries
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.sizes import SIZES
from toolslm_helpers.text.flatten import prompt_ids
from toolslm_helpers.text.protocol import parse_action
from toolslm_helpers.text.tokenizer import load_small_tokenizer

WORLD = build_world(0)
QUERIES = [query for name in SETS for query in queries.test_queries(WORLD, name)[:3]]
TOKENIZER = load_small_tokenizer()
EXAMPLES = choose_examples(WORLD, 3, seed=0)
GIVE_UP = '\nThought: No.\nAction: Finish\nAction Input: {"return_type": "give_up_and_restart"}'


def tokens(messages):
    return len(prompt_ids(messages, TOKENIZER))


def model_agent(max_length=768):
    config = OPTConfig(
        vocab_size=len(TOKENIZER), hidden_size=16, word_embed_proj_dim=8, num_hidden_layers=1, ffn_dim=32, num_attention_heads=2,
        max_position_embeddings=4096, do_layer_norm_before=False,
    )  # fmt: skip
    torch.manual_seed(0)
    return ModelAgent(OPTForCausalLM(config).eval(), TOKENIZER, replace(SIZES["smoke"], max_length=max_length, max_new_tokens=4))


def test_examples_are_short_gold_trajectories_of_training_queries_with_one_call():
    training = {query.query.query: query for query in queries.train_queries(WORLD, prompting.AMONG)}
    for example in EXAMPLES:
        assert example.query in training and training[example.query].goal.kind == "answer"
        assert [message.role for message in example.messages] == ["system", "user", "assistant", "function", "assistant"]
        call, answer = (parse_action(message.content) for message in example.messages if message.role == "assistant")
        assert [function.name for function in example.functions] == [call.action] and call.action in example.messages[0].content
        assert answer.action == "Finish" and answer.arguments["return_type"] == "give_answer"
    assert len({example.id for example in EXAMPLES}) == 3
    assert not {example.query for example in EXAMPLES} & {query.query.query for query in QUERIES}


def test_the_seed_chooses_and_nothing_else():
    assert choose_examples(WORLD, 3, seed=0) == EXAMPLES
    assert len({tuple(e.id for e in choose_examples(WORLD, 3, seed)) for seed in range(6)}) > 3


def test_three_examples_leave_room_for_a_query_and_its_turn():
    """Measured on opt-mini's 768 positions: nearly every first turn has all three."""
    agent = with_examples(model_agent(), EXAMPLES)
    sample = [query for name in SETS for query in queries.test_queries(WORLD, name)[:40]]
    shown = [len(agent.shown(opening_messages(WORLD, query.query, "compact"))) for query in sample]
    assert min(shown) >= 2 and 2.8 <= mean_shown(agent, WORLD, sample, "compact") == round(sum(shown) / len(shown), 2)


def test_the_prompt_is_the_examples_then_the_conversation_unchanged():
    seen = []

    def agent(conversations):
        seen.extend((c.turn_seed, list(c.messages)) for c in conversations)
        return [GIVE_UP for _ in conversations]

    few_shot = FewShotAgent(agent, EXAMPLES, lambda messages: True)
    episodes = play_episodes(few_shot, WORLD, QUERIES, "compact", 3, seed=7)
    examples = [message for example in EXAMPLES for message in example.messages]
    by_seed = dict(seen)
    for query, episode in zip(QUERIES, episodes, strict=True):
        assert by_seed[7, query.query.query_id, 0] == examples + opening_messages(WORLD, query.query, "compact")
        assert [step.action for step in episode.steps] == ["Finish"], "the examples' calls are no steps of the episode"
    assert episodes == play_episodes(agent, WORLD, QUERIES, "compact", 3, seed=7)


def test_the_last_examples_stay_and_room_is_kept_for_a_turn():
    messages = opening_messages(WORLD, QUERIES[0].query, "compact")
    alone = tokens(messages)
    sizes = [tokens([m for example in EXAMPLES[k:] for m in example.messages] + messages) for k in range(3)]
    for room, first in (
        (sizes[0], 0),
        (sizes[0] - 1, 1),
        (sizes[1], 1),
        (sizes[1] - 1, 2),
        (sizes[2], 2),
        (sizes[2] - 1, 3),
        (alone, 3),
    ):
        agent = with_examples(model_agent(room + prompting.ROOM_FOR_A_TURN), EXAMPLES)
        assert agent.shown(messages) == EXAMPLES[first:], (room, first)
        assert agent.prompt(messages) == [m for example in EXAMPLES[first:] for m in example.messages] + messages


def test_a_longer_conversation_pushes_examples_out_and_an_episode_ends_where_it_would_without_them():
    lengths = []

    class Spy(ModelAgent):
        def prompt(self, messages):
            lengths.append(sum(message.role == "user" for message in messages) - 1)
            return super().prompt(messages)

    agent = model_agent()
    few_shot = with_examples(Spy(agent.model, agent.tokenizer, agent.size), EXAMPLES)
    (with_them,) = play_episodes(few_shot, WORLD, QUERIES[:1], "compact", 10, seed=0)
    (without,) = play_episodes(agent, WORLD, QUERIES[:1], "compact", 10, seed=0)
    assert with_them.ended == without.ended and len(with_them.steps) == len(without.steps) > 3
    assert max(lengths) == 3 and lengths[-1] < 3


def test_no_example_is_no_change():
    agent = model_agent()
    size = replace(agent.size, max_iterations=2)
    plain = play_episodes(agent, WORLD, QUERIES[:3], "compact", size.max_iterations, seed=0)
    assert play_episodes(with_examples(agent, ()), WORLD, QUERIES[:3], "compact", size.max_iterations, seed=0) == plain
    assert mean_shown(agent, WORLD, QUERIES, "compact") == 0
