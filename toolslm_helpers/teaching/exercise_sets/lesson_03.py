"""The exercises of lesson 03: names, rows of a tree, turns graded twice, rows merged, what test sets hold out, a wrong answer."""

import re
from collections.abc import Callable, Sequence

from toolslm_helpers.teaching.marking import Exercise, Mistake

# 03.1: (tool, API)
NAMED = {"a": ("Air-Quality (EU)", "Stations / v2"), "b": ("Movie DB", "ID"), "c": ("24/7 News", "Latest")}


def _names(lower: bool = True, one_line: bool = True, strip: bool = True, digits: bool = True, reserved: bool = True,
           drop: bool = False, swapped: bool = False, joint: str = "_for_") -> dict[str, str]:  # fmt: skip
    """The functions' names, or what people make of them when a rule is left out."""

    def standard(name: str) -> str:
        name = re.sub(r"[^a-zA-Z0-9_]", "" if drop else "_", name)
        name = re.sub(r"_+", "_", name) if one_line else name
        name = name.lower() if lower else name
        name = name.strip("_") if strip else name
        return f"get_{name}" if digits and name[:1].isdigit() else name

    def name_of(tool: str, api: str) -> str:
        first, second = standard(api), standard(tool)
        first = f"is_{first}" if reserved and first.lower() == "id" else first
        return f"{second}{joint}{first}" if swapped else f"{first}{joint}{second}"

    return {key: name_of(*pair) for key, pair in NAMED.items()}


def _letters(answer: dict) -> dict:
    """Every letter counts, capitals as well."""
    return {str(key): [ord(letter) for letter in str(name)] for key, name in answer.items()}


def _held_out(tool: str, category: str, several: str, several_category: str, g3: str = "wording") -> dict:
    """The answer of 03.3; G1_instruction is always the wording."""
    return {"G1_instruction": "wording", "G1_tool": tool, "G1_category": category, "G2_instruction": several,
            "G2_category": several_category, "G3_instruction": g3}  # fmt: skip


# 03.4: query, then (arguments, observation) of each call
HONEST = ("The price of Kelmora, please.", [({"name": "Kelmora"}, '{"error": "", "response": {"price": 48}}')])
WRONG = ("The price of Kelmora, please.", [({"name": "Belisto"}, '{"error": "", "response": {"name": "Belisto", "price": 51}}')])
CHAIN = ("Who directed the first film of Aster?", [({"artist": "Aster"}, '{"error": "", "response": {"first_film": "Low Tide"}}'),
                                                   ({"title": "Low Tide"}, '{"error": "", "response": {"director": "Mara"}}')])  # fmt: skip
SECOND = ("The price and the weight of Kelmora.", [({"name": "Kelmora"}, '{"error": "", "response": {"price": 48}}'),
                                                   ({"name": "Belisto"}, '{"error": "", "response": {"weight": 3}}')])  # fmt: skip
NUMBER = ("The forecast for Oslo, please.", [({"city": "Oslo", "days": 7}, '{"error": "", "response": {"sky": "rain"}}')])
SMALL = ("the price of KELMORA", HONEST[1])
FIRST = (SECOND[0], [SECOND[1][1], SECOND[1][0]])
LOOKS = (HONEST, WRONG, CHAIN, SECOND, NUMBER, SMALL, FIRST)

Calls = Sequence[tuple[dict, str]]


def _looks_wrong(earlier: bool = True, own: bool = False, fold: bool = True, numbers: bool = False, names: bool = False,
                 last: bool = False, inverted: bool = False) -> Callable[[str, Calls], bool]:  # fmt: skip
    """The check, or what people make of it. ``own``: also a call's own answer counts as said before."""

    def check(query: str, calls: Calls) -> bool:
        said, wrong = query, []
        for arguments, observation in calls:
            if own:
                said += observation
            for name, value in arguments.items():
                part = str(name if names else value)
                if numbers or names or isinstance(value, str):
                    wrong.append(part.casefold() not in said.casefold() if fold else part not in said)
            if earlier and not own:
                said += observation
        found = wrong[-1] if last else any(wrong)
        return not found if inverted else found

    return check


def _first_call(query: str, calls: Calls) -> bool:
    return _looks_wrong()(query, calls[:1])


EXERCISES = (
    Exercise(
        id="03.1", title="What a function is called", kind="by hand", difficulty=2, importance=3, minutes=5,
        name="names_by_hand",
        shown='`{"a": "..._for_...", "b": ..., "c": ...}`',
        hints=(
            "First make tool and API plain, each for itself, by the five rules. Then put them together, the API first.",
            "a: every mark and space becomes `_`, several become one, none stays at an end. b: `id` alone is a word that Python has. c: a name "
            "may not begin with a digit.",
        ),
        expected=_letters(_names()), observe=_letters,
        right="And so a model that has read nothing can still guess a good part of a name, and a person a good part of an API.",
        mistakes=(
            Mistake(_names(lower=False), "The names are small letters throughout."),
            Mistake(_names(one_line=False), "Several `_` in a row become one."),
            Mistake(_names(strip=False), "A `_` at the end of a part is dropped, before the parts are put together."),
            Mistake(_names(reserved=False), "`id` by itself is a reserved word upstream: it becomes `is_id`."),
            Mistake(_names(digits=False), "A name that begins with a digit gets `get_` in front."),
            Mistake(_names(drop=True), "Other characters are not dropped, each becomes a `_`."),
            Mistake(_names(swapped=True), "The other way round: the API first, then `_for_`, then the tool."),
            Mistake(_names(joint="_"), "Between the two stands `_for_`."),
        ),
        otherwise="Rule by rule: other characters to `_`, several to one, small letters, none at the ends, then `get_` or `is_`.",
    ),
    Exercise(
        id="03.2", title="How many rows?", kind="predict", difficulty=2, importance=5, minutes=4,
        name="rows_of_the_tree",
        shown='`{"rows": ..., "conversations": ...}`, two whole numbers',
        hints=(
            "A row is written for each call of the path that is kept, and for no other. How many whole conversations does that path tell?",
            "Count the blocks marked as kept, Finish included: that many rows. They all tell the same conversation, each up to another place.",
        ),
        expected={"rows": 4, "conversations": 1},
        right="Four rows of one conversation. Whoever calls 187,542 such rows examples is right, and has far fewer conversations.",
        mistakes=(
            Mistake({"rows": 4, "conversations": 4},
                    "Rows are no trajectories: all four tell the same conversation, each up to another call."),
            Mistake({"rows": 1, "conversations": 1}, "One conversation, right. But upstream writes a row for each of its calls."),
            Mistake({"rows": 8, "conversations": 1}, "Those are all moves of the search. Only the path that is kept becomes rows."),
            Mistake({"rows": 8, "conversations": 8}, "Those are the moves of the search. Rows tell the path that is kept: one conversation."),
            Mistake({"rows": 3, "conversations": 1}, "Off by one: Finish is a call as well, the last one, and it gets a row."),
            Mistake({"rows": 5, "conversations": 1},
                    "Off by one: a thought in a message of its own is no row. Only a call is a target."),
            Mistake({"rows": 4, "conversations": 3},
                    "Those are the paths of the search. The two that gave up are thrown away: one conversation is left."),
        ),
        otherwise="Rows: the calls of the kept path. Conversations: how many whole paths do they tell?",
    ),
    Exercise(
        id="03.3", title="Turns graded", kind="predict", difficulty=2, importance=5, minutes=4,
        name="graded_how_often",
        shown='`{"first": ..., "last": ..., "all": ...}`, three whole numbers',
        hints=(
            "The first turn stands in every row. In how many rows does the last one stand?",
            "Row 1 has one turn, row 2 two, row 3 three, row 4 four. Add them up; then count the first turn, and the last.",
        ),
        expected={"first": 4, "last": 1, "all": 10},
        right="The first turn counts four times as much as the last. Ten gradings for four turns: nobody chose these weights.",
        mistakes=(
            Mistake({"first": 1, "last": 1, "all": 4},
                    "That is ToolBench's own rule, each row on its last turn. Here every turn of every row is graded."),
            Mistake({"first": 4, "last": 4, "all": 16}, "The last turn stands in the longest row only."),
            Mistake({"first": 3, "last": 0, "all": 6}, "Off by one: a row also grades its own last turn."),
            Mistake({"first": 1, "last": 4, "all": 10}, "The sum is right. But it is the first turn that stands in all rows."),
            Mistake({"first": 4, "last": 1, "all": 4}, "Four turns, yes. How often is any of them graded? 1 + 2 + 3 + 4."),
            Mistake({"first": 4, "last": 1, "all": 8}, "The two in the middle are graded as well, three times and twice."),
        ),
        otherwise="Write the four rows under each other, A1; A1 A2; A1 A2 A3; A1 A2 A3 A4, and count.",
    ),
    Exercise(
        id="03.4", title="Merge by hand", kind="by hand", difficulty=3, importance=5, minutes=6,
        name="merged_by_hand",
        shown='`{"examples": ..., "messages": ..., "graded": ...}`, three whole numbers',
        hints=(
            "A row that is exactly the beginning of another adds nothing to read. Which rows are nobody's beginning? Compare the messages.",
            "Rows 1 and 2 are beginnings of row 3; row 4 is the beginning of row 5, but not of row 3: their fourth messages differ. Two rows "
            "stay. Each of the five rows brings its one graded turn along.",
        ),
        expected={"examples": 2, "messages": 13, "graded": 5},
        right="Two examples, 13 messages instead of 24, and the same five turns graded, each once. A1 stands in both, graded in one.",
        mistakes=(
            Mistake({"examples": 1, "messages": 7, "graded": 5},
                    "Row 3 is not the beginning of row 5: after F1 one has A2, the other U2. They branch, so both stay."),
            Mistake({"examples": 2, "messages": 13, "graded": 6},
                    "A1 stands in both examples, but it was the target of one row only. Graded twice, it would count double."),
            Mistake({"examples": 2, "messages": 13, "graded": 2},
                    "Graded on its last turn only, a merged example would forget the targets of the rows that it stands for."),
            Mistake({"examples": 5, "messages": 24, "graded": 5}, "Those are the rows as they stand, nothing merged yet."),
            Mistake({"examples": 3, "messages": 18, "graded": 5},
                    "Row 4 is the beginning of row 5: U1 A1 F1 U2 A4, then F3 A5. It need not stay."),
            Mistake({"examples": 2, "messages": 24, "graded": 5}, "24 are the messages of all five rows. Count those of the two that stay."),
            Mistake({"examples": 3, "messages": 15, "graded": 5},
                    "Row 1 is the beginning of every other row. It need not stay: one of them takes its target along."),
        ),
        otherwise="Which rows stay? Add up their messages. And every row's target is graded once, somewhere.",
    ),
    Exercise(
        id="03.5", title="What is new in a test?", kind="predict", difficulty=2, importance=5, minutes=5,
        name="new_in_each_set",
        shown='`{"G1_instruction": "wording", "G1_tool": ..., "G1_category": ..., "G2_instruction": ..., "G2_category": ..., '
              '"G3_instruction": ...}`, each one of `"wording"`, `"tools"`, `"categories"`',
        hints=(
            "The last word of a name says what training has not seen: instructions, tools, or whole categories. G1, G2 and G3 say how many "
            "tools a query needs, and where they come from.",
            "instruction: new wording over tools that are known. tool: unseen tools of categories that are known. category: tools of categories "
            "that training never had. It does not matter whether it begins with G1 or G2.",
        ),
        expected=_held_out("tools", "categories", "wording", "categories"),
        right="Three questions, each harder than the one before: the same tools in other words, other tools, another world.",
        mistakes=(
            Mistake(_held_out("categories", "categories", "wording", "categories"),
                    "G1_tool: the tools are new, their categories are not. Training has seen their neighbours."),
            Mistake(_held_out("tools", "categories", "wording", "wording"),
                    "G2_category is not \"scenarios across categories\": its categories are new, as in G1_category. G2 only says that a query "
                    "needs several tools of one category."),
            Mistake(_held_out("tools", "categories", "wording", "tools"),
                    "G2_category holds out whole categories, not only the tools."),
            Mistake(_held_out("tools", "categories", "tools", "categories"),
                    "G2 means several tools, not new ones. In G2_instruction they are known, and the wording is new."),
            Mistake(_held_out("tools", "categories", "wording", "categories", g3="tools"),
                    "G3 takes tools of one collection together. They are known; the wording is new."),
            Mistake(_held_out("tools", "categories", "wording", "categories", g3="categories"),
                    "G3 mixes categories, but known ones. Its last word is instruction: the wording is new."),
            Mistake(_held_out("tools", "tools", "wording", "tools"),
                    "category: not only are the tools new, training has no tool of their category at all."),
            Mistake(_held_out("wording", "wording", "wording", "wording"),
                    "The wording is new everywhere. Name the most that is new: wording, tools, or categories."),
        ),
        otherwise="Look at the last word of each name; G1, G2 and G3 say something else.",
    ),
    Exercise(
        id="03.6", title="An answer about somebody else", kind="break it", difficulty=3, importance=5, minutes=8,
        name="looks_wrong",
        shown='a function; `looks_wrong("The price of Kelmora, please.", [({"name": "Belisto"}, "...")])` gives `True`',
        hints=(
            "Where may an argument come from? The user said it, or an API said it before. Whatever comes from nowhere is suspicious.",
            "Keep one text of all that was said so far, first the query. For each call: is a text among its arguments that does not stand in it "
            "(whatever its capitals)? Then True. Otherwise add the call's observation to the text, and go on.",
        ),
        cases=LOOKS,
        expected=(False, True, False, True, False, False, True),
        right="It needs no model and no judge, and finds what a reader skims over: an argument that nobody ever mentioned.",
        mistakes=(
            Mistake(_looks_wrong(earlier=False),
                    "Low Tide stands in no query, but an API said it before. What earlier calls brought may be used."),
            Mistake(_looks_wrong(own=True),
                    "An API repeats what it was asked. Take a call's own answer only after the call has been looked at."),
            Mistake(_looks_wrong(fold=False), "Users write KELMORA or kelmora: compare whatever the capitals."),
            Mistake(_looks_wrong(numbers=True), "7 days may be a default that the model chose. Look at texts only."),
            Mistake(_looks_wrong(names=True), "You compare the names of the arguments. Their values are what was looked up."),
            Mistake(_looks_wrong(last=True), "You look at the last call only. Every call counts: collect them, or return at the first."),
            Mistake(_first_call, "You look at the first call only. In the fourth case it is the second that goes astray."),
            Mistake(_looks_wrong(inverted=True), "The other way round: True where something is wrong."),
        ),
        otherwise="True where a text among the arguments stands neither in the query nor in an earlier observation.",
    ),
)  # fmt: skip
