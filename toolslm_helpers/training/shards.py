"""Training examples on disk: shards of ids and masks (safetensors: plain arrays), and a manifest that says what became of every row."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolslm_helpers.files import DataError, read_json
from toolslm_helpers.text.flatten import FlatExample, Refused
from toolslm_helpers.training.order import FILLER, filler_row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Totals:
    """What became of all rows. ``rows`` came in; an example stands for one of them, or for several that were merged."""

    rows: int = 0
    rows_set_aside: int = 0
    examples: int = 0
    tokens: int = 0
    supervised: int = 0
    tokens_cut: int = 0

    @property
    def rows_in_examples(self) -> int:
        return self.rows - self.rows_set_aside


def totals(manifest: dict[str, Any]) -> Totals:
    """The sums over a manifest's shards. Raises DataError where a shard's rows are not all accounted for."""
    for shard in manifest["shards"]:
        if shard["rows"] != shard["rows_in_examples"] + sum(rows for _, _, rows in shard["set_aside"]):
            raise DataError(
                f"{shard['file']}: {shard['rows']} rows in do not equal those in examples and set aside. Prepare again."
            )
    sums = {
        name: sum(shard[name] for shard in manifest["shards"])
        for name in ("rows", "examples", "tokens", "supervised", "tokens_cut")
    }
    return Totals(rows_set_aside=sums["rows"] - sum(shard["rows_in_examples"] for shard in manifest["shards"]), **sums)


def hash_of(tokenizer: "PreTrainedTokenizerFast") -> str:
    """SHA-256 of all that ids depend on: pieces, merges and pre-tokens, but not what a call left behind."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    text = json.dumps(
        [state["model"], state["added_tokens"], state["normalizer"], state["pre_tokenizer"], tokenizer.eos_token_id]
    )
    return hashlib.sha256(text.encode()).hexdigest()


def as_bytes(examples: Sequence[FlatExample]) -> bytes:
    """A shard: the arrays of all examples, one behind the other, and where each begins; the texts are not in it."""
    from safetensors.numpy import save

    names = [example.id.encode() for example in examples]
    joined = {
        "input_ids": _joined([example.input_ids for example in examples], np.int32),  # (T of all examples,)
        "loss_mask": _joined([example.loss_mask for example in examples], np.bool_),
        "roles": _joined([example.roles for example in examples], np.int8),
        "offsets": np.cumsum([0, *map(len, examples)], dtype=np.int64),  # (examples + 1,)
        "cut": np.array([example.cut for example in examples], dtype=np.int32),
        "names": np.frombuffer(b"".join(names), dtype=np.uint8),
        "name_offsets": np.cumsum([0, *map(len, names)], dtype=np.int64),
    }
    return save(joined)


def _joined(arrays: Sequence[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=kind), *arrays])


class Prepared(Sequence[FlatExample]):
    """The examples of a folder, in the order of their rows. The shards are mapped, not loaded: an example is read when it is asked for.

    Given a tokenizer, an example's text is what its ids spell; without one it is "". Raises DataError where the preparation is not
    finished, or a shard is missing or damaged.
    """

    def __init__(self, folder: str | Path, tokenizer: "PreTrainedTokenizerFast | None" = None):
        from safetensors import SafetensorError, safe_open

        self.folder = folder = Path(folder)
        manifest = read_json(folder / MANIFEST)
        if not manifest.get("finished"):
            raise DataError(
                f"{folder / MANIFEST}: the preparation is not finished. Run the command that began it again: it goes on."
            )
        self.asked, self.totals, self._tokenizer = manifest["asked"], totals(manifest), tokenizer
        self.refused = tuple(Refused(place, reason) for shard in manifest["shards"] for place, reason, _ in shard["set_aside"])
        self._shards, counts = [], []
        for shard in manifest["shards"]:
            path = folder / shard["file"]
            if not path.is_file() or path.stat().st_size != shard["bytes"]:
                raise DataError(
                    f"{path}: missing, or not the {shard['bytes']:,} bytes that were written. Delete the folder and prepare again."
                )
            try:
                self._shards.append(safe_open(path, "numpy"))
            except SafetensorError as error:
                raise DataError(f"{path}: damaged ({error}). Delete the folder and prepare again.") from error
            counts.append(shard["examples"])
        self._begins = np.cumsum([0, *counts])  # the first example of each shard, and their number

    def __reduce__(self) -> tuple:  # a copy in another process maps the files anew
        return Prepared, (self.folder, self._tokenizer)

    @property
    def tokens(self) -> int:
        return self.totals.tokens

    @property
    def supervised(self) -> int:
        return self.totals.supervised

    @property
    def lengths(self) -> np.ndarray:
        """(examples,): the tokens of each."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *(np.diff(shard.get_tensor("offsets")) for shard in self._shards)])

    def must_be_for(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        """Raises DataError where the ids are another tokenizer's."""
        if self.asked["tokenizer"] != hash_of(tokenizer):
            raise DataError(
                f"{self.asked['source']} was prepared with another tokenizer than this model's: its ids mean other pieces. Prepare it again "
                "with the model's tokenizer."
            )

    def __len__(self) -> int:
        return int(self._begins[-1])

    def __getitem__(self, index: int) -> FlatExample:
        index = range(len(self))[index]  # negative ones count from the end; IndexError for others
        number = int(np.searchsorted(self._begins, index, side="right")) - 1
        shard, k = self._shards[number], index - int(self._begins[number])

        def slice_of(name: str, begin: int, end: int) -> np.ndarray:
            return shard.get_slice(name)[begin:end]

        begin, end = map(int, slice_of("offsets", k, k + 2))
        name = slice_of("names", *map(int, slice_of("name_offsets", k, k + 2))).tobytes().decode()
        ids, mask, roles = (slice_of(array, begin, end) for array in ("input_ids", "loss_mask", "roles"))
        text = "" if self._tokenizer is None else self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return FlatExample(name, ids, mask, roles, text, int(slice_of("cut", k, k + 1)[0]))

    def rows(self, batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        """{"place": of examples} -> {"input_ids", "labels", "place"}: what ``datasets.Dataset.with_transform`` asks for."""
        found = [filler_row() if place == FILLER else self._row(place) for place in batch["place"]]
        return {name: [row[name] for row in found] for name in ("input_ids", "labels", "place")}

    def _row(self, place: int) -> dict[str, Any]:
        example = self[place]
        ids = example.input_ids.astype(np.int64)  # a copy: torch wants to write
        return {"input_ids": ids, "labels": example.labels, "place": place}
