"""The tools of the embedded world: sixty written by hand, the rest from a seeded grammar of names, descriptions and parameters.

An API tells one attribute of one kind of thing ("the annual price of a hotel in a year"). What it is called, what its parameters are
called and what else it returns are drawn widely, so that a model must read a tool's description; it cannot have learnt it by heart.
"""

import random
import re
import tomllib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from toolslm_helpers.data.records import Api, Parameter
from toolslm_helpers.data.words import EXTRA_PARAMETERS, MODIFIERS, SHARED_ATTRIBUTES, Theme, article, coin_word
from toolslm_helpers.files import DataError

EXTRA_TYPES = {name: kind for name, kind, _ in EXTRA_PARAMETERS}
PASSING_FAULTS = ("rate_limit", "timeout")  # the same call works the second time
LASTING_FAULTS = ("not_found", "unsubscribed")  # it never works; another API may
COINED_KIND_SHARE = 0.35  # of the training tools

_HANDWRITTEN = Path(__file__).with_name("handwritten.toml")
_API_LINE = re.compile(
    r"(?P<name>[a-z0-9_]+)\((?P<entity>[a-z_]+)(=(?P<kind>[a-z]+))?(, (?P<extra>[a-z]+)(?P<optional>\?)?)?\)"
    r" -> (?P<fields>[a-z ]+:[nmdtpwl](, [a-z ]+:[nmdtpwl])*)( !(?P<fault>[a-z_]+))? \| (?P<description>.+)"
)


@dataclass(frozen=True)
class WorldApi:
    """One API and what it means: it returns ``fields`` (attribute, value kind), the first being what it is for, of one entity."""

    api: Api
    kind: str
    entity_parameter: str
    fields: tuple[tuple[str, str], ...]
    extra: str | None = None  # a further parameter, such as year
    extra_required: bool = False
    maximum: int | None = None  # the largest value of the further parameter that it accepts
    fault: str | None = None

    @property
    def attribute(self) -> str:
        return self.fields[0][0]

    @property
    def key(self) -> tuple[str, str]:
        """(tool, api), the world's name for it."""
        return self.api.tool_name, self.api.api_name

    @property
    def meaning(self) -> tuple[str, str, str | None, int | None]:
        """What two APIs share that can stand in for each other."""
        return self.kind, self.attribute, self.extra, self.maximum


@dataclass(frozen=True)
class Tool:
    """A tool: APIs under one name. ``held_out`` tools serve test queries only."""

    name: str
    category: str
    description: str
    apis: tuple[WorldApi, ...]
    held_out: bool
    by_hand: bool = False


def describe(rng: random.Random, attribute: str, kind: str, extra: str | None, required: bool) -> str:
    """What an API's documentation says it does, and by which further parameter: "by year", or, where it may be left out, "by year if given"."""
    tail = "" if not extra else f" by {extra}" if required else f", by {extra} if given"
    return rng.choice((f"{attribute.capitalize()} of {article(kind)}{tail}.", f"Returns the {attribute} of {article(kind)}{tail}.",
                       f"Get the {attribute} for {article(kind)}{tail}.", f"The {attribute} of one {kind}{tail}.",
                       f"Look up the {attribute} of any {kind}{tail}."))  # fmt: skip


def name_api(rng: random.Random, attribute: str, kind: str) -> str:
    """What an API is called: mostly after what it does; one in seven is opaque, and only its description tells."""
    a, k = attribute.replace(" ", "_"), kind
    if rng.random() < 0.14:
        return rng.choice(
            (f"v{rng.randint(1, 9)}_query", f"endpoint_{rng.randint(1, 99)}", f"{coin_word(rng, False)}_info", f"{k}_data")
        )
    return rng.choice((f"get_{a}", f"{a}_lookup", f"find_{a}", f"{k}_{a}", f"{a}_by_{k}", f"fetch_{a}", f"show_{a}", f"read_{a}", f"check_{a}",
                       f"{a}_of_{k}"))  # fmt: skip


def name_tool(rng: random.Random, category: str, held_out: bool) -> str:
    """A tool's name: a coined word, alone or with an everyday one."""
    brand = coin_word(rng, held_out).capitalize()
    return rng.choice((brand,) * 6 + (f"{brand} {category}", f"Open {brand}", f"{brand} Data", f"{brand} Hub"))


def _draw_attribute(rng: random.Random, theme: Theme, seen: bool) -> tuple[str, str]:
    """(attribute, value kind) a tool may tell: the trade's own noun, a shared one or, now and then, the trade's coined jargon."""
    pool = SHARED_ATTRIBUTES if seen and rng.random() < 0.4 else theme.attributes
    noun, value_kind = rng.choice(pool)
    if seen and rng.random() < 0.15:
        noun = coin_word(rng, False)
    return (f"{rng.choice(MODIFIERS)} {noun}" if rng.random() < 0.55 else noun), value_kind


def _make_api(rng: random.Random, category: str, tool: str, taken: set[str], meaning: WorldApi) -> WorldApi:
    """An API of that meaning under a new name, with its own parameter names, in ToolBench's record."""
    name = name_api(rng, meaning.attribute, meaning.kind)
    while name in taken:
        name += f"_{rng.randint(2, 9)}"
    entity = rng.choice((meaning.kind, meaning.kind, meaning.kind, f"{meaning.kind}_name", "name"))
    description = describe(rng, meaning.attribute, meaning.kind, meaning.extra, meaning.extra_required)
    return replace(meaning, entity_parameter=entity, api=_record(category, tool, name, description, entity, meaning))


def _record(category: str, tool: str, name: str, description: str, entity: str, meaning: WorldApi) -> Api:
    required = [Parameter(name=entity, type="STRING", description=f"The {meaning.kind}.")]
    optional = []
    if meaning.extra:
        kind = "NUMBER" if EXTRA_TYPES[meaning.extra] == "number" else "STRING"
        parameter = Parameter(name=meaning.extra, type=kind, description=f"The {meaning.extra}.")
        (required if meaning.extra_required else optional).append(parameter)
    return Api(
        category_name=category,
        tool_name=tool,
        api_name=name,
        api_description=description,
        required_parameters=tuple(required),
        optional_parameters=tuple(optional),
    )


def _draw_meaning(rng: random.Random, theme: Theme, kind: str, seen: bool) -> WorldApi:
    fields = dict([_draw_attribute(rng, theme, seen)])
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        fields.setdefault(*_draw_attribute(rng, theme, seen))
    extra = rng.choice(EXTRA_PARAMETERS)[0] if rng.random() < 0.3 else None
    required = extra is not None and rng.random() < 0.6
    maximum = rng.randint(5, 9) if extra in ("days", "limit", "level") and required and rng.random() < 0.5 else None
    fault = rng.choices((None, *PASSING_FAULTS, *LASTING_FAULTS), (84, 6, 3, 4, 3))[0]
    return WorldApi(_NO_API, kind, "", tuple(fields.items()), extra, required, maximum, None if maximum else fault)


_NO_API = Api(category_name="", tool_name="", api_name="")


def make_tool(rng: random.Random, theme: Theme, name: str, held_out: bool, seen: bool, earlier: list[Tool]) -> Tool:
    """A tool of two to five APIs. Some repeat what an ``earlier`` tool of the category tells (a stand-in), some continue another API of
    the same tool ("the director of a film", "the age of a director"). A training tool may speak of a kind of thing with a coined name:
    kinds are parameters' names too, and a model that has only ever written the real ones cannot write an unseen category's."""
    kind, apis, taken = rng.choice(theme.kinds), [], set()
    if seen and not held_out and rng.random() < COINED_KIND_SHARE:
        kind = coin_word(rng, False)
    count = rng.choice((2, 3, 3, 4, 4, 5))
    while len(apis) < count:
        names = [a for a, value_kind in (api.fields[0] for api in apis) if value_kind == "p" and " " not in a]
        if earlier and rng.random() < 0.1:
            meaning = rng.choice(rng.choice(earlier).apis)
            fault = rng.choice((None, None, *LASTING_FAULTS)) if meaning.fault is None else None
            meaning = replace(meaning, fault=None if meaning.maximum else fault)
        else:
            meaning = _draw_meaning(rng, theme, rng.choice(names) if names and rng.random() < 0.35 else kind, seen)
        if any(meaning.attribute == api.attribute for api in apis):
            continue
        apis.append(_make_api(rng, theme.category, name, taken, meaning))
        taken.add(apis[-1].api.api_name)
    return Tool(name, theme.category, f"{theme.category} data about each {kind}.", tuple(apis), held_out)


@lru_cache(maxsize=1)
def handwritten_tools() -> tuple[Tool, ...]:
    """The tools of handwritten.toml. Raises DataError that names the tool and the line that cannot be read."""
    tools = []
    for entry in tomllib.loads(_HANDWRITTEN.read_text(encoding="utf-8"))["tool"]:
        apis = tuple(_read_api(entry["category"], entry["name"], line) for line in entry["apis"])
        tools.append(Tool(entry["name"], entry["category"], entry["description"], apis, held_out=False, by_hand=True))
    return tuple(tools)


def _read_api(category: str, tool: str, line: str) -> WorldApi:
    match = _API_LINE.fullmatch(line)
    if match is None or (match["extra"] and match["extra"] not in EXTRA_TYPES):
        raise DataError(
            f"{_HANDWRITTEN.name}: tool {tool}: cannot read {line!r}; the header of the file shows the form of a line."
        )
    fields = tuple(tuple(f.split(":")) for f in match["fields"].split(", "))
    meaning = WorldApi(
        _NO_API,
        match["kind"] or match["entity"],
        match["entity"],
        fields,
        match["extra"],
        bool(match["extra"]) and not match["optional"],
        None,
        match["fault"],
    )
    return replace(meaning, api=_record(category, tool, match["name"], match["description"], match["entity"], meaning))
