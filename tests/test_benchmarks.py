"""The scripts that record lesson 11's rows: who plays, what is kept, and that a stopped run goes on where it was."""

import importlib.util
import sys
from dataclasses import replace

import pytest
import torch

from toolslm_helpers.agent.constrained import ConstrainedAgent
from toolslm_helpers.agent.prompting import FewShotAgent
from toolslm_helpers.agent.search import ModelAgent
from toolslm_helpers.data import queries
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.evaluation.controls import CONTROLS
from toolslm_helpers.evaluation.recorded import read_recorded
from toolslm_helpers.files import read_json, repository_root
from toolslm_helpers.model import checkpoints
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


controls, baselines, merge = script("controls"), script("baselines"), script("merge")
ROWS = {control.name: control for control in controls.CONTROLS}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    model = checkpoints.new_model(0, num_hidden_layers=1, hidden_size=16, word_embed_proj_dim=8, ffn_dim=32)
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


def test_what_merging_saves_is_counted_and_means_something(monkeypatch, capsys):
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
