"""A model held to well-formed calls, whatever its weights: it plays, and nothing it writes is refused."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import OPTConfig, OPTForCausalLM

from toolslm_helpers.agent.constrained import ConstrainedAgent
from toolslm_helpers.agent.search import ModelAgent, opening_messages, play_episodes
from toolslm_helpers.agent.virtual_api import Status, check_arguments, parse_arguments
from toolslm_helpers.data import queries
from toolslm_helpers.data.names import FINISH, function_name
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.sizes import SIZES
from toolslm_helpers.text.flatten import prompt_ids
from toolslm_helpers.text.tokenizer import load_small_tokenizer

WORLD = build_world(0)
QUERIES = [query for name in SETS for query in queries.test_queries(WORLD, name)[:2]]
TOKENIZER = load_small_tokenizer()
SIZE = replace(SIZES["smoke"], temperature=1.0, max_length=4096, max_new_tokens=3, max_iterations=3)


def random_model(seed=0, positions=4096):
    torch.manual_seed(seed)
    config = OPTConfig(
        vocab_size=len(TOKENIZER), hidden_size=16, word_embed_proj_dim=8, num_hidden_layers=1, ffn_dim=32, init_std=0.5,
        num_attention_heads=2, max_position_embeddings=positions, do_layer_norm_before=False,
    )  # fmt: skip
    return OPTForCausalLM(config).eval()


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 1000))
def test_every_turn_of_a_random_model_is_a_call_of_an_offered_function_with_its_arguments(seed):
    episodes = play_episodes(ConstrainedAgent(random_model(seed), TOKENIZER, SIZE), WORLD, QUERIES, "compact", 3, seed)
    for query, episode in zip(QUERIES, episodes, strict=True):
        apis = {function_name(api): api for api in query.query.api_list}
        assert episode.steps and episode.ended != "context"
        for step in episode.steps:
            assert step.code not in (Status.UNKNOWN_FUNCTION, Status.BAD_FINISH), step
            if step.action != FINISH.name:
                check_arguments(apis[step.action], parse_arguments(step.action_input))
        assert (episode.ended == "finish") == (episode.steps[-1].action == FINISH.name)


def test_the_constraint_leaves_the_choice_between_a_call_and_the_end():
    actions = {
        step.action == FINISH.name
        for seed in range(4)
        for episode in play_episodes(ConstrainedAgent(random_model(seed), TOKENIZER, SIZE), WORLD, QUERIES, "compact", 3, seed)
        for step in episode.steps
    }
    assert actions == {True, False}


def test_without_the_constraint_the_same_model_writes_no_call():
    episodes = play_episodes(ModelAgent(random_model(), TOKENIZER, SIZE), WORLD, QUERIES, "compact", 1, seed=0)
    assert all(step.code == Status.UNKNOWN_FUNCTION for episode in episodes for step in episode.steps)


def test_a_row_does_not_see_the_constraint_of_its_neighbours():
    agent = ConstrainedAgent(random_model(), TOKENIZER, SIZE)
    together = play_episodes(agent, WORLD, QUERIES, "compact", 2, seed=1)
    assert together == play_episodes(agent, WORLD, QUERIES, "compact", 2, seed=1, batch_size=1)


def test_only_the_context_cuts_a_turn_off():
    prompt = len(prompt_ids(opening_messages(WORLD, QUERIES[0].query, "compact"), TOKENIZER))
    for room, ended in ((0, "context"), (5, "context")):
        agent = ConstrainedAgent(random_model(), TOKENIZER, replace(SIZE, max_length=prompt + room))
        (episode,) = play_episodes(agent, WORLD, [QUERIES[0]], "compact", 3, seed=0)
        assert episode.ended == ended and len(episode.steps) == (room > 0)


@pytest.mark.parametrize("kind", ["greedy", "sampled"])
def test_greedy_and_sampled(kind):
    size = replace(SIZE, temperature=0 if kind == "greedy" else 0.1)
    episodes = play_episodes(ConstrainedAgent(random_model(5), TOKENIZER, size), WORLD, QUERIES[:4], "compact", 1, seed=0)
    assert all(step.code not in (Status.UNKNOWN_FUNCTION, Status.BAD_FINISH) for e in episodes for step in e.steps)
