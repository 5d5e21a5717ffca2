"""How many parameters models have, as tables: one model part by part, and several beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from toolslm_helpers.model.counting import Decoder, active_parameters, count, key_value_bytes, total_parameters
from toolslm_helpers.teaching.views import View, grid

MIB = 2**20


@dataclass(frozen=True)
class SizeRow:
    """One model beside the one that it is compared with: its parameters, and the memory of a full context (keys and values, 2 bytes each)."""

    name: str
    total: int
    active: int
    context_mib: float
    total_times: float
    active_times: float


def size_rows(models: Mapping[str, Decoder], start: Decoder) -> list[SizeRow]:
    """A row for each model, compared with ``start``."""
    rows = []
    for name, model in models.items():
        total, active = total_parameters(model), active_parameters(model)
        memory = key_value_bytes(model, model.context) / MIB
        times = total / total_parameters(start), active / active_parameters(start)
        rows.append(SizeRow(name, total, active, memory, *times))
    return rows


def sizes(models: Mapping[str, Decoder], start: Decoder, caption: str = "") -> View:
    """Models beside ``start``: parameters, those that work on one token, each also as a multiple, and the memory of a full context."""
    lines = [
        [
            r.name,
            f"{r.total:,}",
            f"x{r.total_times:.2f}",
            f"{r.active:,}",
            f"x{r.active_times:.2f}",
            f"{r.context_mib:,.0f} MiB",
        ]
        for r in size_rows(models, start)
    ]
    return grid(["model", "parameters", "", "active for a token", "", "keys and values of a full context"], lines, caption)


def part_table(model: Decoder, start: Decoder, caption: str = "") -> View:
    """One model part by part; a part that ``start`` has in another size says so. The last line is the sum."""
    before = {part.name: part.total for part in count(start)}
    lines, marked = [], []
    for part in count(model):
        grown = part.total != before.get(part.name, 0)
        lines.append(
            [part.name, part.formula, f"{part.total:,}", f"{part.active:,}", _change(part.total, before.get(part.name, 0))]
        )
        marked.append(grown)
    for name in before.keys() - {part.name for part in count(model)}:
        lines.append([name, "", "0", "0", "gone"])
        marked.append(True)
    totals = total_parameters(model), active_parameters(model)
    lines.append(["together", "", *(f"{n:,}" for n in totals), _change(totals[0], total_parameters(start))])
    return grid(["part", "how many", "parameters", "active for a token", f"beside {start.name}"], lines, caption, marked)


def _change(now: int, before: int) -> str:
    if now == before:
        return "the same"
    return f"{now - before:+,}" + (f" (x{now / before:.2f})" if before else " (new)")


def one_thing_changed(start: Decoder, changes: Sequence[Mapping[str, int]]) -> dict[str, Decoder]:
    """{"what changed": model}: ``start`` itself, then ``start`` with each of ``changes`` (fields of Decoder)."""
    names = [
        ", ".join(f"{field} {getattr(start, field):,} -> {value:,}" for field, value in change.items()) for change in changes
    ]
    return {start.name: start} | {name: replace(start, **change) for name, change in zip(names, changes, strict=True)}
