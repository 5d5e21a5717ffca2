"""How ToolBench's training program finds what it grades: by splitting the text and measuring the parts. Followed step by step for one row.

Source: ToolBench, toolbench/train/train.py (preprocess) and toolbench/tool_conversation.py (the template tool-llama-single-round). Ours
keeps its arithmetic and its two numbers, the constant 2 and the id of the padding, as arguments, so that one can see what they do.
``text.flatten`` needs neither: it makes ids and mask together.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from toolslm_helpers.data.records import Message
from toolslm_helpers.text.flatten import IGNORED
from toolslm_helpers.text.tokenizer import END

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

DELIMITER = "\nAssistant: "


def joined(messages: Iterable[Message]) -> str:
    """The text of a row: "Role: content" and a line break for each message, </s> in place of the last line break.

    A message without content gets neither space nor line break, so that the next one begins right behind its colon.
    """
    text = "".join(f"{m.role.capitalize()}: {m.content}\n" if m.content else f"{m.role.capitalize()}:" for m in messages)
    return text[:-1] + END if text.endswith("\n") else text


def labels_by_splitting(
    text: str, tokenizer: "PreTrainedTokenizerFast", constant: int = 2, pad_id: int | None = None, room: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(ids, labels), both of length ``room``: the row padded on the right, or cut there.

    ``constant`` is what is taken off the measured length of the instruction; 2 was chosen for LLaMA's tokenizer. ``pad_id`` is the
    tokenizer's own where it is None, and so is ``room`` the row and eight places of padding.
    """
    pad_id = tokenizer.pad_token_id if pad_id is None else pad_id
    ids = tokenizer(text)["input_ids"]
    room = len(ids) + 8 if room is None else room
    ids = np.array((ids + [pad_id] * (room - len(ids)))[:room])
    labels = ids.copy()
    place = 1  # where the part begins, behind the token that every text begins with
    labels[:place] = IGNORED
    for part in filter(None, text.split(END)):
        instruction = part[: part.rfind(DELIMITER) + len(DELIMITER)] if DELIMITER in part else ""
        labels[place : place + len(tokenizer(instruction)["input_ids"]) - constant] = IGNORED
        place += len(tokenizer(part)["input_ids"])
    labels[place:] = IGNORED
    if (
        place < room and place != (ids != pad_id).sum()
    ):  # its two counts of the row disagree: the row is given up, with a printed line
        labels[:] = IGNORED
    return ids, labels
