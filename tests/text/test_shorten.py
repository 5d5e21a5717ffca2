"""What is too long gives way in order, evenly, and by the seed; no answer, no query, no needed API does."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolslm_helpers.agent.gold import gold_trajectories
from toolslm_helpers.data.names import FINISH, own_description
from toolslm_helpers.data.records import Function, Message, Trajectory
from toolslm_helpers.data.toolbench import read_rows, row_of, trajectory_of
from toolslm_helpers.data.world import build_world
from toolslm_helpers.files import DataError
from toolslm_helpers.text.encoder import MessageEncoder, encoder_of
from toolslm_helpers.text.flatten import flatten, flatten_all
from toolslm_helpers.text.protocol import parse_action, prompt_messages, rerender, write_action
from toolslm_helpers.text.shorten import DISTRACTORS, OBSERVATIONS, needed_functions, shorten

NAMES = [
    "get_rain_for_skylark",
    "get_wind_for_skylark",
    "find_city_for_atlas",
    "find_river_for_atlas",
    "buy_for_shop",
    "sell_for_shop",
]
WORDS = " ".join(f"word{k}" for k in range(25))  # 165 characters and more


def function(name: str, own: str) -> Function:
    tool = name.rpartition("_for_")[2]
    text = f'This is the subfunction for tool "{tool}", you can use this tool.The description of this function is: "{own}"'
    properties = {"place": {"type": "string", "description": f"Where. {own}", "example_value": "Oslo"}}
    return Function(name=name, description=text, parameters={"type": "object", "properties": properties, "required": ["place"]})


def conversation(
    rendering: str = "toolbench", observation: str = '{"error": "", "response": "wet"}', extra: str = ""
) -> Trajectory:
    functions = tuple(function(name, f"{name} tells. {WORDS}") for name in NAMES)
    tools = (("skylark", f"Weather. {WORDS}"), ("atlas", f"Maps. {WORDS}"), ("shop", "Goods."))
    messages = [
        *prompt_messages("Is it raining in Oslo?", functions, rendering, tools),
        Message(role="assistant", content=write_action("", NAMES[0], {"place": "Oslo"})),
        Message(role="function", content=observation),
        *([Message(role="user", content=extra)] if extra else []),
        Message(role="assistant", content=write_action("", "Finish", {"return_type": "give_answer", "final_answer": "Yes."})),
    ]
    return Trajectory(
        id="Step 4: rain", query="Is it raining in Oslo?", functions=functions, messages=tuple(messages), tools=tools
    )


def spoken(trajectory: Trajectory) -> list[str]:
    return [message.content for message in trajectory.messages if message.role == "assistant"]


def length(trajectory: Trajectory, tokenizer) -> int:
    return encoder_of(tokenizer).length(trajectory.messages)


def own_descriptions(trajectory: Trajectory) -> list[str]:
    return [own_description(function) for function in trajectory.functions if function.name != "Finish"]


# One thing after the other


def test_what_is_short_enough_stays_itself(tiny_tokenizer) -> None:
    whole = conversation()
    found = shorten(whole, tiny_tokenizer, length(whole, tiny_tokenizer), 0)
    assert found.trajectory == whole and found.fits
    assert (found.observation_characters_cut, found.description_characters_cut, found.dropped) == (0, 0, ())


def test_observations_give_way_first_and_say_so(tiny_tokenizer) -> None:
    text = "".join(f"<{k}>" for k in range(1000))
    short, long = conversation(observation=text[: OBSERVATIONS[-1]]), conversation(observation=text, extra=text)
    found = shorten(long, tiny_tokenizer, length(short, tiny_tokenizer) + 500, 0)
    assert found.fits and found.trajectory.functions == long.functions and not found.description_characters_cut
    observation, extra = found.trajectory.messages[3].content, found.trajectory.messages[4].content
    assert observation == extra, "a later user turn quotes observations, and gives way with them"
    head, cut, tail = re.fullmatch(r"(.*) \.\.\.\[([\d,]+) characters cut\]\.\.\. (.*)", observation).groups()
    assert text.startswith(head) and text.endswith(tail) and len(head) - len(tail) in (0, 1)
    assert len(head) + len(tail) + int(cut.replace(",", "")) == len(text)
    assert found.observation_characters_cut == 2 * int(cut.replace(",", ""))
    looser = next(limit for limit in reversed(OBSERVATIONS) if limit > len(head) + len(tail))
    assert len(head) + len(tail) in OBSERVATIONS, looser
    again = conversation(observation=text[:looser], extra=text[:looser])
    assert length(again, tiny_tokenizer) > length(short, tiny_tokenizer) + 500, "the next longer observations would have fitted"


@pytest.mark.parametrize("rendering", ["compact", "toolbench"])
def test_then_all_descriptions_to_one_length(tiny_tokenizer, rendering: str) -> None:
    whole = conversation(rendering)
    found = shorten(whole, tiny_tokenizer, int(length(whole, tiny_tokenizer) * 0.8), 0, needed_functions(whole))
    assert found.fits and not found.dropped and found.description_characters_cut > 0
    lengths = {len(text) for text in own_descriptions(found.trajectory)}
    assert len(lengths) == 1 and max(lengths) < len(WORDS), "the needed API's description is as short as the others'"
    assert all(text.endswith("...") for text in own_descriptions(found.trajectory))
    before, after = whole.messages[0].content, found.trajectory.messages[0].content
    assert after == prompt_messages(whole.query, found.trajectory.functions, rendering, found.trajectory.tools)[0].content
    assert 0 < len(before) - len(after) <= found.description_characters_cut
    schemas = [function.parameters["properties"]["place"] for function in found.trajectory.functions if function.name in NAMES]
    assert {len(schema["description"]) for schema in schemas} == lengths and schemas[0]["example_value"] == "Oslo"
    assert [len(text) for _, text in found.trajectory.tools] == [*lengths, *lengths, len("Goods.")]


@pytest.mark.parametrize("rendering", ["compact", "toolbench"])
def test_then_apis_go_but_for_those_needed_and_three_more(tiny_tokenizer, rendering: str) -> None:
    whole = conversation(rendering)
    smallest = shorten(whole, tiny_tokenizer, 1, 0, needed_functions(whole))
    assert not smallest.fits and len(smallest.dropped) == len(NAMES) - 1 - DISTRACTORS
    limits = range(length(smallest.trajectory, tiny_tokenizer), length(whole, tiny_tokenizer), 10)
    tried = (shorten(whole, tiny_tokenizer, limit, 0, needed_functions(whole)) for limit in reversed(limits))
    found = next(one for one in tried if one.dropped)
    assert found.fits and len(found.dropped) == 1, "the first to go goes alone"
    for one in (smallest, found):
        names = [function.name for function in one.trajectory.functions if function.name != "Finish"]
        assert NAMES[0] in names and set(names) | set(one.dropped) == set(NAMES) and len(names) >= 1 + DISTRACTORS
        assert names == [name for name in NAMES if name in names] and list(one.dropped) == [n for n in NAMES if n in one.dropped]
        assert all(name in one.trajectory.messages[0].content for name in names)
        assert not any(name in one.trajectory.messages[0].content for name in one.dropped)
        assert {name for name, _ in one.trajectory.tools} == {name.rpartition("_for_")[2] for name in names}
    properties = smallest.trajectory.functions[0].parameters["properties"]
    assert properties == {"place": {"type": "string"}} and not any(own_descriptions(smallest.trajectory))


def test_a_tool_goes_with_its_last_api(tiny_tokenizer) -> None:
    whole, left = conversation(), set()
    for seed in range(12):
        found = shorten(whole, tiny_tokenizer, 1, seed, needed_functions(whole)).trajectory
        offering = {function.name.rpartition("_for_")[2] for function in found.functions} - {"Finish"}
        assert {name for name, _ in found.tools} == offering
        left.add(len(offering))
    assert left == {2, 3}
    unknown = whole.model_copy(update={"tools": (*whole.tools, ("elsewhere", "No API here."))})
    unknown = rerender(unknown, "toolbench")
    assert ("elsewhere", "") in shorten(unknown, tiny_tokenizer, 1, 0).trajectory.tools, "it had none from the start"


def test_what_its_mark_would_not_shorten_stays(tiny_tokenizer) -> None:
    mark = " ...[28 characters cut]... "
    for length, cut in ((64 + len(mark), 0), (64 + len(mark) + 1, len(mark) + 1)):
        found = shorten(conversation(observation="x" * length), tiny_tokenizer, 1, 0)
        assert found.observation_characters_cut == cut
        assert len(found.trajectory.messages[3].content) == (length if not cut else 64 + len(mark))


def test_the_compact_rendering_lists_no_finish(tiny_tokenizer) -> None:
    found = shorten(conversation("compact"), tiny_tokenizer, 1, 0).trajectory
    assert "Finish" not in {function.name for function in found.functions}
    assert rerender(found, "compact") == found


def test_last_the_instructions(tiny_tokenizer) -> None:
    whole = conversation()
    found = shorten(whole, tiny_tokenizer, 1, 0)
    text = found.trajectory.messages[0].content
    assert found.instruction_characters_cut > 0 and text.count("characters cut]") == 1
    assert text.startswith("You are AutoGPT") and text.endswith(str([f.model_dump() for f in found.trajectory.functions]))
    assert found.trajectory.functions[-1].name == "Finish" and found.trajectory.functions[-1] != FINISH
    assert text.count("'Finish'") == 1, "its description gives way like the others'"


def test_the_seed_decides_which_apis_go(tiny_tokenizer) -> None:
    whole = conversation()
    dropped = [shorten(whole, tiny_tokenizer, 1, seed, needed_functions(whole)).dropped for seed in range(8)]
    assert dropped[0] == shorten(whole, tiny_tokenizer, 1, 0, needed_functions(whole)).dropped
    assert len(set(dropped)) > 3
    other = whole.model_copy(update={"query": "Is it windy?", "messages": (whole.messages[0], *whole.messages[1:])})
    assert {shorten(other, tiny_tokenizer, 1, seed, needed_functions(other)).dropped for seed in range(8)} != set(dropped)


def test_the_rows_of_a_query_lose_the_same_apis(tiny_tokenizer) -> None:
    whole = conversation()
    step = whole.model_copy(update={"messages": whole.messages[:3]})
    for limit in (500, 900, 1300):
        first, last = (set(shorten(row, tiny_tokenizer, limit, 5, needed_functions(row)).dropped) for row in (step, whole))
        assert first <= last or last <= first


# When nobody knows the answer


def test_a_needed_api_may_go_when_it_is_not_known(tiny_tokenizer) -> None:
    prompt = conversation().model_copy(update={"messages": conversation().messages[:2]})
    found = [shorten(prompt, tiny_tokenizer, 1, seed) for seed in range(12)]
    assert {len(one.dropped) for one in found} == {len(NAMES) - 1 - DISTRACTORS}, "one is needed, though nobody knows which"
    assert 0 < sum(NAMES[0] in one.dropped for one in found) < 12
    assert not any(NAMES[0] in shorten(prompt, tiny_tokenizer, 1, seed, {NAMES[0]}).dropped for seed in range(12))


def test_what_was_called_stays_offered(tiny_tokenizer) -> None:
    called = conversation().model_copy(update={"messages": conversation().messages[:4]})
    assert not any(NAMES[0] in shorten(called, tiny_tokenizer, 1, seed).dropped for seed in range(12))
    assert needed_functions(called) == {NAMES[0]} and needed_functions(conversation()) == {NAMES[0]}, "Finish is always offered"


def test_a_prompt_has_room_for_what_begins_the_turn(tiny_tokenizer) -> None:
    prompt = conversation().model_copy(update={"messages": conversation().messages[:4]})
    encoder = MessageEncoder(tiny_tokenizer)
    exact = encoder.length(prompt.messages, prompt=True)
    assert shorten(prompt, tiny_tokenizer, exact, 0).trajectory == prompt
    assert shorten(prompt, tiny_tokenizer, exact - 1, 0).trajectory != prompt


# Whatever comes


def test_a_system_text_of_another_origin_stays(tiny_tokenizer) -> None:
    whole = conversation(observation="x" * 3000)
    foreign = whole.model_copy(update={"messages": (Message(role="system", content="Be brief. " * 50), *whole.messages[1:])})
    found = shorten(foreign, tiny_tokenizer, 1, 0)
    assert not found.fits and not found.dropped and found.trajectory.functions == foreign.functions
    assert found.trajectory.messages[0] == foreign.messages[0] and found.observation_characters_cut > 2000


def test_nothing_to_shorten_is_no_error(tiny_tokenizer) -> None:
    empty = Trajectory(id="e", query="", functions=(), messages=())
    assert not shorten(empty, tiny_tokenizer, 1, 0).fits and shorten(empty, tiny_tokenizer, 50, 0).fits
    alone = Trajectory(id="a", query="q", functions=(), messages=prompt_messages("q", (), "toolbench"))
    assert shorten(alone, tiny_tokenizer, 1, 0).instruction_characters_cut > 0
    few = conversation().model_copy(update={"functions": conversation().functions[:2]})
    assert shorten(rerender(few, "compact"), tiny_tokenizer, 1, 0).dropped == ()


def test_what_is_shortened_is_read_back(tiny_tokenizer) -> None:
    whole = conversation()
    for share in (0.9, 0.7, 0.5):
        found = shorten(whole, tiny_tokenizer, int(length(whole, tiny_tokenizer) * share), 0, needed_functions(whole))
        assert found.fits and not found.instruction_characters_cut
        assert trajectory_of(row_of(found.trajectory)) == found.trajectory
        assert (
            shorten(found.trajectory, tiny_tokenizer, length(found.trajectory, tiny_tokenizer), 0).trajectory == found.trajectory
        )


GOLD = {rendering: gold_trajectories(build_world(), 40, rendering) for rendering in ("compact", "toolbench")}


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(["compact", "toolbench"]),
    st.integers(0, 39),
    st.floats(0.2, 1.05),
    st.integers(0, 3),
    st.sampled_from(["all", "last"]),
)
def test_no_token_that_is_trained_changes(small_tokenizer, rendering, index, share, seed, supervise) -> None:
    row = GOLD[rendering][index]
    whole = flatten(row, small_tokenizer, supervise=supervise)
    limit = int(len(whole) * share)
    found = shorten(row, small_tokenizer, limit, seed, needed_functions(row))
    assert found.fits == (length(found.trajectory, small_tokenizer) <= limit)
    assert spoken(found.trajectory) == spoken(row) and found.trajectory.messages[1] == row.messages[1]
    assert [message.role for message in found.trajectory.messages] == [message.role for message in row.messages]
    assert not set(found.dropped) & needed_functions(row)
    kept = {function.name for function in found.trajectory.functions} - needed_functions(row) - {"Finish"}
    assert len(kept) >= min(DISTRACTORS, len({function.name for function in row.functions} - needed_functions(row) - {"Finish"}))
    try:
        example = flatten(row, small_tokenizer, max_length=limit, truncation="shorten", supervise=supervise, seed=seed)
    except DataError as error:
        assert "after all that can be shortened" in str(error) and not found.fits
    else:
        assert len(example) <= limit and len(example) + example.cut == len(whole)
        assert example.input_ids[example.loss_mask].tolist() == whole.input_ids[whole.loss_mask].tolist()


def test_a_row_is_tokenized_little_more_than_once(tiny_tokenizer) -> None:
    whole = conversation(observation="The river is wide. " * 60)
    encoder = encoder_of(tiny_tokenizer)
    limit, before = int(length(whole, tiny_tokenizer) * 0.5), encoder.counts.tokens_new
    shorten(whole, tiny_tokenizer, limit, 0, needed_functions(whole))
    assert encoder.counts.tokens_new - before < 2.5 * length(whole, tiny_tokenizer)
    before = encoder.counts.tokens_new
    step = whole.model_copy(update={"id": "another step", "messages": whole.messages[:4] + whole.messages[2:3]})
    shorten(step, tiny_tokenizer, limit, 0, needed_functions(step))
    assert encoder.counts.tokens_new - before < 0.2 * limit, "the next row of the query finds nearly all of it kept"


# Real rows


@pytest.mark.parametrize(("max_length", "lost_on_the_right", "fitting"), [(2048, 19, 35), (1024, 33, 30)])
def test_every_real_row_keeps_its_target(toolbench_dir: Path, opt_tokenizer, max_length, lost_on_the_right, fitting) -> None:
    rows = read_rows(toolbench_dir / "golden" / "toolllama_train_like.json")
    right = flatten_all(rows, opt_tokenizer, max_length=max_length, truncation="right", supervise="last")
    whole = flatten_all(rows, opt_tokenizer, supervise="last")
    assert len(rows) == 35 and len(right.refused) == lost_on_the_right
    shortened = flatten_all(rows, opt_tokenizer, max_length=max_length, truncation="shorten", supervise="last")
    assert len(shortened) == 35 and not shortened.refused and shortened.cut > 0
    fits = 0
    for row, example, all_of_it in zip(rows, shortened.examples, whole.examples, strict=True):
        assert len(example) <= max_length
        assert example.input_ids[example.loss_mask].tolist() == all_of_it.input_ids[all_of_it.loss_mask].tolist()
        found = shorten(row, opt_tokenizer, max_length, 0, needed_functions(row))
        fits += found.fits
        called = {parse_action(text).action for text in spoken(row)}
        offered = {function.name for function in row.functions} - {"Finish"}
        left = {function.name for function in found.trajectory.functions} - {"Finish"}
        assert called & offered <= left and len(left - called) >= min(DISTRACTORS, len(offered - called))
    assert fits == fitting
