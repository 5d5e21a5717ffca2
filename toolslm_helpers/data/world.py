"""The embedded world: categories, tools, APIs that really answer, and the test queries of six sets, all from one seed.

It has ToolBench's scale and its split: tools seen in training, tools of seen categories that are held out, categories that are held
out. An API's answer depends on what is asked, not on which tool is asked, so two tools never contradict each other.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from toolslm_helpers.data.tools import LASTING_FAULTS, PASSING_FAULTS, Tool, WorldApi, handwritten_tools, make_tool, name_tool
from toolslm_helpers.data.values import draw_value
from toolslm_helpers.data.words import SEEN_THEMES, UNSEEN_THEMES, is_held_out

SETS = ("G1_instruction", "G1_tool", "G1_category", "G2_instruction", "G2_category", "G3_instruction")

TRAIN_TOOLS_PER_CATEGORY = 200
TEST_TOOLS_PER_CATEGORY = 40
COLLECTIONS = 150
TOOLS_PER_COLLECTION = 6

# What a failing API says, and ToolBench's status code for it (FAULT -> (error, code)).
FAULTS = {
    "rate_limit": ("Rate limit reached, try again.", 10),
    "timeout": ("Timeout, try again.", 5),
    "not_found": ("404: API not found.", 6),
    "unsubscribed": ("Not subscribed to this API.", 8),
}


@dataclass(frozen=True)
class Reply:
    """What an API answers: ``error`` is empty when all went well; ``code`` is ToolBench's status code (0 is normal)."""

    error: str
    response: object
    code: int


@dataclass(frozen=True, eq=False)
class World:
    """The tools of one seed. ``collections`` are groups of tools from different categories, as ToolBench's G3 has them."""

    seed: int
    tools: tuple[Tool, ...]
    apis: Mapping[tuple[str, str], WorldApi]
    collections: tuple[tuple[Tool, ...], ...]
    tools_by_name: Mapping[str, Tool]

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(tool.category for tool in self.tools))

    def value(self, api: WorldApi, attribute: str, value_kind: str, entity: str, extra: object = None) -> object:
        """The world's one answer for an attribute of an entity. Names in it follow the entity's side of the train/test split."""
        said = "" if extra is None else f"|{api.extra}={extra}"
        rng = random.Random(f"{self.seed}|{api.kind}|{attribute}|{entity}{said}")
        return draw_value(rng, value_kind, is_held_out(entity))

    def respond(self, tool_name: str, api_name: str, arguments: Mapping[str, object], attempt: int = 0) -> Reply:
        """What the API answers to ``arguments`` (already checked against its parameters) on the ``attempt``-th identical call.

        Deterministic. Raises KeyError for an API that the world does not have.
        """
        api = self.apis[tool_name, api_name]
        if api.fault in LASTING_FAULTS or (api.fault in PASSING_FAULTS and attempt == 0):
            error, code = FAULTS[api.fault]
            return Reply(error, "", code)
        extra = arguments.get(api.extra) if api.extra else None
        if api.maximum is not None and isinstance(extra, int | float) and extra > api.maximum:
            return Reply(f"{api.extra} must be at most {api.maximum}.", "", 11)
        entity = str(arguments[api.entity_parameter])
        record = {a.replace(" ", "_"): self.value(api, a, kind, entity, extra) for a, kind in api.fields}
        keys = sorted(record, key=lambda key: random.Random(f"{tool_name}|{api_name}|{key}").random())  # the API's own order
        return Reply("", {key: record[key] for key in keys}, 0)


@lru_cache(maxsize=2)
def build_world(seed: int = 0) -> World:
    """Builds the world of a seed in about a second: the same seed gives the same world, to the byte."""
    tools: list[Tool] = list(handwritten_tools())
    names = {tool.name.lower() for tool in tools}
    for theme in SEEN_THEMES + UNSEEN_THEMES:
        seen = theme in SEEN_THEMES
        rng = random.Random(f"world {seed} {theme.category}")
        parts = (
            ((False, TRAIN_TOOLS_PER_CATEGORY), (True, TEST_TOOLS_PER_CATEGORY)) if seen else ((True, TRAIN_TOOLS_PER_CATEGORY),)
        )
        for held_out, count in parts:
            made: list[Tool] = []
            while len(made) < count:
                name = name_tool(rng, theme.category, held_out)
                if name.lower() not in names:
                    names.add(name.lower())
                    made.append(make_tool(rng, theme, name, held_out, seen, made))
            tools += made
    rng = random.Random(f"collections {seed}")
    training = [tool for tool in tools if not tool.held_out]
    collections = []
    while len(collections) < COLLECTIONS:
        group = rng.sample(training, TOOLS_PER_COLLECTION)
        if len({tool.category for tool in group}) >= 4:
            collections.append(tuple(group))
    return World(
        seed,
        tuple(tools),
        {api.key: api for tool in tools for api in tool.apis},
        tuple(collections),
        {tool.name: tool for tool in tools},
    )
