"""Exercises: every solution passes, every stub is "not attempted", every foreseen mistake its message, nothing ever raises."""

import json
import math
import re

import numpy as np
import pytest
import torch

from toolslm_helpers.files import repository_root
from toolslm_helpers.teaching import exercises
from toolslm_helpers.teaching.exercises import all_exercises, check, hint, progress, solution, solution_code
from toolslm_helpers.teaching.marking import Exercise, Mistake, mark, same

EVERY = list(all_exercises().values())
by_id = pytest.mark.parametrize("exercise", EVERY, ids=lambda e: e.id)


@pytest.fixture(autouse=True)
def progress_file(tmp_path, monkeypatch):
    """Nobody's real progress is touched."""
    path = tmp_path / "home" / "progress.json"
    monkeypatch.setenv("TOOLSLM_PROGRESS", str(path))
    return path


def solved(exercise):
    """What the solution defines under the exercise's name."""
    namespace = {"math": math}
    exec(solution_code(exercise), namespace)
    return namespace[exercise.name]


def stub_of(exercise):
    return (lambda *arguments: None) if exercise.cases else None


# --- the exercises themselves


@by_id
def test_the_solution_passes(exercise):
    result = mark(exercise, solved(exercise))
    assert result.status == "right", result.message


@by_id
def test_the_stub_is_not_attempted(exercise):
    assert mark(exercise, stub_of(exercise)).status == "not attempted"


@by_id
def test_each_foreseen_mistake_has_its_own_message(exercise):
    messages = [mark(exercise, mistake.answer).message for mistake in exercise.mistakes]
    assert [mark(exercise, mistake.answer).status for mistake in exercise.mistakes] == ["wrong"] * len(exercise.mistakes)
    assert messages == [mistake.message for mistake in exercise.mistakes]
    assert len(set(messages)) == len(messages) >= 2


@by_id
def test_what_a_lesson_shows_is_complete(exercise):
    assert re.fullmatch(r"\d\d\.\d+", exercise.id) and exercise.name.isidentifier()
    assert 1 <= exercise.difficulty <= 5 and 1 <= exercise.importance <= 5 and 1 <= exercise.minutes <= 20
    texts = [exercise.title, exercise.shown, exercise.right, exercise.otherwise, *exercise.hints]
    assert all(texts) and exercise.hints[0] != exercise.hints[1]


def test_every_lesson_has_the_three_kinds():
    for lesson in {e.lesson for e in EVERY}:
        kinds = [e.kind for e in EVERY if e.lesson == lesson]
        assert len(kinds) >= 3 and {"by hand", "predict", "break it"} <= set(kinds), lesson


def count_of_opt_350m(**wrong):
    """The right table of exercise 01.5, with some numbers replaced."""
    return {
        "embedding": 25_739_264, "positions": 2_099_200, "projections": 1_048_576, "attention": 4_198_400, "feed_forward": 8_393_728,
        "norms": 4_096, "total": 331_196_416,
    } | wrong  # fmt: skip


# Wrong answers that the exercise files do not hold, written here a second time by hand.
@pytest.mark.parametrize(
    ("exercise_id", "answer", "words"),
    [
        ("00.1", " SAME ", "same number of queries"),
        ("00.2", {"passed": 933, "margin": 2.2}, "G3 as 80% of 200"),
        ("00.2", {"passed": 853, "margin": 1.26}, "one standard error"),
        ("00.2", {"passed": 850, "margin": 2.5}, "sum of the six"),
        ("00.3", {"messages": 7, "written_by_the_model": 3, "api_calls": 3, "failed_calls": 1}, "Finish calls no API"),
        ("00.4", '{ "city" : "Oslo" }', "works"),
        ("00.4", '{"name": "Oslo"}', "wrong name"),
        ("01.1", {"shares": [8 / 13, 4 / 13, 0], "mixed": [12 / 13, 0]}, "The mask comes before the shares"),
        ("01.1", {"shares": [0.333, 0.5, 0], "mixed": [0.1667, 0.6667]}, "shares of a column"),
        ("01.1", {"shares": [0.4, 0.2, 0.4], "mixed": [1, 0.8]}, "A score of 0 is not a mask"),
        ("01.2", lambda q, k: (torch.tensor(q) @ torch.tensor(k).T / len(q[0])).softmax(dim=-1).tril(), "divided by K"),
        ("01.2", lambda q, k: (torch.tensor(q) @ torch.tensor(k).T / len(q[0]) ** 0.5).softmax(dim=0).tril(), "down the columns"),
        ("01.3", {"one_layer": 3, "all_layers": (1, 2, 3)}, "cannot flow back in one"),
        ("01.4", {"embedding_at_1024": 51_478_528, "projections": 524_288, "saved": 25_214_976}, "two projections"),
        ("01.5", count_of_opt_350m(total=356_935_680), "The head is tied"),
        ("01.5", count_of_opt_350m(positions=2_097_152, total=331_194_368), "2,050 rows"),
        ("01.5", count_of_opt_350m(attention=4_194_304, feed_forward=8_388_608, total=330_975_232), "have biases"),
        ("01.5", count_of_opt_350m(total=331_198_464), "no layer norm after its last layer"),
        ("01.5", count_of_opt_350m(positions=2_097_152, total=356_933_632), "Two things. The head is tied"),
        (
            "01.6",
            {"most_parameters": "experts", "most_active": "experts", "fewest_parameters": "context"},
            "one of the 64 experts",
        ),
        (
            "03.1",
            {"a": "air_quality_eu_for_stations_v2", "b": "movie_db_for_is_id", "c": "get_24_7_news_for_latest"},
            "other way round",
        ),
        ("03.2", {"rows": 4, "conversations": 4}, "Rows are no trajectories"),
        ("03.2", {"rows": 3, "conversations": 1}, "Off by one: Finish"),
        ("03.3", {"first": 3, "last": 0, "all": 3 + 2 + 1}, "Off by one"),
        ("03.4", {"examples": 2, "messages": 13, "graded": 3 + 3}, "A1 stands in both"),
        (
            "03.5",
            dict.fromkeys(("G1_instruction", "G2_instruction", "G2_category", "G3_instruction"), "wording")
            | {"G1_tool": "tools", "G1_category": "categories"},
            "scenarios across categories",
        ),
        (
            "03.6",
            lambda query, calls: any(v.lower() not in query.lower() for a, _ in calls for v in a.values() if isinstance(v, str)),
            "Low Tide",
        ),
        (
            "04.1",
            "</s>User: Lisbon?\nAssistant: \ncall Lisbon\nFunction: sunny\nAssistant: \nIt is sunny.\n",
            "end token is missing",
        ),
        (
            "04.1",
            "</s>user: Lisbon?\nassistant: \ncall Lisbon</s>\nfunction: sunny\nassistant: \nIt is sunny.</s>\n",
            "have a capital",
        ),
        ("04.2", {"in_the_text": 7, "graded": 3}, "only the assistant's end"),
        ("04.3", ("th", "e", "re"), "from the left"),
        ("04.4", "ok\nAssistant: pay Oslo", "end token is missing"),
        ("04.5", {"tokens": 50, "graded": 10 + 5 + 6}, "delimiter as content"),
        ("04.5", {"tokens": 49, "graded": 15}, "Off by one"),
        ("04.6", {"right": list(range(8)), "left": list(range(5, 13))}, "has lost the `</s>`"),
        ("04.7", lambda names: list(reversed(names))[0], "last of the list"),
        ("05.1", {"one_hot": [[0, 0], [0, 0], [0, 1], [0, 0], [0, 0], [1, 0]], "product": [[0, -1], [-2, -1]]}, "on its side"),
        ("05.2", {"paper": 4, "opt-mini": 160, "OPT-350M": 1024}, "widths after the projection"),
        ("05.3", {"word": [-1, -1], "projected": [-1, 0, 1, 1], "x": [6, 7, 8, 8]}, "offset is missing"),
        ("05.4", lambda mask: [2 + sum(mask[:k]) if m else 1 for k, m in enumerate(mask)], "This one is right"),
        ("05.5", {"logits": [-3, 1, 3, 4, 1, -1], "next": 3}, "First with first"),
        ("05.6", {"table": 25739264, "tied": 356935680, "untied": 382674944}, "tied matrix twice"),
        ("07.1", {"graded": [4, 5, 9], "bits": 1.333}, "Off by one: you graded what is predicted *at*"),
        ("07.1", {"graded": [9, 8, 4, 3], "bits": 28 / 9}, "over all nine predictions: take only"),
        ("07.1", {"graded": [8, 3], "bits": 2.5}, "end token is forgotten"),
        ("07.1", {"graded": (2, 3, 4, 7, 8, 9), "bits": 2.667}, "delimiter as content"),
        ("07.1", {"graded": [1, 2, 5, 6, 7], "bits": 4.0}, "inverted"),
        ("07.2", [0.025, 0.1, 0.1, -0.3, 0.05, 0.025], "where `call` came next"),
        ("07.2", [0.05, 0.2, 0.2, 0.4, -0.9, 0.05], "for one graded token"),
        ("07.3", dict.fromkeys(("gradient", "share", "read", "target"), "zero"), "Masked is not deleted"),
        ("07.4", {"rows": 3, "last_turn": 3, "all_turns": 10, "first_turn": 1}, "rows as trajectories"),
        ("07.4", {"rows": 10, "last_turn": 10, "all_turns": 2 * 2 + 3 * 3 + 5 * 5, "first_turn": 5}, "1 + 2 + ... + T"),
        ("07.5", lambda ids, mask: [i if m else -100 for i, m in zip(ids, [*mask[1:], 0])], "the other way"),  # noqa: B905
        ("07.5", lambda ids, mask: [*[i if m else -100 for i, m in zip(ids[1:], mask[1:])], -100], "labels as well"),  # noqa: B905
        (
            "07.6",
            {"mask dropped": "higher", "mask one late": "about the same", "end masked": "higher", "pad is </s>": "zero"},
            "one token of each turn less",
        ),
        ("08.2", {"micro_batches": 23443, "steps_kept": 5860, "steps_dropped": 5861}, "swapped"),
        ("08.3", {50: 5e-5, 100: 5e-5, 2980: 5e-5}, "constant"),
        ("08.3", {50: 4.27e-7, 100: 8.53e-7, 2980: 2.54e-5}, "end of the warm-up"),
        ("08.4", 15.617, "bits"),
        ("08.4", 4.7013, "base 10"),
        ("08.1", lambda rows: [[i if g else -100 for i, g in zip(*row)] for row in rows], "gives [[-100, 6, 2], [7, 2]]"),  # noqa: B905
        ("08.3", {50: 4.266e-9, 100: 8.532e-9, 2980: 2.543e-7}, "100 epochs"),
        ("08.5", {"accumulation": 8, "steps": 2931, "examples_in_warm_up": 6400}, "second card is forgotten"),
        ("08.5", {"accumulation": 4, "steps": 5861 * 4 - 1, "examples_in_warm_up": 3200}, "micro-batches"),
        ("08.5", {"accumulation": 4, "steps": 23_443 * 4, "examples_in_warm_up": 3200}, "multiplied by the accumulation"),
        ("08.5", {"accumulation": 4, "steps": 5861, "examples_in_warm_up": 100 * 8}, "effective batch is miscounted"),
        ("08.5", {"accumulation": 4, "steps": 5861, "examples_in_warm_up": 100 * 187_542}, "counted in epochs"),
        (
            "08.6",
            lambda parts: [float(np.mean(part)) / len(parts) for part in parts],
            "averaged per micro-batch instead of per token",
        ),
        ("08.6", lambda parts: [float(np.mean(part)) for part in parts], "grow with the accumulation"),
        ("08.7", {"survives": False, "scale": 2**6, "largest": 1023.5}, "a single bit"),
        ("08.7", {"survives": False, "scale": 2**15, "largest": 1.999}, "One doubling short"),
        ("11.1", [True, True, False, True, True], "luck"),
        ("11.3", {"middle": 0.8, "low": 0.442, "high": 1.158}, "above 1"),
        ("11.4", 1 / 4, "root of n"),
        ("11.2", "Sunny? I mean sunny, 19.", "nobody is fooled"),
        ("11.2", "no idea", "Draft 1 refuses"),
        ("11.5", "Hm. Verdict: solved", "wrong place"),
        ("11.5", "Lisbon: sunny, 19\nVerdict: solved", "Say nothing that helps"),
        ("11.5", "19 degrees and sunny", "looks for a verdict"),
        ("11.6", {"strict": 6 / 10, "upstream": 6 / 8}, "Ties counted as passes"),
        ("11.6", {"strict": 3 / 8, "upstream": 6 / 8}, "Missing predictions dropped"),
        ("11.7", 0.35, "unweighted mean"),
        ("11.7", 30.9, "A share of 1"),
    ],
)
def test_a_wrong_answer_is_told_what_it_looks_like(exercise_id, answer, words):
    result = mark(all_exercises()[exercise_id], answer)
    assert result.status == "wrong" and words in result.message


# --- what a learner sees


def test_check_says_not_attempted_and_keeps_no_record(capsys, progress_file):
    check("08.2", None)
    check("08.2", {"micro_batches": None, "steps_kept": None, "steps_dropped": None})
    assert capsys.readouterr().out == "08.2 not attempted yet\n" * 2
    assert not progress_file.exists()


def test_check_says_what_is_still_empty(capsys):
    check("08.2", {"micro_batches": 23443, "steps_kept": None, "steps_dropped": None})
    assert "2 of 3 places are still None" in capsys.readouterr().out


def test_check_tells_a_function_from_its_result(capsys):
    check("08.1", [[1]])
    check("08.4", math.log)
    out = capsys.readouterr().out
    assert 'write check("08.1", labels_padded_wrong)' in out and "check wants the value, not a function" in out


def test_an_error_in_the_learners_function_is_told_with_its_arguments(capsys):
    def labels_padded_wrong(rows):
        return rows[5]

    check("08.1", labels_padded_wrong)
    out = capsys.readouterr().out
    assert "stopped with IndexError: list index out of range" in out and "labels_padded_wrong([([5, 6, 2]" in out


def test_a_branch_without_return_is_named(capsys):
    check("08.1", lambda rows: [[5, 2]] if len(rows) == 1 else None)
    assert "gives None. Usual cause: a branch without a return" in capsys.readouterr().out


def test_the_learners_function_cannot_spoil_the_cases():
    exercise = all_exercises()["08.1"]

    def greedy(rows):
        answer = solved(exercise)(rows)
        rows.clear()
        return answer

    assert mark(exercise, greedy).status == "right"
    assert mark(exercise, solved(exercise)).status == "right"


class Hostile:
    """An answer whose every method fails."""

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    def __repr__(self):
        raise RuntimeError("no text")

    __hash__ = None


def leave(*arguments):
    raise SystemExit


@pytest.mark.parametrize(
    "answer",
    [Hostile(), leave, float("nan"), '"text"', b"bytes", 3, [], {}, {"passed": "many", "margin": []}, object(), type, [Hostile()],
     np.zeros(3), torch.zeros(2, 2)],
    ids=lambda a: type(a).__name__,
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Using a non-tuple")  # torch, about a tensor that is asked for its "passed"
@by_id
def test_no_answer_makes_check_raise_or_pass(exercise, answer, capsys):
    check(exercise.id, answer)
    assert re.match(rf"{re.escape(exercise.id)} (not yet|not attempted)", capsys.readouterr().out)


@pytest.mark.parametrize("name", ["99.1", 8.1, None, ["08.2"], "08.99"])
def test_an_unknown_exercise_is_answered_with_those_that_exist(name, capsys):
    for say in (check, hint, solution):
        say(*([name, 1] if say is not solution else [name]))
    out = capsys.readouterr().out
    assert out.count("There is no exercise") == 3 and "08.2" in out


def test_hints_and_solution_are_printed(capsys):
    hint("08.4")
    hint("08.4", 2)
    hint("08.4", 3)
    solution("08.4")
    out = capsys.readouterr().out
    assert all(h in out for h in all_exercises()["08.4"].hints) and "There is no hint 3" in out
    assert "loss_of_even_guessing = math.log(50_265)" in out and "08.1" not in out


def test_a_missing_solution_says_where_it_was_looked_for(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(exercises, "repository_root", lambda: tmp_path)
    solution("08.2")
    (tmp_path / "notebooks" / "solutions").mkdir(parents=True)
    (tmp_path / "notebooks" / "solutions" / "08_x.py").write_text("# %% 08.3\nx = 1\n")
    solution("08.2")
    out = capsys.readouterr().out
    assert "No solutions for lesson 08" in out and "Sections found: 08.3" in out


# --- comparing


def test_same_is_tolerant_where_it_should_be_and_strict_elsewhere():
    assert same(1.0, 1.0 + 1e-9) and not same(1.0, 1.01) and same(1.0, 1.01, tolerance=0.02)
    assert same(np.float32(2.5), 2.5) and same(torch.tensor([1, 2]), [1, 2]) and same((1, [2]), [1, (2,)])
    assert same(" Higher\n", "higher") and not same("higher", "lower")
    assert not same(True, 1) and not same(0, False) and same(True, True)
    assert not same(2.5e-5, 5e-5) and not same(float("nan"), float("nan"))
    assert not same([1], [1, 2]) and not same({"a": 1}, {"b": 1}) and not same(Hostile(), 1)


def test_a_mistake_is_recognised_by_what_a_function_does_not_by_its_text():
    exercise = Exercise(
        id="99.1", title="Double", kind="break it", difficulty=1, importance=1, minutes=1, name="double", shown="6",
        hints=("a", "b"), cases=((3,), (5,)), expected=(6, 10), right="Yes.", otherwise="Hm.",
        mistakes=(Mistake(lambda x: x * x, "That is the square."),),
    )  # fmt: skip
    assert mark(exercise, lambda x: x + x).status == "right"
    assert mark(exercise, lambda x: x**2).message == "That is the square."
    assert mark(exercise, lambda x: 6).message == "double(5) gives 6, expected 10. Hm."


# --- progress


def test_progress_counts_what_is_solved_and_forgets_nothing(capsys, progress_file):
    check("08.4", math.log(50_265))
    check("08.4", 1.0)
    check("08.2", {"micro_batches": 1, "steps_kept": 1, "steps_dropped": 1})
    kept = json.loads(progress_file.read_text())["exercises"]
    assert (kept["08.4"]["status"], kept["08.4"]["tries"]) == ("solved", 2) and kept["08.2"]["status"] == "tried"
    capsys.readouterr()
    progress()
    out = capsys.readouterr().out
    lesson_08 = [e.id for e in EVERY if e.lesson == "08"]
    assert f"lesson 08  #{'.' * (len(lesson_08) - 1)}  1 of {len(lesson_08)} solved; next: 08.1, 08.2, 08.3" in out
    assert str(progress_file) in out


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        '{"version": 1}',
        "[]",
        '{"exercises": {"08.2": 3}}',
        '{"exercises": {"08.2": {"status": "great", "tries": 1}}}',
        '{"exercises": {"08.2": {"status": "tried", "tries": "1"}}}',
    ],
)
def test_a_damaged_file_is_kept_aside_and_progress_starts_anew(damage, capsys, progress_file):
    progress_file.parent.mkdir()
    for _ in range(2):
        progress_file.write_text(damage)
        check("08.4", math.log(50_265))
    out = capsys.readouterr().out
    assert out.count("was damaged") == 2 and "08.4 right" in out
    aside = sorted(p.name for p in progress_file.parent.iterdir())
    assert aside == ["progress.damaged-1.json", "progress.damaged-2.json", "progress.json"]
    assert progress_file.with_name("progress.damaged-1.json").read_text() == damage
    assert json.loads(progress_file.read_text())["exercises"]["08.4"]["status"] == "solved"


def test_a_folder_that_cannot_be_written_is_a_note_not_an_error(capsys, monkeypatch, tmp_path):
    (tmp_path / "a_file").write_text("")
    monkeypatch.setenv("TOOLSLM_PROGRESS", str(tmp_path / "a_file" / "progress.json"))
    check("08.4", math.log(50_265))
    progress()
    out = capsys.readouterr().out
    assert "08.4 right" in out and "Progress was not saved" in out


def test_without_the_variable_progress_lives_in_the_home_folder(monkeypatch, tmp_path):
    from toolslm_helpers.teaching.progress import progress_file

    monkeypatch.delenv("TOOLSLM_PROGRESS")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert progress_file() == tmp_path / ".toolslm" / "progress.json"


# --- the notebooks show what the registry says


def lesson_sources(exercise):
    found = sorted((repository_root() / "notebooks").glob(f"{exercise.lesson}_*.ipynb"))
    assert len(found) == 1, f"no notebook for lesson {exercise.lesson}"
    cells = json.loads(found[0].read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


@by_id
def test_the_notebook_shows_the_exercise_as_it_is_registered(exercise):
    shown = [text for kind, text in lesson_sources(exercise) if kind == "markdown" and f"Exercise {exercise.id} " in text]
    assert len(shown) == 1, f"lesson {exercise.lesson} has {len(shown)} cells titled Exercise {exercise.id}"
    head = f"difficulty {exercise.difficulty} of 5 · importance {exercise.importance} of 5 · {exercise.minutes} minutes"
    for part in (exercise.title, exercise.kind, head, exercise.shown, *exercise.hints):
        where = f"exercise_sets/lesson_{exercise.lesson}.py"
        assert part in shown[0], f"{exercise.id}: the notebook lacks {part!r}; copy it from {where}"


@by_id
def test_the_notebooks_stub_runs_and_is_not_attempted(exercise, capsys):
    stubs = [text for kind, text in lesson_sources(exercise) if kind == "code" and f'check("{exercise.id}"' in text]
    assert len(stubs) == 1
    exec(stubs[0], {"check": check, "__name__": "stub"})
    assert capsys.readouterr().out == f"{exercise.id} not attempted yet\n"
