"""Many training rows made of a few real ones: what repeats in them is what repeats in real data, and nothing else.

The rows of one answer tree share their system text and begin alike. So do their copies here, among themselves; but the trees' copies have
nothing in common that a message could be recognised by: each has a word of its own in its query, in every API's description, in every
observation and in every turn.
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolslm_helpers.data.records import Function, Message, Trajectory
from toolslm_helpers.data.toolbench import read_tree, row_of, training_rows, trajectory_of
from toolslm_helpers.data.trees import Row
from toolslm_helpers.text.protocol import prompt_messages
from toolslm_helpers.text.tokenizer import load_opt_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SYLLABLES = ["ba", "de", "fo", "gi", "ku", "la", "me", "no", "pi", "ru", "sa", "ti", "vo", "wu", "xe", "zo"]


def opt_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """OPT's tokenizer from the same folder."""
    return load_opt_tokenizer(folder / "opt_tokenizer" / "gpt2-vocab.json", folder / "opt_tokenizer" / "gpt2-merges.txt")


def real_rows(folder: Path) -> list[Trajectory]:
    """The step rows of every answer tree below raw_trees, those of a tree one after the other."""
    trees = [read_tree(file) for file in sorted((folder / "raw_trees").glob("**/*.json"))]
    return [trajectory_of(row) for tree in trees for row in training_rows(tree)]


def salted_rows(rows: Sequence[Trajectory], number: int, shuffled: bool = False) -> Iterator[Row]:
    """``number`` rows: copy after copy of ``rows``, each copy with its own words. Shuffled, the rows of a tree stand far apart."""
    order = random.Random("order").sample(range(number), number) if shuffled else range(number)
    return (row_of(salted(rows[k % len(rows)], k // len(rows))) for k in order)


def salted(row: Trajectory, copy: int) -> Trajectory:
    """The row with words that no other copy has."""
    word = "".join(random.Random(copy).choices(SYLLABLES, k=3)) + str(copy)
    functions = tuple(_salted_function(function, word) for function in row.functions)
    query, tools = f"{row.query} ({word})", tuple((name, f"{text} {word}") for name, text in row.tools)
    messages = [*prompt_messages(query, functions, "toolbench", tools)]
    for message in row.messages[2:]:
        if message.role == "assistant":
            content = message.content.replace("\nThought: ", f"\nThought: {word} ", 1)
        else:
            content = f"{message.content} {word}"
        messages.append(Message(role=message.role, content=content))
    return Trajectory(id=f"{row.id} ({word})", query=query, functions=functions, messages=tuple(messages), tools=tools)


def _salted_function(function: Function, word: str) -> Function:
    return function.model_copy(update={"description": f"{function.description} {word}"})


def write_salted(path: Path, rows: Sequence[Trajectory], number: int, shuffled: bool = False) -> int:
    """Writes such a train file as ToolBench released it, one JSON list; returns its bytes."""
    with path.open("w", encoding="utf-8") as file:
        for k, row in enumerate(salted_rows(rows, number, shuffled)):
            file.write(("[\n" if k == 0 else ",\n") + json.dumps(row.model_dump(mode="json", by_alias=True), ensure_ascii=False))
        file.write("\n]\n")
    return path.stat().st_size
