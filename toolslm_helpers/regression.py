"""What must not move: ``tests/notebooks/expected.toml`` against what the lessons recorded."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from toolslm_helpers.files import DataError, repository_root


class Strict(BaseModel):
    """A table of the file: a field that it does not know is a spelling mistake."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Range(Strict):
    """Both bounds belong to it."""

    low: float
    high: float

    @model_validator(mode="after")
    def ordered(self) -> "Range":
        """A range that nothing can meet is refused."""
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self


class LessonExpectation(Strict):
    """What one lesson records at one size. ``seconds`` is only a guess for the time left and is never compared."""

    seconds: float | None = None
    values: dict[str, Range | bool | int | float | str] = {}
    pass_rate: dict[str, dict[str, Range]] = {}


class Expected(Strict):
    """The whole file: the seed for which it holds, and for each size its lessons by number."""

    seed: int
    smoke: dict[str, LessonExpectation] = {}
    tiny: dict[str, LessonExpectation] = {}
    full: dict[str, LessonExpectation] = {}

    def lessons(self, size: str) -> dict[str, LessonExpectation]:
        """The expectations of one size."""
        return getattr(self, size)


def expected_file() -> Path:
    """Where the repository keeps it."""
    return repository_root() / "tests" / "notebooks" / "expected.toml"


def read_expected(path: Path) -> Expected:
    """Reads the file. Raises DataError that names the file and the field."""
    try:
        return Expected.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. It belongs to the repository: restore it with git.") from error
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: broken TOML: {error}. The head of the file shows the format.") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: field {field}: {first['msg']}. The head of the file shows the format.") from error


def _miss(expected: Any, got: Any) -> str | None:
    """None where ``got`` is as expected, else "expected ..., got ..."."""
    if isinstance(expected, Range):
        is_number = isinstance(got, (int, float)) and not isinstance(got, bool)
        if is_number and expected.low <= got <= expected.high:
            return None
        return f"expected {expected.low:g} to {expected.high:g}, got {got if got is not None else 'nothing: it was not recorded'}"
    if got == expected and type(got) is type(expected):
        return None
    return f"expected {expected!r}, got {repr(got) if got is not None else 'nothing: it was not recorded'}"


def regressions(expected: Expected, results: dict[str, Any]) -> list[str]:
    """One line for each metric that moved: "lesson 08 metric final_loss: expected 0.1 to 0.3, got 0.52".

    Only lessons that ran are compared. A metric that a lesson no longer records has moved, too.
    """
    lines = []
    for number, lesson in sorted(expected.lessons(results["size"]).items()):
        if number not in results["lessons"]:
            continue
        values = results["lessons"][number]["values"]
        metrics = {name: (want, values.get(name, {}).get("value")) for name, want in lesson.values.items()}
        for model, sets in lesson.pass_rate.items():
            for name, want in sets.items():
                rate = results["pass_rate"].get(model, {}).get(name)
                metrics[f"pass_rate.{model}.{name}"] = (want, rate and rate["passed"] / rate["n"])
        for name, (want, got) in metrics.items():
            if miss := _miss(want, got):
                lines.append(f"lesson {number} metric {name}: {miss}")
    return lines
