"""Every way in which a mask goes wrong is noticed before training: each mutation is applied to the pipeline, and a check must refuse it."""

from collections.abc import Callable

import numpy as np
import pytest

from toolslm_helpers.data.records import Function, Message, Trajectory
from toolslm_helpers.files import DataError
from toolslm_helpers.text import encoder as encoder_module
from toolslm_helpers.text.checks import check_labels
from toolslm_helpers.text.encoder import MessageEncoder, encoder_of
from toolslm_helpers.text.flatten import IGNORED, FlatDataset, FlatExample, flatten
from toolslm_helpers.text.protocol import prompt_messages, rerender, write_action
from toolslm_helpers.text.tokenizer import END_ID
from toolslm_helpers.training.sft import CheckedCollator, training_rows_of

RAIN = Function(name="get_rain", description="Tells the rain.")


def conversation(city: str) -> Trajectory:
    messages = (
        *prompt_messages(f"Rain in {city}?", (RAIN,), "compact"),
        Message(role="assistant", content=write_action("", "get_rain", {"city": city})),
        Message(role="function", content='{"error": "", "response": ""}'),
        Message(role="user", content="Go on."),
        Message(role="assistant", content=write_action("ok", "Finish", {"return_type": "give_answer", "final_answer": city})),
    )
    return Trajectory(id=city, query=f"Rain in {city}?", functions=(RAIN,), messages=messages)


CONVERSATIONS = [conversation(city) for city in ("Oslo", "Bergen", "Tromsø")]


def flat(tokenizer, supervise="all", **more) -> list[FlatExample]:
    return [flatten(one, tokenizer, supervise=supervise, **more) for one in CONVERSATIONS]


def checked(rows: list[dict], tokenizer, supervise: str | None) -> None:
    """What stands between examples and the trainer's model: the check of every row, and the collator's of every batch."""
    for row in rows:
        check_labels("row", row["input_ids"], row["labels"], tokenizer, supervise)
    CheckedCollator(tokenizer.pad_token_id)(rows)


def rows_of(examples: list[FlatExample]) -> list[dict]:
    return training_rows_of(FlatDataset(tuple(examples), ()))


@pytest.mark.parametrize("supervise", ["all", "last", None])
def test_right_rows_pass(tiny_tokenizer, supervise) -> None:
    for chosen in ("all", "last") if supervise is None else (supervise,):
        checked(rows_of(flat(tiny_tokenizer, chosen)), tiny_tokenizer, supervise)


def test_right_rows_of_every_kind_pass(tiny_tokenizer) -> None:
    whole = flat(tiny_tokenizer)
    for length in range(90, min(map(len, whole)), 7):
        left = flat(tiny_tokenizer, max_length=length, truncation="left")
        checked(rows_of(left), tiny_tokenizer, "all")
    toolbench = [rerender(one, "toolbench") for one in CONVERSATIONS]
    shortened = [flatten(one, tiny_tokenizer, max_length=len(whole[0]) + 900, truncation="shorten") for one in toolbench]
    assert all(example.cut for example in shortened)
    checked(rows_of(shortened), tiny_tokenizer, "all")
    silent = Trajectory(id="s", query="", functions=(), messages=(Message(role="assistant", content=""),))
    checked(rows_of([flatten(silent, tiny_tokenizer)]), tiny_tokenizer, "all")


# A mutation changes the labels (T,) of one example; ids, mask, roles and the example's other mask (all turns or the last) are at hand.

Mutation = Callable[[FlatExample, FlatExample], np.ndarray]


def labelled(example: FlatExample, mask: np.ndarray) -> np.ndarray:
    return np.where(mask, example.input_ids, IGNORED)


def moved(mask: np.ndarray, places: int) -> np.ndarray:
    return np.roll(mask, places)


def first_places(mask: np.ndarray) -> np.ndarray:
    return mask & ~moved(mask, 1)


def ends(example: FlatExample) -> np.ndarray:
    return example.loss_mask & (example.input_ids == END_ID)


def of_role(example: FlatExample, role: int) -> np.ndarray:
    return labelled(example, example.loss_mask | (example.roles == role))


def hole(example: FlatExample, last: FlatExample) -> np.ndarray:
    mask = example.loss_mask.copy()
    mask[np.flatnonzero(mask)[4]] = False
    return labelled(example, mask)


def another_label(example: FlatExample, last: FlatExample) -> np.ndarray:
    labels = example.labels.copy()
    labels[np.flatnonzero(example.loss_mask)[3]] += 1
    return labels


MUTATIONS: dict[str, Mutation] = {
    "mask dropped": lambda e, last: e.input_ids,
    "mask inverted": lambda e, last: labelled(e, ~e.loss_mask),
    "one early": lambda e, last: labelled(e, moved(e.loss_mask, -1)),
    "one late": lambda e, last: labelled(e, moved(e.loss_mask, 1)),
    "end token masked": lambda e, last: labelled(e, e.loss_mask & ~ends(e)),
    "last end token masked": lambda e, last: labelled(e, e.loss_mask & ~(ends(e) & last.loss_mask)),
    "padding that is </s> masked": lambda e, last: np.where(e.input_ids == END_ID, IGNORED, e.labels),
    "delimiter counted": lambda e, last: labelled(e, e.loss_mask | moved(first_places(e.loss_mask), -1)),
    "whole delimiter counted": lambda e, last: of_role(e, 3),
    "first content token lost": lambda e, last: labelled(e, e.loss_mask & ~first_places(e.loss_mask)),
    "line break after the end counted": lambda e, last: labelled(e, e.loss_mask | moved(ends(e), 1)),
    "last turn only": lambda e, last: last.labels,
    "first turn only": lambda e, last: labelled(e, e.loss_mask & ~last.loss_mask),
    "system trained": lambda e, last: of_role(e, 1),
    "user trained": lambda e, last: of_role(e, 2),
    "observation trained": lambda e, last: of_role(e, 4),
    "everything from the first answer on": lambda e, last: labelled(e, np.cumsum(e.loss_mask) > 0),
    "user trained instead": lambda e, last: labelled(e, e.roles == 2),
    "a hole in an answer": hole,
    "leading </s> trained": lambda e, last: labelled(e, e.loss_mask | (np.arange(len(e)) == 0)),
    "shifted twice": lambda e, last: np.append(e.labels[1:], IGNORED),
    "shifted twice to the right": lambda e, last: np.append(IGNORED, e.labels[:-1]),
    "another label": another_label,
    "ignored by 0 instead of -100": lambda e, last: np.where(e.loss_mask, e.input_ids, 0),
    "one label too few": lambda e, last: e.labels[:-1],
    "nothing trained": lambda e, last: np.full(len(e), IGNORED),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_mask_is_refused(tiny_tokenizer, name: str) -> None:
    examples, last = flat(tiny_tokenizer), flat(tiny_tokenizer, "last")
    rows = rows_of(examples)
    mutated = [
        row | {"labels": list(MUTATIONS[name](*pair))} for row, pair in zip(rows, zip(examples, last, strict=True), strict=True)
    ]
    assert all(list(a["labels"]) != list(b["labels"]) for a, b in zip(mutated, rows, strict=True)), "the mutation changes nothing"
    with pytest.raises(DataError):
        checked(mutated, tiny_tokenizer, "all")
    with pytest.raises(DataError):  # and where only one row of three is wrong
        checked([rows[0], mutated[1], rows[2]], tiny_tokenizer, "all")


def test_all_turns_where_the_last_was_asked_and_another_row_s_labels_are_refused(tiny_tokenizer) -> None:
    rows, last = rows_of(flat(tiny_tokenizer)), rows_of(flat(tiny_tokenizer, "last"))
    with pytest.raises(DataError, match="2 of 2 turns are trained; expected last"):
        checked(rows, tiny_tokenizer, "last")
    with pytest.raises(DataError, match="1 of 2 turns are trained; expected all"):
        checked(last, tiny_tokenizer, "all")
    with pytest.raises(DataError, match="labels are not its ids"):
        checked([rows[0] | {"labels": rows[1]["labels"]}], tiny_tokenizer, "all")


@pytest.mark.parametrize("kept", ["half the last answer", "no answer", "the first answer"])
def test_truncation_on_the_right_is_refused(tiny_tokenizer, kept: str) -> None:
    for row, example in zip(rows_of(flat(tiny_tokenizer, "last")), flat(tiny_tokenizer), strict=True):
        first, *_, last = np.flatnonzero(ends(example))
        length = {"half the last answer": last - 5, "no answer": first - 30, "the first answer": first + 2}[kept]
        cut = {name: values[:length] for name, values in row.items()}
        with pytest.raises(
            DataError, match="no supervised token" if kept != "half the last answer" else "an answer that was cut"
        ):
            checked([cut], tiny_tokenizer, "last")


# Mutations of the code: the encoder says where an answer begins and ends


@pytest.mark.parametrize(("begin", "end"), [(-1, 0), (1, 0), (0, -1), (0, 1), (-3, 0), (0, -2), (-1, -1), (1, 1)])
@pytest.mark.parametrize("supervise", ["all", "last"])
def test_an_encoder_that_miscounts_is_noticed(tiny_tokenizer, monkeypatch, begin: int, end: int, supervise: str) -> None:
    original = MessageEncoder.encode

    def encode(self, messages, prompt=False):
        found = original(self, messages, prompt)
        return [
            encoder_module.Encoded(m.ids.copy(), m.answer and (m.answer[0] + begin, m.answer[1] + end), m.aligned) for m in found
        ]

    checked(rows_of(flat(tiny_tokenizer, supervise)), tiny_tokenizer, supervise)
    monkeypatch.setattr(MessageEncoder, "encode", encode)
    with pytest.raises(DataError):
        checked(rows_of(flat(tiny_tokenizer, supervise)), tiny_tokenizer, supervise)


def test_a_role_that_is_not_the_assistant_s_is_refused_where_the_example_is_made(tiny_tokenizer) -> None:
    example = flat(tiny_tokenizer)[0]
    with pytest.raises(ValueError, match="belongs to another role"):
        FlatExample("x", example.input_ids, moved(example.loss_mask, 2), example.roles, example.text)
    for role in (0, 1, 2, 4):
        with pytest.raises(ValueError, match="belongs to another role"):
            FlatExample("x", example.input_ids, example.roles == role, example.roles, example.text)


def test_the_trainer_looks_at_every_row(tmp_path) -> None:
    from toolslm_helpers.agent.gold import gold_trajectories
    from toolslm_helpers.data.merge import merge_rows, step_rows
    from toolslm_helpers.data.world import build_world
    from toolslm_helpers.model.checkpoints import new_model, save_model
    from toolslm_helpers.sizes import SMOKE
    from toolslm_helpers.training import sft

    start = save_model(
        new_model(0, hidden_size=16, num_attention_heads=4, word_embed_proj_dim=8, ffn_dim=32, num_hidden_layers=1),
        tmp_path / "start",
    )
    data = gold_trajectories(build_world(), 4)
    merged = merge_rows([row for one in data for row in step_rows(one)])
    assert sft.train(SMOKE, 0, tmp_path / "merged", merged, start=start).examples == 4

    def without_a_mask(found):
        return [row | {"labels": row["input_ids"]} for row in sft.training_rows_of(found)]

    with pytest.raises(DataError, match=rf"{data[0].id}: what is trained begins at token 0"):
        sft.train(SMOKE, 0, tmp_path / "out", data, start=start, rows_of=without_a_mask)


def test_the_check_needs_no_particular_tokenizer(small_tokenizer) -> None:
    for name, mutation in MUTATIONS.items():
        example, last = flat(small_tokenizer)[0], flat(small_tokenizer, "last")[0]
        check_labels("right", example.input_ids, example.labels, small_tokenizer, "all")
        with pytest.raises(DataError, match="wrong: "):
            check_labels("wrong", example.input_ids, mutation(example, last), small_tokenizer, "all")
        assert encoder_of(small_tokenizer).prompt_end.tolist() == [small_tokenizer.convert_tokens_to_ids("Assistant: ")], name
