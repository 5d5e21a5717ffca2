"""How opt-mini was made can be made again: the first steps give the recorded curve, a killed run goes on as if nothing had happened."""

import itertools
import json
import random

import pytest
from safetensors.torch import load_file

from toolslm_helpers.data.words import UNSEEN_THEMES
from toolslm_helpers.files import WorkbookError, data_samples, read_json
from toolslm_helpers.text.tokenizer import load_small_tokenizer, small_tokenizer_path, train_small_tokenizer
from toolslm_helpers.training.stages import FIRST, STAGES, batches_from, run_stage, tokenizer_texts
from toolslm_helpers.training.texts import coined_word


def test_the_shipped_tokenizer_is_what_its_code_makes():
    made = train_small_tokenizer(tokenizer_texts())
    shipped = json.loads(small_tokenizer_path().read_text(encoding="utf-8"))
    assert json.loads(made.backend_tokenizer.to_str())["model"] == shipped["model"]
    assert made.get_vocab() == load_small_tokenizer().get_vocab()


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path):
    whole = run_stage("base", tmp_path / "whole", seed=3, steps=4, documents=8)
    run_stage("base", tmp_path / "killed", seed=3, steps=4, documents=8, stop_after=2)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    resumed = run_stage("base", tmp_path / "killed", seed=3, steps=4, documents=8)
    assert resumed["curve"] == whole["curve"] and resumed["tokens"] == whole["tokens"]
    a, b = load_file(tmp_path / "whole" / "model.safetensors"), load_file(tmp_path / "killed" / "model.safetensors")
    assert a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def test_another_run_s_save_is_not_taken(tmp_path):
    run_stage("base", tmp_path, seed=3, steps=4, documents=8, stop_after=1)
    with pytest.raises(WorkbookError, match="seed 3.*has 4"):
        run_stage("base", tmp_path, seed=4, steps=4, documents=8)
    with pytest.raises(WorkbookError, match="steps 4.*has 5"):
        run_stage("base", tmp_path, seed=3, steps=5, documents=8)
    with pytest.raises(WorkbookError, match="documents 8.*has 9"):
        run_stage("base", tmp_path, seed=3, steps=4, documents=9)


def test_unknown_stage(tmp_path):
    with pytest.raises(WorkbookError, match="'basis'.*base, instruct"):
        run_stage("basis", tmp_path)


def test_labels_of_both_stages():
    """Pre-training: every token is a label. Instruction tuning: what the assistant says, and nothing else."""
    tokenizer = load_small_tokenizer()
    ids, labels = next(batches_from(STAGES["base"], tokenizer, 0, 0, documents=8))
    assert (labels[ids != 1] == ids[ids != 1]).all()
    ids, labels = next(batches_from(STAGES["instruct"], tokenizer, 0, 0, documents=8))
    for row, row_labels in zip(ids, labels, strict=True):
        text = tokenizer.decode(row[row != 1])
        answers = [part.split("</s>")[0] for part in text.split("Assistant: ")[1:]]
        assert tokenizer.decode(row_labels[row_labels != -100]) == "".join(f"{answer}</s>" for answer in answers)


def ids_from(step, seed=0, workers=0):
    """The ids of ten batches of base, from ``step`` on."""
    batches = batches_from(STAGES["base"], load_small_tokenizer(), seed, step, documents=8, workers=workers)
    return [ids.tolist() for ids, _ in itertools.islice(batches, 10)]


def test_a_batch_depends_on_seed_and_step_alone():
    in_order = ids_from(0)
    assert ids_from(9)[0] == in_order[9] and ids_from(3)[:7] == in_order[3:]
    assert ids_from(9, seed=1)[0] != in_order[9]
    assert len({str(batch) for batch in in_order}) == 10


def test_workers_make_the_same_batches_in_the_same_order():
    assert ids_from(5, workers=2) == ids_from(5)


@pytest.mark.parametrize("name", STAGES)
def test_shipped_checkpoints_say_how_they_were_made(name):
    record = read_json(data_samples() / "models" / name / "training.json")
    assert record["stage"] == name and record["step"] == record["steps"] and record["tokens"] > 0
    assert record["curve"][-1][1] < record["curve"][0][1]


@pytest.mark.parametrize("name", STAGES)
def test_first_steps_give_the_recorded_losses(name, tmp_path):
    """A shipped model's first steps, run again: the losses are the recorded ones, to what devices and their precisions differ in."""
    record = read_json(data_samples() / "models" / name / "training.json")
    again = run_stage(name, tmp_path, seed=record["seed"], steps=record["steps"], stop_after=2)
    assert again["first"] == pytest.approx(record["first"][:2], abs=0.01) and len(record["first"]) == FIRST


def test_words_of_unseen_categories_can_be_written():
    """Each piece of their words is a piece of training names too, so that it was copied before."""
    tokenizer, rng = load_small_tokenizer(), random.Random(0)
    known = {piece for _ in range(20_000) for piece in tokenizer.tokenize(coined_word(rng))}
    needed = {
        piece
        for theme in UNSEEN_THEMES
        for word in (*theme.kinds, *(a for a, _ in theme.attributes))
        for piece in tokenizer.tokenize(word)
    }
    assert not needed - known
