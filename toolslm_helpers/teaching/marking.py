"""What an exercise is, and how an answer is marked: pure functions, nothing printed, nothing stored.

A mistake is kept as a wrong *answer*, not as a rule about answers. The learner's answer and the wrong one are looked at in the
same way; if they show the same outcome, that is the mistake it looks like.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["right", "wrong", "error", "not attempted"]


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people give (a value, or a function where the exercise wants one) and what to say to it."""

    answer: Any
    message: str


@dataclass(frozen=True)
class Exercise:
    """One exercise. ``expected`` is a right answer's outcome: what ``observe`` makes of a value, or the results on ``cases``."""

    id: str  # "08.1": lesson, number
    title: str
    kind: Literal["by hand", "predict", "break it"]
    difficulty: int  # 1 to 5
    importance: int  # 1 to 5
    minutes: int
    name: str  # the variable or function that the stub defines and check() is given
    shown: str  # the expected output, as the lesson shows it
    hints: tuple[str, str]  # the idea, then the steps
    expected: Any
    right: str  # what a right answer has shown
    mistakes: tuple[Mistake, ...]
    otherwise: str  # what to say to a wrong answer that nobody foresaw
    cases: tuple[tuple, ...] = ()  # argument tuples; not empty where the answer is a function
    observe: Callable[[Any], Any] | None = None  # value -> outcome; None: the value is the outcome
    tolerance: float = 1e-6  # for numbers, relative

    @property
    def lesson(self) -> str:
        return self.id.split(".")[0]


@dataclass(frozen=True)
class Mark:
    """The result of marking one answer."""

    status: Status
    message: str


def same(one: Any, other: Any, tolerance: float = 1e-6) -> bool:
    """True where two outcomes agree: numbers within ``tolerance``, words whatever their case, containers item by item."""
    one, other = _plain(one), _plain(other)
    if isinstance(one, str) and isinstance(other, str):
        return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other  # True is no 1 here: a count is not a yes
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=1e-9)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[k], other[k], tolerance) for k in one)
    if _is_sequence(one) and _is_sequence(other):
        return len(one) == len(other) and all(same(a, b, tolerance) for a, b in zip(one, other, strict=True))
    try:
        return bool(one == other)
    except Exception:  # an answer may be any object, and its comparison may do anything
        return False


def _plain(value: Any) -> Any:
    """Tensors, arrays and their scalars as plain Python, so that the tolerance applies to them as well."""
    return value.tolist() if callable(getattr(value, "tolist", None)) and not isinstance(value, type) else value


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _parts(value: Any) -> list[Any]:
    """The leaves of a nested answer: what the learner typed in."""
    value = _plain(value)
    if isinstance(value, Mapping):
        return [leaf for item in value.values() for leaf in _parts(item)]
    if _is_sequence(value):
        return [leaf for item in value for leaf in _parts(item)]
    return [value]


def mark(exercise: Exercise, answer: Any) -> Mark:
    """Marks ``answer``: a value, or a function where the exercise has cases. Never raises, whatever the answer does."""
    if answer is None:
        return _not_attempted(exercise)
    try:
        return _mark_function(exercise, answer) if exercise.cases else _mark_value(exercise, answer)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        return Mark("error", f"The check could not read {_short(answer)} ({reason}). Expected: {exercise.shown}")


def _not_attempted(exercise: Exercise) -> Mark:
    return Mark("not attempted", f"{exercise.id} not attempted yet")


def _mark_value(exercise: Exercise, answer: Any) -> Mark:
    if callable(answer):
        return Mark("wrong", f"check wants the value, not a function. Call it first, or set {exercise.name} to its result.")
    empty = [part is None for part in _parts(answer)]
    if empty and all(empty):
        return _not_attempted(exercise)
    if any(empty):
        return Mark("wrong", f"{sum(empty)} of {len(empty)} places are still None. Fill them in and run the cell again.")
    return _compare(exercise, _outcome(exercise, answer), f"{_short(answer)} is not it yet. {exercise.otherwise}")


def _mark_function(exercise: Exercise, answer: Any) -> Mark:
    if not callable(answer):
        return Mark("wrong", f'check wants the function itself, not its result: write check("{exercise.id}", {exercise.name}).')
    outcome = []
    for case in exercise.cases:
        try:
            outcome.append(answer(*copy.deepcopy(case)))
        except (Exception, SystemExit) as error:
            return Mark("error", f"{exercise.name}({_arguments(case)}) stopped with {type(error).__name__}: {error}")
    if all(result is None for result in outcome):
        return _not_attempted(exercise)
    if any(result is None for result in outcome):
        case = exercise.cases[[result is None for result in outcome].index(True)]
        return Mark("wrong", f"{exercise.name}({_arguments(case)}) gives None. Usual cause: a branch without a return.")
    different = [not same(a, b, exercise.tolerance) for a, b in zip(outcome, exercise.expected, strict=True)]
    k = different.index(True) if any(different) else 0
    return _compare(
        exercise, outcome,
        f"{exercise.name}({_arguments(exercise.cases[k])}) gives {_short(outcome[k])}, expected {_short(exercise.expected[k])}. "
        f"{exercise.otherwise}",
    )  # fmt: skip


def _outcome(exercise: Exercise, answer: Any) -> Any:
    """What the check looks at. For functions, the results on all cases."""
    if exercise.cases:
        return [answer(*copy.deepcopy(case)) for case in exercise.cases]
    return exercise.observe(answer) if exercise.observe else answer


def _compare(exercise: Exercise, outcome: Any, otherwise: str) -> Mark:
    if same(outcome, exercise.expected, exercise.tolerance):
        return Mark("right", exercise.right)
    for mistake in exercise.mistakes:
        if same(outcome, _outcome(exercise, mistake.answer), exercise.tolerance):
            return Mark("wrong", mistake.message)
    return Mark("wrong", otherwise)


def _short(value: Any, limit: int = 80) -> str:
    try:
        text = repr(value)
    except Exception:  # a broken __repr__ must not hide the message it stands in
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _arguments(case: tuple) -> str:
    return ", ".join(_short(argument, 40) for argument in case)
