"""Rows become shards: the examples that flatten makes, every row accounted for, and the same files after any interruption."""

import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from toolslm_helpers.agent.gold import gold_trajectories
from toolslm_helpers.data.merge import merge_rows, step_rows
from toolslm_helpers.data.records import Message, Trajectory
from toolslm_helpers.data.rows import TrajectoryStream
from toolslm_helpers.data.stream import RowStream
from toolslm_helpers.data.toolbench import write_rows
from toolslm_helpers.data.world import build_world
from toolslm_helpers.files import DataError, WorkbookError, repository_root
from toolslm_helpers.sizes import FULL
from toolslm_helpers.text.flatten import flatten_all
from toolslm_helpers.text.tokenizer import SPECIAL_TOKENS, _with_opt_habits, load_small_tokenizer
from toolslm_helpers.training import prepare as module
from toolslm_helpers.training.prepare import Plan, prepare, tokenizer_of
from toolslm_helpers.training.shards import Prepared

TOKENIZER = load_small_tokenizer()
ROWS = [row for trajectory in gold_trajectories(build_world(), 12, "toolbench") for row in step_rows(trajectory)]
LENGTHS = sorted(map(len, flatten_all(ROWS, TOKENIZER, supervise="last").examples))
PLAN = Plan(max_length=LENGTHS[len(LENGTHS) // 2], shard=5)


@pytest.fixture
def source(tmp_path):
    return stream_of(write_rows(tmp_path / "train.json", ROWS))


def stream_of(path: Path):
    return lambda start: TrajectoryStream(path, start)


def damaged_file(path: Path) -> Path:
    """ROWS with a record of the wrong kind at 3, one without a list of APIs at 9, a broken one in the middle, and one last."""
    rows = [{"id": row.id, "conversations": [{"from": m.role, "value": m.content} for m in row.messages]} for row in ROWS]
    rows[3] = {"id": 3, "conversations": []}
    rows[9]["conversations"][0]["value"] = "Be brief."
    texts = [json.dumps(row) for row in rows]
    texts.insert(12, texts[11].replace('"value"', '"value', 1))
    texts.append(json.dumps({"id": "last"}))
    path.write_text(f"[{', '.join(texts)}]", encoding="utf-8")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def assert_equal(examples, expected) -> None:
    assert len(examples) == len(expected) > 0
    for ours, theirs in zip(examples, expected, strict=True):
        assert (ours.id, ours.cut) == (theirs.id, theirs.cut)
        for name in ("input_ids", "loss_mask", "roles"):
            assert np.array_equal(getattr(ours, name), getattr(theirs, name))
            assert getattr(ours, name).dtype == getattr(theirs, name).dtype


@pytest.mark.parametrize("truncation", ["refuse", "left", "shorten"])
def test_the_examples_are_those_of_flatten(source, tmp_path, truncation: str) -> None:
    plan = replace(PLAN, truncation=truncation)
    told = []
    found = prepare(source, TOKENIZER, tmp_path / "out", plan, lambda done, total: told.append(done))
    expected = flatten_all(ROWS, TOKENIZER, max_length=plan.max_length, truncation=truncation, supervise="last")
    prepared = Prepared(tmp_path / "out", TOKENIZER)
    assert_equal(prepared, expected.examples)
    assert (found.rows, found.examples, found.rows_set_aside) == (len(ROWS), len(expected), len(expected.refused))
    assert (found.tokens, found.supervised, found.tokens_cut) == (expected.tokens, expected.supervised, expected.cut)
    assert bool(expected.refused) == (truncation == "refuse") and bool(expected.cut) == (truncation != "refuse")
    assert prepared.totals == found == prepare(source, TOKENIZER, tmp_path / "out", plan), "what is finished is not done again"
    assert told == [*range(5, len(ROWS), 5), len(ROWS)]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    reasons = [tuple(one[:2]) for shard in manifest["shards"] for one in shard["set_aside"]]
    assert reasons == [tuple(one) for one in expected.refused]


def test_an_example_is_read_by_its_place(source, tmp_path) -> None:
    prepare(source, TOKENIZER, tmp_path / "out", PLAN)
    prepared = Prepared(tmp_path / "out")
    assert prepared[-1].id == ROWS[-1].id and prepared[7].id == ROWS[7].id and prepared[5].text == ""
    uncut = next(example for example in Prepared(tmp_path / "out", TOKENIZER) if not example.cut)
    assert uncut.text == flatten_all([row for row in ROWS if row.id == uncut.id], TOKENIZER).examples[0].text
    with pytest.raises(IndexError):
        prepared[len(ROWS)]
    copy = pickle.loads(pickle.dumps(prepared))
    assert_equal(copy, list(prepared))
    assert prepared.lengths.tolist() == [len(example) for example in prepared]
    batch = copy.rows({"place": [2, 0]})
    assert [ids.tolist() for ids in batch["input_ids"]] == [prepared[2].input_ids.tolist(), prepared[0].input_ids.tolist()]
    assert [labels.tolist() for labels in batch["labels"]] == [prepared[2].labels.tolist(), prepared[0].labels.tolist()]
    with pytest.raises(ValueError, match="read-only"):
        prepared[0].input_ids[0] = 7


def test_merged_rows_are_trained_once_each(source, tmp_path) -> None:
    plan = replace(PLAN, max_length=LENGTHS[-1], merge=True, shard=4)
    found = prepare(source, TOKENIZER, tmp_path / "out", plan)
    expected = flatten_all(merge_rows(ROWS), TOKENIZER)
    assert_equal(Prepared(tmp_path / "out"), expected.examples)
    assert found.rows == len(ROWS) == found.rows_in_examples and found.examples == len(expected) < len(ROWS)
    assert found.supervised == sum(e.supervised for e in flatten_all(ROWS, TOKENIZER, supervise="last").examples)


def test_a_merged_example_that_would_lose_a_turn_is_not_made(tmp_path) -> None:
    """In few tokens the last turn of a row fits, and the first of a merged example would be cut off."""
    rows = [row.model_copy(update={"messages": row.messages[1:], "functions": ()}) for row in ROWS]
    file = tmp_path / "train.json"
    file.write_text(
        json.dumps([{"id": row.id, "conversations": [m.model_dump(by_alias=True) for m in row.messages]} for row in rows])
    )

    class Rows(RowStream):
        def _record(self, value):
            row = super()._record(value)
            return Trajectory(id=row.id, query="", functions=(), messages=row.conversations)

    alone = flatten_all(rows, TOKENIZER, supervise="last")
    longest_target = max(example.supervised for example in alone.examples) + 3  # </s>, the delimiter, the line break
    for truncation in ("left", "shorten"):
        plan = replace(PLAN, max_length=longest_target, truncation=truncation, merge=True)
        found = prepare(lambda start: Rows(file, start), TOKENIZER, tmp_path / truncation, plan)
        assert found.rows_in_examples == len(rows) and found.supervised == alone.supervised
        assert found.examples > len({row.query for row in rows}), "all were merged: the test tests nothing"


def test_a_merged_example_that_is_refused_counts_for_its_rows(tmp_path) -> None:
    """An answer that does not begin at a token boundary is refused, and with it every row that it stands for."""
    turns = [("user", "u"), ("assistant", "no line break first"), ("function", "f"), ("assistant", "\nx")]
    messages = tuple(Message(role=role, content=content) for role, content in turns)
    rows = [Trajectory(id=f"row {k}", query="", functions=(), messages=messages[:k]) for k in (2, 4)]
    (merged,) = merge_rows(rows)
    batch = module._Batch([merged], 2)
    written = module._write(tmp_path / "shard", batch, byte_tokenizer(), replace(PLAN, max_length=None, merge=True))
    assert (written["rows"], written["rows_in_examples"], written["examples"]) == (2, 0, 0)
    ((name, reason, rows_lost),) = written["set_aside"]
    assert (name, rows_lost) == ("row 4", 2) and "token boundary" in reason


def byte_tokenizer():
    """OPT's way of cutting a text up, and a piece for each byte."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        vocab_size=262,
        show_progress=False,
    )
    tokenizer.train_from_iterator([" no no no no"], trainer)
    return _with_opt_habits(tokenizer)


def test_what_is_too_long_to_be_trained_whole_is_not_merged(source, tmp_path) -> None:
    for truncation in ("left", "shorten"):
        found = prepare(source, TOKENIZER, tmp_path / truncation, replace(PLAN, truncation=truncation, merge=True))
        assert found.rows == found.rows_in_examples == len(ROWS) and found.tokens_cut > 0
        assert found.supervised == sum(e.supervised for e in flatten_all(ROWS, TOKENIZER, supervise="last").examples)
        assert found.examples < len(ROWS)
        assert max(map(len, Prepared(tmp_path / truncation))) <= PLAN.max_length


@pytest.mark.parametrize("merge", [False, True])
def test_damaged_rows_are_set_aside_and_counted(tmp_path, merge: bool) -> None:
    source, plan = stream_of(damaged_file(tmp_path / "train.json")), replace(PLAN, max_length=None, merge=merge)
    found = prepare(source, TOKENIZER, tmp_path / "out", plan)
    assert (found.rows, found.rows_set_aside, found.rows_in_examples) == (len(ROWS) + 2, 4, len(ROWS) - 2)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    places = [place for shard in manifest["shards"] for place, _, _ in shard["set_aside"]]
    positions = [int(place.split("[")[1].split("]")[0]) for place in places]
    assert positions == [3, 9, 12, len(ROWS) + 1]
    if not merge:
        ids = [example.id for example in Prepared(tmp_path / "out")]
        assert ids == [row.id for k, row in enumerate(ROWS) if k not in (3, 9)]


def test_nothing_but_damage_and_nothing_at_all(tmp_path) -> None:
    for text, rows in (('[{"id": 1}]', 1), ("[]", 0)):
        (tmp_path / "train.json").write_text(text)
        for merge in (False, True):
            folder = tmp_path / f"out {rows} {merge}"
            found = prepare(stream_of(tmp_path / "train.json"), TOKENIZER, folder, replace(PLAN, merge=merge))
            assert (found.rows, found.rows_set_aside, found.examples, len(Prepared(folder))) == (rows, rows, 0, 0)


# Stopped, and run again


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("damage", [False, True])
def test_stopped_anywhere_it_goes_on_to_the_same_files(tmp_path, monkeypatch, merge: bool, damage: bool) -> None:
    path = damaged_file(tmp_path / "train.json") if damage else write_rows(tmp_path / "train.json", ROWS)
    plan = replace(PLAN, merge=merge, shard=3)
    prepare(stream_of(path), TOKENIZER, tmp_path / "whole", plan)
    whole, writes = contents(tmp_path / "whole"), []
    for name in ("atomic_write_bytes", "atomic_write_json"):
        original = getattr(module, name)

        def stop_once(file, content, original=original):
            writes.append(file)
            if len(writes) % 3 == 2:  # before the write, and so after that of a shard or of a manifest
                raise KeyboardInterrupt
            return original(file, content)

        monkeypatch.setattr(module, name, stop_once)
    stops = 0
    while stops < 100:
        try:
            prepare(stream_of(path), TOKENIZER, tmp_path / "stopped", plan)
            break
        except KeyboardInterrupt:
            stops += 1
            with pytest.raises(DataError, match=r"no such file|not finished"):
                Prepared(tmp_path / "stopped")
    assert stops > 2 and contents(tmp_path / "stopped") == whole


SCRIPT = """
import sys
from pathlib import Path
from toolslm_helpers.data.rows import TrajectoryStream
from toolslm_helpers.text.tokenizer import load_small_tokenizer
from toolslm_helpers.training.prepare import Plan, prepare
prepare(lambda start: TrajectoryStream(sys.argv[1], start), load_small_tokenizer(), sys.argv[2], Plan(700, shard=2),
        lambda done, total: print(done, flush=True))
"""


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_files(tmp_path) -> None:
    path = write_rows(tmp_path / "train.json", ROWS)
    command = [sys.executable, "-c", SCRIPT, str(path)]
    for kills in (0, 3):
        folder = str(tmp_path / f"killed {kills} times")
        for _ in range(kills):
            run = subprocess.Popen([*command, folder], stdout=subprocess.PIPE, cwd=repository_root(), text=True)
            for _ in range(2):
                run.stdout.readline()
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
        subprocess.run([*command, folder], check=True, cwd=repository_root(), capture_output=True)
    assert contents(tmp_path / "killed 0 times") == contents(tmp_path / "killed 3 times")


def test_another_preparation_is_not_continued(source, tmp_path) -> None:
    prepare(source, TOKENIZER, tmp_path / "out", PLAN)
    other = write_rows(tmp_path / "other.json", ROWS[:5])
    with pytest.raises(WorkbookError, match="plan differ"):
        prepare(source, TOKENIZER, tmp_path / "out", replace(PLAN, seed=1))
    with pytest.raises(WorkbookError, match="source, bytes differ"):
        prepare(stream_of(other), TOKENIZER, tmp_path / "out", PLAN)
    changed = load_small_tokenizer()
    changed.add_tokens(["Skylark"])
    with pytest.raises(WorkbookError, match="tokenizer differ"):
        prepare(source, changed, tmp_path / "out", PLAN)


# Read


def test_what_is_damaged_or_lost_is_told(source, tmp_path) -> None:
    folder = tmp_path / "out"
    prepare(source, TOKENIZER, folder, PLAN)
    shard, manifest = folder / "00001.safetensors", json.loads((folder / "manifest.json").read_text())
    whole = shard.read_bytes()
    for content, complaint in ((whole[:-1], "not the"), (b"\xff" * len(whole), "damaged")):
        shard.write_bytes(content)
        with pytest.raises(DataError, match=f"00001.safetensors: .*{complaint}"):
            Prepared(folder)
    shard.unlink()
    with pytest.raises(DataError, match=r"00001.safetensors: missing"):
        Prepared(folder)
    shard.write_bytes(whole)
    manifest["shards"][0]["rows"] += 1
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="00000.safetensors: 6 rows in do not equal"):
        Prepared(folder)


def test_the_plan_of_a_size_is_the_size_s() -> None:
    plan = Plan.of(FULL, seed=3)
    assert (plan.max_length, plan.truncation, plan.supervise, plan.merge, plan.seed) == (2048, "shorten", "last", False, 3)
    with pytest.raises(ValueError, match="half an answer"):
        replace(plan, truncation="right")


def test_a_tokenizer_is_found_by_its_folder_or_name(tmp_path, monkeypatch) -> None:
    assert tokenizer_of("instruct").get_vocab() == TOKENIZER.get_vocab()
    TOKENIZER.save_pretrained(tmp_path / "model")
    assert tokenizer_of(tmp_path / "model").chat_template == TOKENIZER.chat_template
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt" / "gpt2-vocab.json").write_text('{"a": 0}')
    with pytest.raises(DataError, match="gpt2-merges.txt"):
        tokenizer_of(tmp_path / "opt")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WorkbookError, match="no/such: no tokenizer to be had .*gpt2-vocab.json"):
        tokenizer_of("no/such")
