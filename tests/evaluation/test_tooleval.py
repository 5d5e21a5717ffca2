import json
from dataclasses import replace

import pytest
import torch
from transformers import OPTConfig, OPTForCausalLM

from toolslm_helpers.agent import gold
from toolslm_helpers.data import queries
from toolslm_helpers.data.own_words import own_words
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.evaluation.controls import CONTROLS
from toolslm_helpers.evaluation.judges import Verdict
from toolslm_helpers.evaluation.statistics import wilson
from toolslm_helpers.evaluation.tooleval import PassRate, evaluate, evaluate_agent, pass_rates
from toolslm_helpers.sizes import SIZES
from toolslm_helpers.text.protocol import write_action
from toolslm_helpers.text.tokenizer import load_small_tokenizer

WORLD = build_world(0)
SOME = replace(SIZES["smoke"], eval_queries_per_set=60)
GOALS = [q.goal.kind for name in SETS for q in queries.test_queries(WORLD, name)[:60]]


def expert(conversations):
    """Says the gold trajectory's turns, one after the other."""
    steps = [gold.play(WORLD, c.world_query)[len(c.steps)] for c in conversations]
    return [write_action(step.thought, step.action, step.action_input) for step in steps]


def test_the_expert_passes_every_query():
    evaluation = evaluate_agent(expert, WORLD, SOME, seed=0)
    assert [(j.episode.query_id, j.verdict.reason) for j in evaluation.judged if not j.verdict.passed] == []
    assert {name: rate.n for name, rate in evaluation.pass_rates.items()} == {**dict.fromkeys(SETS, 60), "all": 360}


@pytest.mark.parametrize("asked", [own_words(WORLD)[:30], queries.typed_queries(WORLD, 200)], ids=["own words", "typed"])
def test_other_queries_may_be_played_and_the_expert_passes_them(asked):
    judged = evaluate_agent(expert, WORLD, SOME, seed=0, queries=asked).judged
    assert [one.world_query for one in judged] == list(asked)
    assert [(one.episode.query_id, one.verdict.reason) for one in judged if not one.verdict.passed] == []


def test_controls_get_what_they_are_made_for_and_nothing_more():
    passed = {}
    for name, control in CONTROLS.items():
        evaluation = evaluate_agent(control, WORLD, SOME, seed=0)
        passed[name] = [goal for goal, judged in zip(GOALS, evaluation.judged, strict=True) if judged.verdict.passed]
    assert 0 < GOALS.count("ask") and passed["always ask"] == ["ask"] * GOALS.count("ask")
    assert 0 < GOALS.count("give_up") and passed["always give up"] == ["give_up"] * GOALS.count("give_up")
    assert set(passed["dump everything"]) <= {"answer"} and len(passed["dump everything"]) < 0.1 * GOALS.count("answer")


def test_dumping_fails_for_what_it_says_too_much_not_for_what_it_lacks():
    judged = evaluate_agent(CONTROLS["dump everything"], WORLD, SOME, seed=0).judged
    answerable = [j for j, goal in zip(judged, GOALS, strict=True) if goal == "answer"]
    too_much = [j for j in answerable if j.verdict.passed or "observed but not asked for" in j.verdict.reason]
    assert len(too_much) > 0.95 * len(answerable)
    assert evaluate_agent(CONTROLS["dump everything"], WORLD, SOME, seed=1).judged == judged


def test_pass_rates_are_counts_with_wilson_intervals():
    yes, no = Verdict(True, ""), Verdict(False, "")
    rates = pass_rates({"G1_tool": [yes, no, yes, yes], "G3_instruction": [no]})
    assert rates == {
        "G1_tool": PassRate(3, 4, *wilson(3, 4)),
        "G3_instruction": PassRate(0, 1, *wilson(0, 1)),
        "all": PassRate(3, 5, *wilson(3, 5)),
    }
    assert rates["all"].rate == 0.6
    with pytest.raises(ValueError, match="empty set"):
        pass_rates({"G1_tool": []})


def test_a_model_is_evaluated_and_exported_as_results_json_wants_it():
    tokenizer = load_small_tokenizer()
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=len(tokenizer), hidden_size=16, word_embed_proj_dim=8, num_hidden_layers=1, ffn_dim=32, num_attention_heads=2,
        max_position_embeddings=1024, do_layer_norm_before=False,
    )  # fmt: skip
    size = replace(SIZES["smoke"], eval_queries_per_set=2, max_iterations=2, max_new_tokens=5)
    told = []
    model = OPTForCausalLM(config)
    evaluation = evaluate(model, tokenizer, WORLD, size, seed=0, on_progress=lambda *progress: told.append(progress))
    exported = evaluation.as_json()
    assert list(exported) == [*SETS, "all"] and json.loads(json.dumps(exported)) == exported
    assert exported["all"] == {"passed": 0, "n": 12, "low": 0.0, "high": wilson(0, 12)[1]}
    assert [len(j.episode.steps) for j in evaluation.judged] == [2] * 12 and told[-1] == (12, 12)
    assert [j.world_query.set_name for j in evaluation.judged] == [name for name in SETS for _ in range(2)]
