"""What a learner calls in a notebook: ``check``, ``hint``, ``solution`` and ``progress``. They print, and they never raise.

The exercises themselves are in ``exercise_sets/lesson_NN.py``, one file a lesson; how an answer is marked is in ``marking.py``.
"""

import importlib
import pkgutil
import re
from functools import cache
from pathlib import Path
from typing import Any

from toolslm_helpers.files import WorkbookError, repository_root
from toolslm_helpers.teaching import exercise_sets
from toolslm_helpers.teaching.marking import Exercise, mark
from toolslm_helpers.teaching.progress import load_progress, progress_file, store_result


@cache
def all_exercises() -> dict[str, Exercise]:
    """{exercise id: exercise} of every lesson that has a file in ``exercise_sets``, in order."""
    names = sorted(m.name for m in pkgutil.iter_modules(exercise_sets.__path__) if m.name.startswith("lesson_"))
    modules = [importlib.import_module(f"{exercise_sets.__name__}.{name}") for name in names]
    return {exercise.id: exercise for module in modules for exercise in module.EXERCISES}


def check(exercise_id: str, answer: Any) -> None:
    """Prints whether ``answer`` (value or function) is right, which mistake it looks like, or that it is not attempted yet."""
    exercise = _find(exercise_id)
    if exercise is None:
        return
    result = mark(exercise, answer)
    if result.status == "not attempted":
        print(result.message)
        return
    say = {"right": "right", "wrong": "not yet", "error": "not yet"}[result.status]
    print(f"{exercise.id} {say}. {result.message}")
    note = store_result(progress_file(), exercise.id, solved=result.status == "right")
    if note:
        print(note)


def hint(exercise_id: str, number: int = 1) -> None:
    """Prints hint 1 (the idea) or 2 (the steps)."""
    exercise = _find(exercise_id)
    if exercise is None:
        return
    if number not in (1, 2):
        print(f"There is no hint {number!r}. Hint 1 gives the idea, hint 2 the steps.")
        return
    print(f"{exercise.id} hint {number}: {exercise.hints[number - 1]}")


def solution(exercise_id: str) -> None:
    """Prints the code that solves the exercise, from ``notebooks/solutions``."""
    exercise = _find(exercise_id)
    if exercise is not None:
        try:
            print(solution_code(exercise))
        except WorkbookError as error:
            print(error)


def progress() -> None:
    """Prints a line for each lesson: how many of its exercises are solved, and which are open."""
    done, note = load_progress(progress_file())
    lessons: dict[str, list[Exercise]] = {}
    for exercise in all_exercises().values():
        lessons.setdefault(exercise.lesson, []).append(exercise)
    for lesson, exercises in lessons.items():
        solved = [e for e in exercises if done.get(e.id, {}).get("status") == "solved"]
        bar = "#" * len(solved) + "." * (len(exercises) - len(solved))
        still = ", ".join(e.id for e in exercises if e not in solved)
        print(f"lesson {lesson}  {bar}  {len(solved)} of {len(exercises)} solved" + (f"; next: {still}" if still else ""))
    print(note or f"kept in {progress_file()}")


def solution_code(exercise: Exercise) -> str:
    """The section ``# %% 08.1`` of ``notebooks/solutions/08_*.py``. Raises WorkbookError where there is none."""
    folder = repository_root() / "notebooks" / "solutions"
    found = sorted(folder.glob(f"{exercise.lesson}_*.py"))
    if not found:
        raise WorkbookError(
            f"No solutions for lesson {exercise.lesson} under {folder}. Usual cause: the package runs outside its clone. "
            "Clone the repository and install it with `make lab`."
        )
    sections = _sections(found[0])
    if exercise.id not in sections:
        raise WorkbookError(f"{found[0]}: no section '# %% {exercise.id}'. Sections found: {', '.join(sections) or 'none'}.")
    return sections[exercise.id]


def _sections(path: Path) -> dict[str, str]:
    """{exercise id: code} of a solutions file, whose sections begin with ``# %% 08.1``."""
    parts = re.split(r"^# %% (\d\d\.\d+)[^\n]*\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: code.strip() for name, code in zip(parts[1::2], parts[2::2], strict=True)}


def _find(exercise_id: str) -> Exercise | None:
    """The exercise, or None after a line that names those that exist."""
    exercises, name = all_exercises(), str(exercise_id)
    if name in exercises:
        return exercises[name]
    same_lesson = [e for e in exercises if e.startswith(name[:3])]
    print(f"There is no exercise {name!r}. Exercises here: {', '.join(same_lesson or exercises)}.")
    return None
