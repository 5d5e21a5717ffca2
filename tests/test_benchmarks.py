"""The scripts that record lesson 11's rows: who plays, what is kept, and that a stopped run goes on where it was."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from toolslm_helpers.agent.constrained import ConstrainedAgent
from toolslm_helpers.agent.gold import gold_trajectories
from toolslm_helpers.agent.prompting import FewShotAgent
from toolslm_helpers.agent.search import ModelAgent
from toolslm_helpers.data import queries
from toolslm_helpers.data.merge import step_rows
from toolslm_helpers.data.names import function_name
from toolslm_helpers.data.rows import TrajectoryStream
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.evaluation.controls import CONTROLS
from toolslm_helpers.evaluation.recorded import read_recorded
from toolslm_helpers.files import read_json, repository_root
from toolslm_helpers.model import checkpoints
from toolslm_helpers.model.savings import recorded_savings
from toolslm_helpers.sizes import get_size
from toolslm_helpers.training import sft

WORLD = build_world(0)
SIZE = replace(get_size("smoke"), eval_queries_per_set=1, max_iterations=2, max_new_tokens=4)
GIVE_UP = CONTROLS["always give up"]


def script(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", repository_root() / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


controls, baselines = script("controls"), script("baselines")
merge, mutations = script("merge"), script("mutations")
shorten, salted = script("shorten"), script("salted")
ROWS = {control.name: control for control in controls.CONTROLS}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    model = checkpoints.new_model(
        0, num_hidden_layers=1, hidden_size=16, num_attention_heads=4, word_embed_proj_dim=8, ffn_dim=32
    )
    return checkpoints.save_model(model, tmp_path_factory.mktemp("models") / "tiny")


def test_every_control_of_the_table_is_there_and_plays_as_it_says(checkpoint):
    kinds = {name: (row.checkpoint, row.kind) for name, row in ROWS.items()}
    assert set(kinds.values()) >= {
        ("base", "plain"), ("instruct", "plain"), ("base", "examples"), ("instruct", "examples"), ("base", "constrained"),
        ("random", "plain"), ("sft", "plain"),
    }  # fmt: skip
    agents = {name: controls.agent_of(row, checkpoint, WORLD, SIZE, 0) for name, row in ROWS.items()}
    for name, agent in agents.items():
        assert type(agent) is {"plain": ModelAgent, "examples": FewShotAgent, "constrained": ConstrainedAgent}[kinds[name][1]]
    assert len(agents["base, 3 examples"].examples) == 3


def test_a_finished_control_is_not_played_again_unless_weights_or_seed_changed(checkpoint, monkeypatch, tmp_path):
    row, file = ROWS["base, zero-shot"], tmp_path / "row.json"
    first = controls.play(row, checkpoint, WORLD, SIZE, 0, file)
    assert first["pass_rate"]["all"]["n"] == len(SETS) and first["seed"] == 0 and "commit" in first
    played = []
    monkeypatch.setattr(controls, "agent_of", lambda *arguments: played.append(arguments) or GIVE_UP)
    assert controls.play(row, checkpoint, WORLD, SIZE, 0, file) == first and not played
    assert controls.play(row, checkpoint, WORLD, SIZE, 1, file)["seed"] == 1 and len(played) == 1
    other = checkpoints.save_model(checkpoints.new_model(1, num_hidden_layers=1), tmp_path / "other")
    controls.play(row, other, WORLD, SIZE, 1, file)
    controls.play(row, other, WORLD, replace(SIZE, eval_queries_per_set=2), 1, file)
    assert len(played) == 3


def test_the_random_control_is_the_same_fine_tuning_from_random_weights(monkeypatch, tmp_path):
    trained = []

    def train(size, seed, output, trajectories, start, on_step):
        trained.append((size, seed, trajectories, start))
        output.mkdir()
        (output / "training.json").touch()

    monkeypatch.setattr(controls, "train", train)
    monkeypatch.setattr(controls, "training_trajectories", lambda size: f"those of {size.name}")
    folder = controls.fine_tuned_from_random(tmp_path, WORLD, SIZE, 3, None)
    assert controls.fine_tuned_from_random(tmp_path, WORLD, SIZE, 3, None) == folder, "made once"
    ((size, seed, trajectories, start),) = trained
    assert (size, seed, trajectories) == (SIZE, 3, "those of smoke")
    started, _ = sft.load_start(start)
    expected = checkpoints.new_model(3).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in started.state_dict().items())


def test_controls_are_recorded_whole_and_a_trial_does_not_touch_the_record(checkpoint, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(controls, "agent_of", lambda *arguments: GIVE_UP)
    monkeypatch.setattr(controls, "checkpoint_path", lambda name: checkpoint)
    monkeypatch.setattr(controls, "fine_tuned_from_random", lambda *arguments: checkpoint)
    monkeypatch.setattr(controls, "results_folder", lambda: tmp_path / "docs")
    monkeypatch.setattr(sys, "argv", ["controls.py", "--output", str(tmp_path / "trial"), "--queries", "2"])
    controls.main()
    assert not (tmp_path / "docs").exists() and list(read_recorded("controls", tmp_path / "trial")) == list(ROWS)
    monkeypatch.setattr(controls, "get_size", lambda name: SIZE)
    monkeypatch.setattr(sys, "argv", ["controls.py", "--output", str(tmp_path / "all")])
    controls.main()
    recorded = read_recorded("controls", tmp_path / "docs")
    assert {agent.pass_rates["all"].n for agent in recorded.values()} == {6} and list(recorded) == list(ROWS)
    assert "base, 3 examples" in capsys.readouterr().out


def test_the_generalist_s_run_goes_on_after_the_last_batch(tmp_path):
    some = [query for name in SETS for query in queries.test_queries(WORLD, name)[:1]]
    size, file, asked = replace(baselines.SIZE, max_iterations=2), tmp_path / "kept.json", []

    def agent(conversations):
        asked.append([conversation.world_query.query.query_id for conversation in conversations])
        if len(asked) == 3 and not resumed:
            raise KeyboardInterrupt
        return GIVE_UP(conversations)

    resumed = False
    with pytest.raises(KeyboardInterrupt):
        baselines.play(agent, WORLD, some, size, 0, 2, file, {"seed": 0})
    assert len(read_json(file)["episodes"]) == 4
    resumed, asked = True, []
    baselines.play(agent, WORLD, some, size, 0, 2, file, {"seed": 0})
    assert [sorted(batch) for batch in asked] == [sorted(query.query.query_id for query in some[4:])]
    episodes = baselines.read_episodes(file)
    whole = baselines.play_episodes(GIVE_UP, WORLD, some, "compact", 2, 0)
    assert [episodes[query.query.query_id] for query in some] == whole, "read back with all their turns"
    asked.clear()
    baselines.play(agent, WORLD, some, size, 0, 2, file, {"seed": 1})
    assert sum(map(len, asked)) == 6, "another plan starts over"


def test_the_generalist_plays_twenty_queries_a_set_at_most_four_iterations_in_both_ways():
    assert (baselines.QUERIES, baselines.SIZE.max_iterations, baselines.SIZE.temperature) == (20, 4, 0.1)
    assert list(baselines.WAYS.values()) == [0, 3]


def test_a_needed_api_is_lost_only_when_nothing_else_tells_it():
    query = next(q for q in queries.test_queries(WORLD, "G1_instruction") if q.goal.kind == "answer" and len(q.plan) == 1)
    (step,) = query.plan
    needed = {
        function_name(a)
        for a in query.query.api_list
        for c in step.calls
        if (a.tool_name, a.api_name) == (c.tool_name, c.api_name)
    }
    others = {function_name(api) for api in query.query.api_list} - needed
    assert shorten.lost_a_needed_api(query, sorted(needed)) and shorten.lost_a_needed_api(query, sorted(needed | others))
    assert not shorten.lost_a_needed_api(query, sorted(others)) and not shorten.lost_a_needed_api(query, ())
    two = replace(query, plan=(replace(step, calls=(*step.calls, *step.calls)), replace(step, calls=())))
    assert not shorten.lost_a_needed_api(two, ()), "what no API tells cannot be lost"
    more = shorten.offered_more([query, *queries.test_queries(WORLD, "G2_category")[:4]], 6, 0)[0]
    assert len(more.query.api_list) == len(query.query.api_list) + 6 and set(query.query.api_list) < set(more.query.api_list)
    assert more == shorten.offered_more([query, *queries.test_queries(WORLD, "G2_category")[:4]], 6, 0)[0]


def test_the_policy_is_played_beside_the_other_two_ways(checkpoint, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(shorten, "get_size", lambda name: SIZE)
    monkeypatch.setattr(shorten, "load_model", lambda path: checkpoints.load_model(checkpoint))
    monkeypatch.setattr(shorten, "checkpoint_path", lambda name: checkpoint)
    arguments = ["--queries", "1", "--lengths", "150", "--more-apis", "0", "4", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["shorten.py", *arguments])
    shorten.main()
    runs = read_json(tmp_path / "shorten.json")["runs"]
    assert [(run["way"], run["more_apis"]) for run in runs] == [
        (way, more) for more in (0, 4) for way in ("refuse", "left", "shorten")
    ]
    assert all(run["pass_rate"]["all"]["n"] == len(SETS) for run in runs)
    assert runs[3]["ended"] == {"context": 6} and "context" not in runs[5]["ended"]
    assert runs[5]["queries_with_apis_dropped"] == 6 > runs[5]["queries_with_a_needed_api_dropped"]
    assert "APIs dropped in 6 queries" in capsys.readouterr().out


def test_salted_rows_repeat_what_rows_of_a_query_share_and_nothing_else(tmp_path):
    rows = [row for trajectory in gold_trajectories(WORLD, 3, "toolbench") for row in step_rows(trajectory)]
    number = 3 * len(rows) + 2
    for shuffled in (False, True):
        salted.write_salted(tmp_path / "rows.json", rows, number, shuffled)
        found = list(TrajectoryStream(tmp_path / "rows.json"))
        assert len(found) == number and len({row.id for row in found}) == number
        by_query = {
            row.query: {m.content for other in found if other.query == row.query for m in other.messages} for row in found
        }
        assert len(by_query) == 3 * 3 + 1, "three copies of three queries, and the beginning of a fourth"
        contents = [content for of_one in by_query.values() for content in of_one]
        assert len(contents) == len(set(contents)), "two queries share a message"
        systems = {row.query: {other.messages[0].content for other in found if other.query == row.query} for row in found}
        assert all(len(texts) == 1 for texts in systems.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flatten", "prepare"])
def test_the_comparisons_run(name):
    if "TOOLBENCH_DIR" not in os.environ:
        pytest.skip("TOOLBENCH_DIR is not set: it names a folder with ToolBench's files")
    command = [sys.executable, f"benchmarks/{name}.py", "--rows", "80"]
    said = subprocess.run(command, cwd=repository_root(), capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "80 rows made of" in said.stdout and (
        "the same ids and labels" in said.stdout or "80 rows in 80 examples" in said.stdout
    )


def test_what_merging_saves_is_counted_and_means_something(monkeypatch, capsys, tmp_path):
    from toolslm_helpers.agent.gold import gold_trajectories
    from toolslm_helpers.data.merge import step_rows
    from toolslm_helpers.model.counting import Decoder
    from toolslm_helpers.text.flatten import flatten
    from toolslm_helpers.text.tokenizer import load_small_tokenizer

    tokenizer, model = load_small_tokenizer(), Decoder("d", layers=1, width=4, feed_forward=8, vocabulary=1000, context=768)
    trajectories = gold_trajectories(WORLD, 3)
    rows = [row for trajectory in trajectories for row in step_rows(trajectory)]
    saved = merge.saving("some", rows, tokenizer, model)
    assert (saved.rows, saved.examples) == (len(rows), 3)
    assert saved.merged_tokens == sum(len(flatten(t, tokenizer)) for t in trajectories)
    assert saved.tokens == sum(len(flatten(row, tokenizer)) for row in rows) > saved.merged_tokens
    assert saved.supervised == sum(flatten(t, tokenizer).supervised for t in trajectories)
    assert saved.flops > saved.merged_flops and f"{saved.tokens / saved.merged_tokens:.2f} x" in str(saved)
    monkeypatch.setattr(merge, "merge_rows", lambda rows: trajectories[:2])
    with pytest.raises(ValueError, match="A saving would mean nothing"):
        merge.saving("some", rows, tokenizer, model)
    monkeypatch.undo()
    monkeypatch.delenv("TOOLBENCH_DIR", raising=False)
    monkeypatch.setattr(sys, "argv", ["merge.py", "2"])
    assert merge.main() == 0
    assert "TOOLBENCH_DIR is not set" in (said := capsys.readouterr().out) and "the world's step rows, 2 trajectories" in said
    monkeypatch.setattr(merge, "counts_file", lambda name: tmp_path / f"{name}.json")
    monkeypatch.setattr(sys, "argv", ["merge.py", "--record", "2"])
    assert merge.main() == 0
    (recorded,) = recorded_savings(tmp_path / "merge.json").savings
    assert (recorded.model, recorded.examples) == ("opt-mini", 2) and recorded.rows > 2


def test_a_mutation_is_trained_graded_and_judged_once_for_a_plan(checkpoint, monkeypatch, tmp_path):
    size = replace(mutations.lab_size(8, 1), max_iterations=2, max_new_tokens=4, warmup_steps=1)
    dropped = next(mutation for mutation in mutations.MUTATIONS if mutation.name == "mask dropped")
    monkeypatch.setattr(mutations, "HELD_OUT", 4)
    first = mutations.run(dropped, checkpoint, WORLD, size, 0, tmp_path)
    assert first["supervised_tokens"] == first["tokens"] - 8 and first["steps"] == 1
    assert first["refused"] is None
    assert first["pass_rate"]["all"]["n"] == len(SETS)
    assert first["weights"] == mutations.weights_hash(checkpoint / "model.safetensors")
    fresh = mutations.gold_trajectories(WORLD, 12)[8:]
    turns = sum(message.role == "assistant" for trajectory in fresh for message in trajectory.messages)
    graded = {entry["kind"]: entry["graded"] for entry in first["held_out"]}
    assert graded["assistant: </s>"] == turns and "user" not in graded, "graded under the right mask"
    trained = []
    monkeypatch.setattr(mutations, "train", lambda *arguments, **named: trained.append(arguments) or 1 / 0)
    assert mutations.run(dropped, checkpoint, WORLD, size, 0, tmp_path) == first and not trained
    for changed in (replace(size, train_trajectories=9), replace(size, eval_queries_per_set=2)):
        with pytest.raises(ZeroDivisionError):
            mutations.run(dropped, checkpoint, WORLD, changed, 0, tmp_path)


def test_mutations_are_recorded_whole_and_a_trial_stays_in_its_folder(monkeypatch, tmp_path, capsys):
    kept = {
        "supervised_tokens": 3, "final_loss": 0.5, "held_out": [{"graded": 1, "nats": 2.0}], "seconds": 1, "evaluation_seconds": 1,
        "refused": None, "pass_rate": {"all": {"passed": 1, "n": 2, "low": 0.1, "high": 0.9}},
    }  # fmt: skip
    monkeypatch.setattr(mutations, "run", lambda *arguments: kept)
    monkeypatch.setattr(mutations, "results_folder", lambda: tmp_path / "docs")
    for some in (["--trajectories", "8"], ["--only", "end masked"], ["--models", str(tmp_path)], ["--seed", "1"]):
        monkeypatch.setattr(sys, "argv", ["mutations.py", "--output", str(tmp_path / "trial"), *some])
        mutations.main()
        assert not (tmp_path / "docs").exists() and (tmp_path / "trial" / "mutations.json").is_file()
    monkeypatch.setattr(sys, "argv", ["mutations.py", "--output", str(tmp_path / "all")])
    mutations.main()
    assert list(read_json(tmp_path / "docs" / "mutations.json")["agents"]) == [mutation.name for mutation in mutations.MUTATIONS]
    assert "held out  2.000" in capsys.readouterr().out
