"""The exercises of lesson 00: the claim, its uncertainty, the toy conversation, a broken call."""

import json

from toolslm_helpers.teaching.marking import Exercise, Mistake
from toolslm_helpers.teaching.toy import toy_api


def _claim(answer: dict) -> dict:
    """The count as typed, then the margin to one decimal (2 standard errors and 1.96 both give 2.5); first things first."""
    return {"passed": answer["passed"], "margin": round(answer["margin"], 1) if answer["passed"] == 853 else None}


def _refusal(action_input: str) -> str:
    """What the toy API thinks of an Action Input, in one word or two."""
    if not isinstance(action_input, str):
        return "no text"
    error = json.loads(toy_api(action_input))["error"]
    for kind in ("Action Input is not JSON", "Action Input must be a JSON object", "Missing argument", "No such city"):
        if error.startswith(kind):
            return kind
    return "refused" if error else "answered"


EXERCISES = (
    Exercise(
        id="00.1", title="Which average is higher?", kind="predict", difficulty=1, importance=3, minutes=2,
        name="average_of_the_six",
        shown='one of `"higher"`, `"lower"`, `"same"`',
        hints=(
            "A mean of percentages lets every set count the same. A rate over all queries lets every query count the same.",
            "G3 has half as many queries as the others. Is its 80.0 above or below the rest of the column? Giving it a full "
            "vote pulls the mean that way.",
        ),
        expected="higher",
        right="G3 has only 100 queries, and its 80.0 is above most of the column. A full vote for it pulls the mean up a little.",
        mistakes=(
            Mistake("same", "They would be the same if all sets had the same number of queries. Look at G3."),
            Mistake("lower", "G3 is the set with fewer queries. Is its 80.0 below the rest of the column, or above?"),
        ),
        otherwise='Answer with one of the three words "higher", "lower", "same".',
    ),
    Exercise(
        id="00.2", title="The claim on the back of an envelope", kind="by hand", difficulty=2, importance=5, minutes=6,
        name="claim_by_hand",
        shown='`{"passed": a whole number, "margin": percentage points}`; two standard errors, one decimal is enough',
        hints=(
            "Turn each percentage into a count of its set and add. One standard error of a share p of n is the root of p(1-p)/n.",
            "157 + 148 + 158 + 161 + 149 + 80. Then p = passed / 1100, error = sqrt(p * (1 - p) / 1100), margin = 2 * error * "
            "100.",
        ),
        expected={"passed": 853, "margin": 2.5},
        right="853 of 1,100, give or take 2.5 points. A system measured at 75.5% would be no clear loser against it.",
        mistakes=(
            Mistake({"passed": 855, "margin": 2.5},
                    "855 comes from the mean of the six percentages, 77.75. Count queries instead: G3 has 100 of them, not 200."),
            Mistake({"passed": 933, "margin": 2.5}, "933 counts G3 as 80% of 200. It has 100 queries, so 80 passes."),
            Mistake({"passed": 853, "margin": 0.025}, "That margin is a share. In percentage points it is 100 times larger."),
            Mistake({"passed": 853, "margin": 1.3}, "That is one standard error. The usual interval takes two to each side."),
            Mistake({"passed": 853, "margin": 5.0}, "That is the whole width of the interval. The margin is half of it."),
            Mistake({"passed": 853, "margin": 83.5},
                    "That is the spread of a single query, twice the root of p(1-p). Divide by n under the root."),
        ),
        otherwise="Check the sum of the six counts first, then the root of p(1-p)/n.",
        observe=_claim,
    ),
    Exercise(
        id="00.3", title="Read the conversation", kind="by hand", difficulty=1, importance=5, minutes=3,
        name="conversation_by_hand",
        shown='`{"messages": ..., "written_by_the_model": ..., "api_calls": ..., "failed_calls": ...}`',
        hints=(
            "Only one of the four roles is the model. Finish ends the conversation; no API is behind it.",
            "Go through the boxes from top to bottom. Count the boxes, then those called assistant, then the function answers, "
            "then "
            "those of them whose error is not empty.",
        ),
        expected={"messages": 7, "written_by_the_model": 3, "api_calls": 2, "failed_calls": 1},
        right="Three of seven messages are the model's own work. Training will grade those three and nothing else.",
        mistakes=(
            Mistake({"messages": 7, "written_by_the_model": 3, "api_calls": 3, "failed_calls": 1},
                    "Three Actions, but Finish calls no API: it hands the answer to the user."),
            Mistake({"messages": 7, "written_by_the_model": 3, "api_calls": 2, "failed_calls": 0},
                    "It ends well, but one call on the way was refused: look for an error that is not empty."),
            Mistake({"messages": 7, "written_by_the_model": 5, "api_calls": 2, "failed_calls": 1},
                    "The function messages are the API's words, not the model's."),
            Mistake({"messages": 6, "written_by_the_model": 3, "api_calls": 2, "failed_calls": 1},
                    "Did you leave out the system message? The model reads it like all the others."),
        ),
        otherwise="Count again, box by box: each box says whose it is.",
    ),
    Exercise(
        id="00.4", title="Break a call", kind="break it", difficulty=2, importance=4, minutes=4,
        name="broken_call",
        shown='a string; the API answers it with `"error": "Action Input is not JSON: ..."`',
        hints=(
            "JSON is stricter than Python. What does Python accept around a string that JSON does not?",
            "Take '{\"city\": \"Lisbon\"}' and use single quotes inside, or drop the last brace, or add a comma before it.",
        ),
        expected="Action Input is not JSON",
        right="The API did not crash, it answered. The model reads that answer next, and can learn to correct itself.",
        mistakes=(
            Mistake('{"city": "Lisbon"}', "This call works: the API answers with the weather. Break the JSON, not the habit."),
            Mistake('{"town": "Lisbon"}',
                    "This is refused, but for another reason: it is good JSON with a wrong name in it. Break the text itself."),
            Mistake('{"city": "Paris"}', "This is good JSON about a city that the API does not know. Break the text itself."),
            Mistake('["Lisbon"]',
                    "A list is good JSON too; the API only wants an object. Break the text so that nobody can parse it."),
            Mistake({"city": "Lisbon"}, "That is a Python dictionary. A model writes text: give a string."),
        ),
        otherwise="Try it: weather_api_2(broken_call) shows what the API says.",
        observe=_refusal,
    ),
)  # fmt: skip
