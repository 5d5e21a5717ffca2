"""The exercises of lesson 10: codes by hand, a turn that is misread, errors that look like successes, a search that backs off."""

from toolslm_helpers.teaching.marking import Exercise, Mistake
from toolslm_helpers.text.protocol import parse_action


def _readings(turn: str) -> tuple[bool, str] | str:
    """(whether draft 1 reads another action, what the workbook's parser complains about): draft 1 cuts at labels wherever they stand."""
    if not isinstance(turn, str):
        return "no text"
    naive = turn.partition("Thought:")[2].partition("Action:")[2].partition("Action Input:")[0].strip()
    read = parse_action(turn)
    return naive != read.action, "" if read.problem is None else "a complaint"


EXERCISES = (
    Exercise(
        id="10.1",
        title="Be the program",
        kind="by hand",
        difficulty=1,
        importance=5,
        minutes=4,
        name="codes_by_hand",
        shown="a list of three codes: `[first, second, third]`",
        hints=(
            "The order matters: is it a call of Finish, does the call fit the parameters, does the API answer?",
            "Turn 1 says town where the parameter is called city. Turn 2 says city. Turn 3 calls Finish with give_answer and a final "
            "answer.",
        ),
        expected=[12, 0, 3],
        right="Refused, answered, done. The program knew all that without understanding a word of the weather.",
        mistakes=(
            Mistake(
                [0, 0, 3],
                "Turn 1 calls the parameter town, and the API has none of that name: it was refused, code 12, although an "
                "observation came back.",
            ),
            Mistake([12, 0, 0], "Turn 3 calls no API. Finish with an answer has a code of its own, 3, and ends the episode."),
            Mistake([0, 0, 0], "Code 0 is not 'something came back'. Turn 1 was refused, and turn 3 is Finish."),
            Mistake([12, 12, 3], "Turn 2 says city, as the API wants it, and Lisbon is known: it was answered, code 0."),
            Mistake([3, 0, 12], "You have them from the end to the beginning. The first turn is the one that says town."),
        ),
        otherwise="Take one turn at a time: Finish? Do the arguments fit? Then 0.",
    ),
    Exercise(
        id="10.2",
        title="Misread",
        kind="break it",
        difficulty=3,
        importance=4,
        minutes=6,
        name="misread_turn",
        shown="a string: one turn with Thought, Action and Action Input",
        hints=(
            "Draft 1 cuts at the first place where the label stands, even inside a sentence.",
            'Let the thought speak about an action: "The last Action: was wrong." Then write the real action and its input on the next '
            "lines.",
        ),
        expected=(True, ""),
        right="One turn, two programs, two calls. Which of them a paper used is a line of code that no table shows.",
        mistakes=(
            Mistake(
                "\nThought: I look.\nAction: get_weather_for_skylark\nAction Input: {}",
                "Both read the same action. Where else could the label Action: stand, so that only one of them takes it for one?",
            ),
            Mistake(
                "\nThought: I look.\nAction: get_weather_for_skylark\nAction: Finish\nAction Input: Lisbon",
                "Draft 1 misreads it, but the workbook's parser complains about it as well: the real call must be flawless, a name "
                "and one JSON object on lines of their own.",
            ),
            Mistake(
                "\nThought: I look.\nAction: get_weather_for_skylark\nAction Input: Lisbon",
                "Both read the same action, and its input is no JSON object. Write a flawless call, and put the trap before it.",
            ),
        ),
        otherwise="The trap belongs into the thought, the real call below it.",
        observe=_readings,
    ),
    Exercise(
        id="10.3",
        title="Success?",
        kind="predict",
        difficulty=2,
        importance=5,
        minutes=4,
        name="successes_predicted",
        shown="a list of five, True where the API did what was asked: `[True or False, ...]`",
        hints=(
            "Code 0 says that the API answered. It does not say what.",
            "A success has code 0 and an empty error. Neither alone is enough, and a word inside the response proves nothing.",
        ),
        expected=[True, False, False, True, False],
        right="Code 0 and an empty error. Both conditions, nothing else.",
        mistakes=(
            Mistake(
                [True, True, False, True, False],
                "You took an error for a success: B has code 0, and its error says that there is no such city. Most real APIs fail "
                "like that.",
            ),
            Mistake(
                [True, False, False, False, False],
                "D speaks of an error inside its response; its error field is empty. Upstream's program searches for the word, too, "
                "and calls every answer an error, since each has a field of that name.",
            ),
            Mistake(
                [True, True, False, False, False],
                "Two at once: B is an error with code 0, and D is a success that mentions an error.",
            ),
            Mistake([True, True, True, True, True], "That something came back is no success. Read the error fields."),
            Mistake(
                [True, False, True, True, False], "C was refused: code 12, an argument is missing. The API never saw the call."
            ),
            Mistake([True, False, False, True, True], "E's server answered that there is nothing at that address: code 6."),
        ),
        otherwise="For each: is the code 0, and is the error empty?",
    ),
    Exercise(
        id="10.4",
        title="Back two",
        kind="predict",
        difficulty=3,
        importance=4,
        minutes=5,
        name="path_at_fifth_turn",
        shown='a list of names, from the start: for example `["a", "b", "c"]`',
        hints=(
            "Finish was written in the state after c. One state back from it is the state after b... count where the states are.",
            "The states are: start, after a, after b, after c. Finish left the state after c, and its own end is a state, too. Two back "
            "from that end is the state after b.",
        ),
        expected=["a", "b"],
        right="The end of the path, back to the state after c, back to the state after b: there another action than c is asked for.",
        mistakes=(
            Mistake(
                ["a", "b", "c"],
                "That is one state back: the model would only choose another ending after c. DFSDT goes back two.",
            ),
            Mistake(["a"], "That is three states back. Count the end of the path as a state: end, after c, after b."),
            Mistake(
                [],
                "That starts over, as give_up_and_restart promises. The search keeps what it has, up to two states before the end.",
            ),
            Mistake(["a", "b", "c", "Finish"], "After Finish the path is over: nobody is asked for another turn there."),
        ),
        otherwise="Write the states in a row, from the start to the end of the path, and count two back.",
    ),
)
