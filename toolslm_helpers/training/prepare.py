"""Training rows become training examples once, on disk: a file of 2 GB in, shards of ids and masks out, and little of either in memory.

A folder holds shards (safetensors: plain arrays) and ``manifest.json``, which says what was asked for, what is done, and what became of
every row. A shard is written whole or not at all, and the manifest after it, so a run that was stopped goes on at the shard where it
stopped. The files come out as those of a run that was not: what a shard holds depends on its rows alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolslm_helpers.data.merge import MergedExample, merge_stream
from toolslm_helpers.data.records import Trajectory
from toolslm_helpers.data.stream import RecordStream
from toolslm_helpers.files import WorkbookError, atomic_write_bytes, atomic_write_json, read_json
from toolslm_helpers.model.checkpoints import checkpoint_path
from toolslm_helpers.sizes import Size
from toolslm_helpers.text.checks import check_labels
from toolslm_helpers.text.encoder import encoder_of
from toolslm_helpers.text.flatten import FlatExample, Refused, Truncation, flatten_each
from toolslm_helpers.text.shorten import needed_functions, shorten
from toolslm_helpers.text.tokenizer import CHAT_TEMPLATE, load_opt_tokenizer, load_small_tokenizer
from toolslm_helpers.training.shards import MANIFEST, Totals, as_bytes, hash_of, totals

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Source = Callable[[int], RecordStream[Trajectory]]
"""Opens the rows at a position, for example ``lambda start: TrajectoryStream(file, start)``."""


@dataclass(frozen=True)
class Plan:
    """How rows become examples. ``merge`` trains rows that begin alike in one example (``data.merge``), else each row is one.

    Each row is trained on its last turn, as ToolBench does, or on "all": that is for rows that are whole conversations.
    """

    max_length: int | None
    truncation: Truncation = "shorten"
    supervise: str = "last"
    merge: bool = False
    seed: int = 0
    shard: int = 2048  # rows; of merged rows, examples

    def __post_init__(self) -> None:
        if self.truncation == "right":
            raise ValueError("truncation 'right' cuts answers in half, and half an answer is not trained. Choose another.")

    @classmethod
    def of(cls, size: Size, merge: bool = False, seed: int = 0) -> "Plan":
        """The plan of a size."""
        return cls(size.max_length, size.truncation, size.supervise, merge, seed)


def prepare(
    source: Source,
    tokenizer: "PreTrainedTokenizerFast",
    folder: str | Path,
    plan: Plan,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Totals:
    """Writes the examples of all rows to ``folder``, or what an earlier run left to do. ``on_progress`` hears the rows that are done.

    Raises WorkbookError where another preparation (other rows, plan or tokenizer) was begun in the folder.
    """
    folder = Path(folder)
    manifest = _begin(folder / MANIFEST, _asked(source(0), tokenizer, plan))
    shards = manifest["shards"]
    done = sum(shard["rows"] for shard in shards)
    if manifest["finished"]:
        return totals(manifest)
    batches = _merged_batches(source, tokenizer, plan, len(shards)) if plan.merge else _batches(source(done), plan.shard)
    for batch in batches:
        name = f"{len(shards):05}.safetensors"
        shards.append({"file": name} | _write(folder / name, batch, tokenizer, plan))
        atomic_write_json(folder / MANIFEST, manifest)
        done += batch.rows
        if on_progress is not None:
            on_progress(done, None)
    manifest["finished"] = True
    atomic_write_json(folder / MANIFEST, manifest)
    return totals(manifest)


def tokenizer_of(name: str | Path) -> "PreTrainedTokenizerFast":
    """A tokenizer: OPT's from a folder with its two files, that of a checkpoint, or that of a model of the hub.

    Raises WorkbookError where it can be had from nowhere.
    """
    from transformers import AutoTokenizer

    vocabulary, merges = Path(name) / "gpt2-vocab.json", Path(name) / "gpt2-merges.txt"
    if vocabulary.is_file():
        return load_opt_tokenizer(vocabulary, merges)
    path = checkpoint_path(name)
    if path.is_dir() and not (path / "tokenizer.json").is_file():  # a small model's is the shipped one
        return load_small_tokenizer()
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except Exception as error:  # offline, a wrong name: the hub's clients raise many kinds
        raise WorkbookError(
            f"{name}: no tokenizer to be had ({str(error).splitlines()[0]}). Usual cause: no network. Name a folder that holds OPT's "
            "gpt2-vocab.json and gpt2-merges.txt."
        ) from error
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _asked(stream: RecordStream[Trajectory], tokenizer: "PreTrainedTokenizerFast", plan: Plan) -> dict[str, Any]:
    """What the shards depend on."""
    path = Path(stream.name)
    return {
        "source": stream.name,
        "bytes": path.stat().st_size if path.is_file() else None,
        "tokenizer": hash_of(tokenizer),
        "plan": asdict(plan),
    }


def _begin(path: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """The manifest that an earlier run left, or a new one."""
    if not path.is_file():
        return {"asked": asked, "finished": False, "shards": []}
    manifest = read_json(path)
    if manifest.get("asked") != asked:
        differing = [key for key, value in asked.items() if (manifest.get("asked") or {}).get(key) != value]
        raise WorkbookError(
            f"{path.parent}: another preparation was begun there: {', '.join(differing)} differ. "
            "Choose another output folder, or delete this one to start over."
        )
    return manifest


@dataclass(frozen=True)
class _Batch:
    """What one shard is made of: ``rows`` that came in, of which some were damaged (place, reason)."""

    examples: Sequence[Trajectory | MergedExample]
    rows: int
    damaged: tuple[tuple[str, str], ...] = ()


def _batches(stream: RecordStream[Trajectory], size: int) -> Iterator[_Batch]:
    """The rows of a stream, ``size`` positions of the source at a time; a damaged row takes its position."""
    begin, examples = stream.start, []

    def batch(end: int) -> _Batch:
        damaged = tuple((str(one), one.reason) for one in stream.set_aside if begin <= one.position < end)
        return _Batch(examples, end - begin, damaged)

    for row in stream:
        while stream.position > begin + size:
            yield batch(begin + size)
            begin, examples = begin + size, []
        examples.append(row)
    while stream.position > begin:
        yield batch(min(begin + size, stream.position))
        begin, examples = begin + size, []


def _merged_batches(source: Source, tokenizer: "PreTrainedTokenizerFast", plan: Plan, done: int) -> Iterator[_Batch]:
    """Merged examples, a shard at a time, without the first ``done`` shards; damaged rows are told with the last."""
    encoder = encoder_of(tokenizer)

    def fits(row: Trajectory) -> bool:
        if plan.max_length is None or encoder.length(row.messages) <= plan.max_length:
            return True
        needed = needed_functions(row) if plan.truncation == "shorten" else None
        return needed is not None and shorten(row, tokenizer, plan.max_length, plan.seed, needed).fits

    stream = source(0)
    merged = merge_stream(stream, fits=fits)
    for _ in islice(merged, done * plan.shard):
        pass
    some, first = list(islice(merged, plan.shard)), not done
    while some or (first and stream.set_aside):
        following = list(islice(merged, plan.shard))
        damaged = () if following else tuple((str(one), one.reason) for one in stream.set_aside)
        yield _Batch(some, sum(len(one.absorbed) for one in some) + len(damaged), damaged)
        some, first = following, False


def _write(path: Path, batch: _Batch, tokenizer: "PreTrainedTokenizerFast", plan: Plan) -> dict[str, Any]:
    """Writes one shard; returns what the manifest says of it."""
    how = {"max_length": plan.max_length, "truncation": plan.truncation, "supervise": plan.supervise, "seed": plan.seed}
    found = list(flatten_each(batch.examples, tokenizer, **how))
    stands_for = [len(one.absorbed) if isinstance(one, MergedExample) else 1 for one in batch.examples]
    examples = [one for one in found if isinstance(one, FlatExample)]
    refused = [(*one, rows) for one, rows in zip(found, stands_for, strict=True) if isinstance(one, Refused)]
    for example in examples:
        check_labels(example.id, example.input_ids, example.labels, tokenizer, None if plan.merge else plan.supervise)
    content = as_bytes(examples)
    atomic_write_bytes(path, content)
    return {
        "bytes": len(content),
        "rows": batch.rows,
        "rows_in_examples": sum(stands_for) - sum(rows for _, _, rows in refused),
        "examples": len(examples),
        "tokens": sum(map(len, examples)),
        "supervised": sum(example.supervised for example in examples),
        "tokens_cut": sum(example.cut for example in examples),
        "set_aside": [*((place, reason, 1) for place, reason in batch.damaged), *refused],
    }
