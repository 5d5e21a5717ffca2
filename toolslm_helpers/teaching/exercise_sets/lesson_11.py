"""The exercises of lesson 11: verdicts and an interval by hand, a width predicted, a weak judge fooled."""

import math

from toolslm_helpers.teaching.marking import Exercise, Mistake

ASKED, OBSERVED = ("sunny", "19"), ("sunny", "19", "snow", "-4")  # what the toy query asks for, and all that the API answered


def _two_judges(answer: str) -> tuple[bool, bool] | str:
    """(does "contains the facts" pass it, does "and nothing else that was observed" pass it)."""
    if not isinstance(answer, str):
        return "no text"
    contains = all(value in answer for value in ASKED)
    return contains, contains and not any(value in answer for value in OBSERVED if value not in ASKED)


def _wilson_z2(passed: int, n: int) -> dict:
    middle, half = (passed + 2) / (n + 4), 2 * math.sqrt(passed * (n - passed) / n + 1) / (n + 4)
    return {"middle": middle, "low": middle - half, "high": middle + half}


def _naive(passed: int, n: int) -> dict:
    rate = passed / n
    half = 2 * math.sqrt(rate * (1 - rate) / n)
    return {"middle": rate, "low": rate - half, "high": rate + half}


EXERCISES = (
    Exercise(
        id="11.1", title="Be the judge", kind="by hand", difficulty=2, importance=5, minutes=5,
        name="verdicts_by_hand",
        shown="a list of five, True where the user is served: `[True or False, ...]`",
        hints=(
            "Three questions: was it looked up, is it what was asked, and is it nothing but that?",
            "B never called the API. C answers with another city beside the right one. D lacks a city: asking is the only good "
            "answer. "
            "E wants what no API here can do.",
        ),
        expected=[True, False, False, True, True],
        right="3 of 5. You used three rules that a program can check: calls made, facts present, nothing else claimed.",
        mistakes=(
            Mistake([True, True, False, True, True],
                    "B is right by luck: the API was never asked. Tomorrow the same model says it again, and it rains."),
            Mistake([True, False, True, True, True],
                    "C holds the right weather, and Oslo's beside it, unasked. Not wrong, but whoever says everything is never "
                    "wrong."),
            Mistake([True, True, True, True, True],
                    "You pass everything that ends politely. B never looked it up; C says too much."),
            Mistake([True, False, False, False, False],
                    "D and E did the only sensible thing: D's query lacks a city, E's wish fits no API."),
            Mistake([True, True, True, False, False],
                    "That is a judge who looks for the right words only. Ask also: was it looked up? Could it be answered at "
                    "all?"),
            Mistake([True, False, False, True, False],
                    "E asks for a flight, and there is only a weather API. Giving up is the honest ending here."),
            Mistake([True, False, False, False, True],
                    "D's query names no city. Asking which one is the only good answer to it."),
        ),
        otherwise="Take one row at a time: what did the user need, and did they get that and only that?",
    ),
    Exercise(
        id="11.2", title="Fool the judge", kind="break it", difficulty=2, importance=5, minutes=5,
        name="fooling_answer",
        shown="a string: draft 1 passes it, and no user would accept it; draft 3 must refuse it",
        hints=(
            "Draft 1 only asks whether the right words are there. It does not ask what else is there.",
            "Name the right weather and another one that the API also told: Lisbon is sunny, 19; Oslo has snow, -4.",
        ),
        expected=(True, False),
        right="It is sunny or it snows: draft 1 is content. A judge needs a rule about what must *not* be said.",
        mistakes=(
            Mistake("It is sunny in Lisbon, 19 degrees.",
                    "Both drafts pass it. If it is honest, nobody is fooled. If it says 'not sunny', you found a hole that no "
                    "search "
                    "for words closes: well done. Now find the one that draft 3 closes."),
            Mistake("It is cloudy.", "Draft 1 refuses it already: the right words are missing. Fool it, do not offend it."),
            Mistake(("sunny", 19), "A final answer is text: give a string."),
        ),
        otherwise="Say the right weather, and something else the API told.",
        observe=_two_judges,
    ),
    Exercise(
        id="11.3", title="An interval on paper", kind="by hand", difficulty=3, importance=5, minutes=6,
        name="interval_by_hand",
        shown='`{"middle": ..., "low": ..., "high": ...}` as shares, for 4 passes of 5 with z = 2; 1% off is close enough',
        hints=(
            "With z = 2 Wilson's middle is the rate after adding two passes and two failures.",
            "middle = (4 + 2) / (5 + 4). half = 2 * sqrt(4 * 1 / 5 + 1) / (5 + 4). low = middle - half, high = middle + half.",
        ),
        expected=_wilson_z2(4, 5),
        tolerance=0.01,
        right="From 37% to 96%: four passes of five say little more than that it is not hopeless.",
        mistakes=(
            Mistake(_naive(4, 5),
                    "That is rate plus and minus two standard errors. Its upper end is above 1: no rate can be there."),
            Mistake({**_wilson_z2(4, 5), "middle": 0.8},
                    "The ends are right. The middle of Wilson's interval is not the rate itself: it lies nearer to one half."),
            Mistake(_wilson_z2(3, 5), "That is the interval of 3 passes. The exercise has 4."),
            Mistake({"middle": 6 / 9, "low": 6 / 9 - math.sqrt(1.8) / 9, "high": 6 / 9 + math.sqrt(1.8) / 9},
                    "The middle is right, the half-width is too small by the factor z = 2."),
        ),
        otherwise="Work out the middle first: (passes + 2) / (queries + 4).",
    ),
    Exercise(
        id="11.4", title="What do four times as many queries buy?", kind="predict", difficulty=1, importance=4, minutes=2,
        name="width_factor",
        shown="one number: width with 200 queries / width with 50, at the same rate; 5% off is close enough",
        hints=(
            "The width shrinks with the root of the number of queries.",
            "sqrt(50 / 200).",
        ),
        expected=0.5,
        tolerance=0.05,
        right="Half the width for four times the work.",
        mistakes=(
            Mistake(0.25, "It would be a quarter if the width shrank with n. It shrinks with the root of n."),
            Mistake(2.0, "Upside down: more queries make the interval narrower."),
            Mistake(4.0, "More queries make the interval narrower, and not by the full factor."),
            Mistake(1.0, "The width does depend on the number of queries; that is why we count them."),
        ),
        otherwise="Compare sqrt(1/200) with sqrt(1/50).",
    ),
)  # fmt: skip
