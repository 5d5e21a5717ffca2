"""Queries of the embedded world, each with what it takes to answer it: the six test sets, and training queries like them.

ToolBench's meaning of the sets: G1 one tool, G2 several tools of a category, G3 several tools of a collection; "instruction" asks seen
tools in new words, "tool" asks unseen tools of seen categories, "category" asks unseen categories. Every test query is held out in
its wording and its names.
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from toolslm_helpers.data.goals import Call, Fact, Goal, PlanStep, WorldQuery
from toolslm_helpers.data.records import Query
from toolslm_helpers.data.tools import LASTING_FAULTS, WorldApi
from toolslm_helpers.data.typed import typed_request
from toolslm_helpers.data.values import draw_extra_value, said_as, spoken
from toolslm_helpers.data.wording import HELD_OUT, TRAINING, Need, request
from toolslm_helpers.data.words import MODIFIERS, SEEN_THEMES, UNSEEN_THEMES, coin_name
from toolslm_helpers.data.world import SETS, World
from toolslm_helpers.files import WorkbookError

MAX_PROMPT_CHARACTERS = 620  # a prompt with its APIs then fits in 384 tokens of the small tokenizer; a test holds it
TEST_QUERIES = {name: 100 if name == "G3_instruction" else 200 for name in SETS}
TEST_SHARES = (0.07, 0.06)  # of the queries that lack something, and of those that no API can help with
TRAINING_SHARES = (0.08, 0.07)  # a little more of them: each shows a decision that the others do not
# Weights of what a query needs: one API, two, three, a chain of two. Few draws have APIs that make a chain, so its share ends up smaller;
# G2 and G3 need several tools. In training chains come twice as often: they are learned last.
TEST_FORMS = {"G1": (74, 18, 0, 8), "several": (0, 74, 4, 22)}
TRAINING_FORMS = {"G1": (66, 18, 0, 16), "several": (0, 40, 6, 54)}
# How often two things that can be of one entity are: in other queries, and in typed ones, where "its" is a wording to learn.
ONE_ENTITY, ONE_ENTITY_TYPED = 0.5, 0.9
TRAINING_MIX = {"G1": 0.45, "G2": 0.40, "G3": 0.15}


@dataclass(frozen=True)
class _Want:
    """One value the user wants: the API that tells it, of whom, with which further argument, and how a request says that argument."""

    api: WorldApi
    entity: str
    argument: Mapping[str, object]
    said: tuple[str, ...]

    @property
    def need(self) -> Need:
        return Need(self.api.attribute, self.api.kind, self.entity, self.said)


class _Unsuitable(Exception):
    """The draw led nowhere (too long, ambiguous, not to be solved); draw again."""


class QueryDrawer:
    """Draws queries of one world. Each query has its own random stream, so any one of them can be drawn alone."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._tools: dict[str, dict[str, list]] = {pool: defaultdict(list) for pool in ("train", "tool", "category")}
        self._stand_ins: dict[tuple, list[WorldApi]] = defaultdict(list)
        seen = {theme.category for theme in SEEN_THEMES}
        for tool in world.tools:
            pool = "category" if tool.category not in seen else "tool" if tool.held_out else "train"
            self._tools[pool][tool.category].append(tool)
            for api in tool.apis:
                self._stand_ins[pool, tool.category, api.meaning].append(api)

    def draw(self, stream: str, kind: str, group: str, pool: str, query_id: int, set_name: str) -> WorldQuery:
        """The query of that random ``stream``: ``kind`` is a goal's, ``group`` G1, G2 or G3, ``pool`` train, tool or category."""
        rng = random.Random(f"{self.world.seed} {stream}")
        broken = kind == "give_up" and rng.random() < 0.4  # the API is there, but never works
        while True:
            try:
                return self._try(rng, kind, broken, group, pool, query_id, set_name)
            except _Unsuitable:
                continue

    def _try(
        self, rng: random.Random, kind: str, broken: bool, group: str, pool: str, query_id: int, set_name: str
    ) -> WorldQuery:
        held_out = set_name in SETS
        scope = self._scope(rng, group, pool)
        forms = (TEST_FORMS if held_out else TRAINING_FORMS)["G1" if group == "G1" else "several"]
        form = rng.choices(("one", "two", "three", "chain"), forms)[0] if kind == "answer" else "one"
        chosen, chained = _choose(rng, scope, group, form)
        wants = self._wants(rng, chosen, chained, held_out, ONE_ENTITY_TYPED if set_name == "typed" else ONE_ENTITY)
        if kind == "give_up" and not broken:
            wants = [self._unanswerable(rng, wants[0], scope)]
        missing: tuple[str, ...] = ()
        if kind == "ask":
            wants[0], missing = _forget(rng, wants[0])
        listed = self._listing(rng, scope, chosen, pool, [want.need.attribute for want in wants], broken)
        if kind == "answer" or broken:
            plan = self._plan(wants, listed)
            if all(_works(step, self.world) for step in plan) != (kind == "answer"):
                raise _Unsuitable
        else:
            plan = tuple(PlanStep(want.need, None, (), {}) for want in wants)
        needs = (
            [Need(wants[1].api.attribute, wants[0].api.kind, wants[0].entity, wants[1].said, via=wants[0].api.attribute)]
            if chained
            else [want.need for want in wants]
        )
        text, template = _asked(rng, needs, set_name)
        if len(text) + sum(_listed_length(api) for api in listed) > MAX_PROMPT_CHARACTERS:
            raise _Unsuitable
        relevant = tuple(dict.fromkeys((call.tool_name, call.api_name) for step in plan for call in step.calls))
        values = tuple(need.entity for need in needs if need.entity) + tuple(
            str(v) for want in wants for v in want.argument.values()
        )
        query = Query(query_id=query_id, query=text, api_list=tuple(api.api for api in listed), relevant_apis=relevant)
        return WorldQuery(query, _goal(kind, plan, chained, missing, values), plan, set_name, template, values)

    def _scope(self, rng: random.Random, group: str, pool: str) -> list[WorldApi]:
        """The APIs a query of that group is about, in random order: of one tool, of some tools of a category, of a collection."""
        if group == "G3":
            tools = rng.choice(self.world.collections)
        else:
            tools = self._tools[pool][rng.choice(sorted(self._tools[pool]))]
            tools = rng.sample(tools, 1 if group == "G1" else 14)
        apis = [api for tool in tools for api in tool.apis]
        return rng.sample(apis, len(apis))

    def _wants(self, rng: random.Random, chosen: list[WorldApi], chained: bool, held_out: bool, one_entity: float) -> list[_Want]:
        wants: list[_Want] = []
        for k, api in enumerate(chosen):
            entity = coin_name(rng, held_out)
            if chained and k:
                first = wants[0].api
                entity = str(self.world.value(first, first.attribute, first.fields[0][1], wants[0].entity))
            elif k and api.kind == wants[-1].api.kind and rng.random() < one_entity:
                entity = wants[-1].entity  # two things about one entity
            argument: dict[str, object] = {}
            said: tuple[str, ...] = ()
            if api.extra and (api.extra_required or rng.random() < 0.5) and not (chained and k == 0):
                value = draw_extra_value(rng, api.extra, held_out)
                if api.maximum is not None and rng.random() < 0.6:
                    value = rng.randint(2, api.maximum)
                argument, said = {api.extra: value}, (said_as(rng, api.extra, value),)
            wants.append(_Want(api, entity, argument, said))
        if chained and wants[0].api.extra_required:
            raise _Unsuitable
        return wants

    def _unanswerable(self, rng: random.Random, want: _Want, scope: list[WorldApi]) -> _Want:
        """A wish that no API in scope grants; one in five differs from an offered one in its modifier only."""
        theme = next(t for t in SEEN_THEMES + UNSEEN_THEMES if t.category == want.api.api.category_name)
        noun = want.api.attribute.split()[-1] if rng.random() < 0.2 else rng.choice(theme.attributes)[0]
        attribute = f"{rng.choice(MODIFIERS)} {noun}" if rng.random() < 0.6 else noun
        if any(attribute == a for api in scope for a, _ in api.fields):
            raise _Unsuitable
        return replace(want, api=replace(want.api, fields=((attribute, "n"),)))

    def _listing(
        self, rng: random.Random, scope: list[WorldApi], chosen: list[WorldApi], pool: str, wanted: list[str], broken: bool
    ) -> list[WorldApi]:
        """The two to five APIs that the model will see: the chosen, stand-ins for some of them, and others that tell something else."""
        listed = list(chosen)
        for api in chosen:
            others = [o for o in self._stand_ins[pool, api.api.category_name, api.meaning] if o.key != api.key]
            needed = api.fault in LASTING_FAULTS and not broken
            if others and (needed or rng.random() < 0.3):
                listed.append(rng.choice(others))
        taken = {a for api in chosen for a, _ in api.fields} | set(wanted)
        size = max(len(listed), rng.choice((2, 3, 3, 4, 4, 5)))
        same_tool = {api.key[0] for api in chosen}
        for api in sorted(scope, key=lambda api: api.key[0] not in same_tool):  # neighbours of the same tool first
            if len(listed) < size and api not in listed and not any(a in taken for a, _ in api.fields):
                listed.append(api)
        if len(listed) < 2:
            raise _Unsuitable
        return rng.sample(listed, len(listed))

    def _plan(self, wants: list[_Want], listed: list[WorldApi]) -> tuple[PlanStep, ...]:
        """For each want its value and every listed API's call that tells it."""
        steps = []
        for want in wants:
            api, argument = want.api, dict(want.argument)
            if api.maximum is not None and api.extra in argument:
                argument[api.extra] = min(argument[api.extra], api.maximum)
            value = self.world.value(api, api.attribute, api.fields[0][1], want.entity, argument.get(api.extra))
            calls = tuple(Call(*o.key, {o.entity_parameter: want.entity} | argument) for o in listed if o.meaning == api.meaning)
            asked = {} if argument == want.argument else want.argument
            steps.append(PlanStep(want.need, value, calls, asked))
        return tuple(steps)


def _asked(rng: random.Random, needs: Sequence[Need], set_name: str) -> tuple[str, str]:
    """(request, template) as a set words it: the test sets in wording held out from training, "typed" as people type, "train" in frames."""
    if set_name == "typed":
        return typed_request(rng, needs)
    return request(rng, needs, HELD_OUT if set_name in SETS else TRAINING)


def _choose(rng: random.Random, scope: list[WorldApi], group: str, form: str) -> tuple[list[WorldApi], bool]:
    """(APIs that a query of that ``form`` needs, whether the second continues the first)."""
    if form == "chain":
        pairs = [(a, b) for a in scope for b in scope if a.fields[0][1] == "p" and b.kind == a.attribute
                 and (a.key != b.key if group == "G1" else a.key[0] != b.key[0])]  # fmt: skip
        if not pairs:
            raise _Unsuitable
        return list(rng.choice(pairs)), True
    chosen: list[WorldApi] = []
    for api in scope:
        new = all(api.attribute not in dict(other.fields) and other.attribute not in dict(api.fields) for other in chosen)
        apart = group == "G1" or all(api.key[0] != other.key[0] for other in chosen)
        if new and apart and len(chosen) < {"one": 1, "two": 2, "three": 3}[form]:
            chosen.append(api)
    if len(chosen) < {"one": 1, "two": 2, "three": 3}[form]:
        raise _Unsuitable
    return chosen, False


def _forget(rng: random.Random, want: _Want) -> tuple[_Want, tuple[str, ...]]:
    """(the want without what its API needs, the names under which that may be asked for)."""
    extra = (str(want.api.extra),) if want.api.extra_required else ()
    if extra and rng.random() < 0.5:
        return replace(want, argument={}, said=()), extra
    return replace(want, entity="", argument={}, said=()), (want.api.kind, want.api.entity_parameter.replace("_", " "), *extra)


def _works(step: PlanStep, world: World) -> bool:
    return any(world.apis[call.tool_name, call.api_name].fault not in LASTING_FAULTS for call in step.calls)


def _listed_length(api: WorldApi) -> int:
    """Characters that a listed API takes in a compact prompt, about."""
    names = [api.api.api_name, api.api.tool_name, api.api.api_description, api.entity_parameter, api.extra or ""]
    return sum(map(len, names)) + 18


def _goal(kind: str, plan: tuple[PlanStep, ...], chained: bool, missing: tuple[str, ...], values: tuple[str, ...]) -> Goal:
    if kind != "answer":
        return Goal(kind, allowed=values, missing=missing)
    facts, allowed = [], list(values)
    for k, step in enumerate(plan):
        items = step.value if isinstance(step.value, list) else [step.value]
        if chained and k == 0:
            allowed += [spoken(item) for item in items]  # the way there; needed for the second call, not in the answer
        else:
            facts += [Fact(spoken(item), step.calls) for item in items]
    return Goal("answer", tuple(facts), tuple(allowed))


@lru_cache(maxsize=2)
def _drawer(world: World) -> QueryDrawer:
    return QueryDrawer(world)


def _kinds(count: int, stream: str, shares: tuple[float, float]) -> list[str]:
    """Goals of ``count`` queries in random order, with exactly the ``shares`` of asking back and giving up."""
    ask, give_up = (round(count * share) for share in shares)
    kinds = ["ask"] * ask + ["give_up"] * give_up + ["answer"] * (count - ask - give_up)
    random.Random(stream).shuffle(kinds)
    return kinds


@lru_cache(maxsize=16)
def test_queries(world: World, set_name: str) -> tuple[WorldQuery, ...]:
    """The test queries of one of ``SETS``: 200, in G3 100, as many as ToolEval judges. Raises WorkbookError for another name."""
    if set_name not in SETS:
        raise WorkbookError(f"set {set_name!r} is not one of {', '.join(SETS)}.")
    group, scope = set_name.split("_")
    pool = "train" if scope == "instruction" else scope
    first = (SETS.index(set_name) + 1) * 10_000
    kinds = _kinds(TEST_QUERIES[set_name], f"{world.seed} {set_name} kinds", TEST_SHARES)
    return tuple(_drawer(world).draw(f"{set_name} {k}", kind, group, pool, first + k, set_name) for k, kind in enumerate(kinds))


@lru_cache(maxsize=4)
def train_queries(world: World, count: int) -> tuple[WorldQuery, ...]:
    """``count`` training queries over the seen tools, written in the training half of the wording. Each thousand has the proportions of
    ``TRAINING_MIX`` and ``TRAINING_SHARES``; the first thousands are the same for every count."""
    return _training_set(world, count, "train", 1_000_000)


@lru_cache(maxsize=4)
def typed_queries(world: World, count: int) -> tuple[WorldQuery, ...]:
    """``count`` other training queries over the same tools in the same proportions, asked as people type (``typed``)."""
    return _training_set(world, count, "typed", 2_000_000)


def _training_set(world: World, count: int, name: str, first: int) -> tuple[WorldQuery, ...]:
    """``count`` queries of the set of that ``name``, numbered from ``first``."""
    queries = []
    for k in range(0, count, 1000):
        groups = random.Random(f"{world.seed} groups {k}").choices(list(TRAINING_MIX), list(TRAINING_MIX.values()), k=1000)
        kinds = _kinds(1000, f"{world.seed} {name} kinds {k}", TRAINING_SHARES)
        drawn = list(zip(kinds, groups, strict=True))[: count - k]
        queries += [
            _drawer(world).draw(f"{name} {k + i}", kind, group, "train", first + k + i, name)
            for i, (kind, group) in enumerate(drawn)
        ]
    return tuple(queries)
