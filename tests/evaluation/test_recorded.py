"""Recorded agents: read back as written, refused when damaged, and still about the models and queries that are here."""

import json
import subprocess

import pytest

from toolslm_helpers.agent.episode import Episode
from toolslm_helpers.data import queries
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.evaluation.judges import Verdict
from toolslm_helpers.evaluation.recorded import (
    RecordedMutation,
    outcome,
    prompts_hash,
    read_recorded,
    results_folder,
    weights_hash,
)
from toolslm_helpers.evaluation.statistics import wilson
from toolslm_helpers.evaluation.tooleval import Judged, PassRate
from toolslm_helpers.model.checkpoints import checkpoint_path
from toolslm_helpers.sizes import get_size
from toolslm_helpers.teaching.exercises import all_exercises
from toolslm_helpers.training.mutations import MUTATIONS

WORLD = build_world(0)
RECORDED = {name: read_recorded(name) for name in ("controls", "baselines", "mutations")}
SHIPPED = [(name, agent) for name, agent in RECORDED["controls"].items() if name.split(",")[0] in ("base", "instruct", "sft")]


def record(**changes):
    return {
        "about": "a test", "commit": "abc", "device": "CPU", "versions": {"torch": "2"}, "size": "tiny", "seed": 0, "temperature": 0.1,
        "max_iterations": 10, "examples": 3, "examples_shown": 2.5, "weights": "0", "prompts": "1", "seconds": 3.5,
        "ended": {"finish": 2}, "pass_rate": {"all": {"passed": 1, "n": 2, "low": 0.1, "high": 0.9}},
    } | changes  # fmt: skip


def judged(set_name, passed, ended="finish"):
    query = queries.test_queries(WORLD, set_name)[0]
    return Judged(query, Episode(query.query.query_id, "", (), ended, None, None), Verdict(passed, ""))


def test_what_is_written_is_read_back(tmp_path):
    played = [judged("G1_tool", True), judged("G1_tool", False, "context"), judged("G3_instruction", False)]
    (tmp_path / "controls.json").write_text(json.dumps({"agents": {"a": record(**outcome(played))}}))
    (agent,) = read_recorded("controls", tmp_path).values()
    assert agent.pass_rates == {
        "G1_tool": PassRate(1, 2, *wilson(1, 2)),
        "G3_instruction": PassRate(0, 1, *wilson(0, 1)),
        "all": PassRate(1, 3, *wilson(1, 3)),
    }
    assert agent.ended == {"finish": 2, "context": 1} and agent.versions == {"torch": "2"}


def mutated(**changes):
    return record(
        trajectories=8, refused=None, rows=8, tokens=90, supervised_tokens=30, steps=2, final_loss=0.5, curve=[[10, 0.5]],
        held_out=[{"kind": "a", "tokens": 9, "graded": 1, "nats": 1.0}, {"kind": "b", "tokens": 9, "graded": 3, "nats": 2.0}],
        evaluation_seconds=1,
    ) | changes  # fmt: skip


def test_a_mutation_has_its_run_and_one_loss_over_all_that_was_held_out(tmp_path):
    (tmp_path / "mutations.json").write_text(json.dumps({"agents": {"right": mutated(), "late": mutated(refused="no")}}))
    runs = read_recorded("mutations", tmp_path, RecordedMutation)
    assert runs["right"].held_out_loss == 3.0 / 4, "not the mean of the two means"
    assert (runs["right"].refused, runs["late"].refused) == (None, "no") and runs["right"].pass_rates["all"].passed == 1
    (tmp_path / "mutations.json").write_text(json.dumps({"agents": {"right": mutated(held_out=[{"kind": "a"}])}}))
    with pytest.raises(ValueError, match="held_out.0.tokens: Field required.*benchmarks/mutations.py"):
        read_recorded("mutations", tmp_path, RecordedMutation)


def test_nothing_recorded_is_nothing_to_show(tmp_path):
    assert read_recorded("controls", tmp_path) == {}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[]", "no field 'agents'"),
        ('{"agents": []}', "no field 'agents'"),
        (json.dumps({"agents": {"a": {k: v for k, v in record().items() if k != "commit"}}}), "commit: Field required"),
        (
            json.dumps({"agents": {"a": record(pass_rate={"all": {"passed": "1", "n": 2, "low": 0, "high": 1}})}}),
            "pass_rate.all.passed",
        ),
        ("{", "broken JSON"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, named):
    (tmp_path / "controls.json").write_text(content)
    with pytest.raises(ValueError, match=f"controls.json.*{named}"):
        read_recorded("controls", tmp_path)


def test_prompts_change_their_hash_and_nothing_else_does():
    some = queries.test_queries(WORLD, "G1_tool")[:3]
    first = prompts_hash(WORLD, some, "compact")
    assert first == prompts_hash(build_world(0), some, "compact")
    changed = [*some[:2], queries.test_queries(WORLD, "G1_tool")[3]]
    assert len({first, prompts_hash(WORLD, some[::-1], "compact"), prompts_hash(WORLD, changed, "compact")}) == 3


def test_the_hash_of_weights_is_sha256sums(tmp_path):
    (tmp_path / "w").write_bytes(b"weights")
    said = subprocess.run(["sha256sum", tmp_path / "w"], capture_output=True, text=True, check=True).stdout
    assert weights_hash(tmp_path / "w") == said.split()[0]


@pytest.mark.parametrize(("name", "agent"), SHIPPED, ids=[name for name, _ in SHIPPED])
def test_recorded_controls_are_of_the_shipped_checkpoints(name, agent):
    shipped = checkpoint_path(name.split(",")[0]) / "model.safetensors"
    assert agent.weights == weights_hash(shipped), f"{name}: recorded with other weights. Run benchmarks/controls.py again."


def test_recorded_mutations_are_all_there_and_started_from_the_shipped_checkpoint():
    runs = read_recorded("mutations", kind=RecordedMutation)
    if not runs:
        pytest.skip("docs/results/mutations.json is not recorded yet")
    shipped = weights_hash(checkpoint_path("instruct") / "model.safetensors")
    assert list(runs) == [mutation.name for mutation in MUTATIONS]
    assert {run.weights for run in runs.values()} == {shipped}, "recorded from other weights. Run benchmarks/mutations.py again."
    says = {name: training_loss_says(run.final_loss, runs["right"].final_loss) for name, run in runs.items()}
    expected = all_exercises()["07.6"].expected
    assert {name: says[name] for name in expected} == expected, "exercise 07.6 expects another outcome than the record has"


def training_loss_says(loss, right):
    return "zero" if loss == 0 else "higher" if loss > 2 * right else "about the same" if loss > right / 2 else "lower"


@pytest.mark.parametrize("file", RECORDED)
def test_recorded_rates_are_of_these_queries_and_their_counts_are_whole(file):
    if not RECORDED[file]:
        pytest.skip(f"docs/results/{file}.json is not recorded yet")
    assert (results_folder() / f"{file}.json").is_file()
    for name, agent in RECORDED[file].items():
        n = {s: min(len(queries.test_queries(WORLD, s)), {"baselines": 20, "mutations": 40}.get(file, 200)) for s in SETS}
        assert {s: rate.n for s, rate in agent.pass_rates.items()} == n | {"all": sum(n.values())}, name
        assert sum(agent.ended.values()) == sum(n.values())
        for rate in agent.pass_rates.values():
            assert (rate.low, rate.high) == pytest.approx(wilson(rate.passed, rate.n))
        played = [query for s in SETS for query in queries.test_queries(WORLD, s)[: n[s]]]
        assert agent.prompts == prompts_hash(WORLD, played, get_size(agent.size).rendering), (
            f"{name}: recorded with other queries"
        )
