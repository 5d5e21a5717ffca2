"""Pass rates in ToolBench's six sets: play every test query, judge every episode, count, and say how sure the count is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolslm_helpers.agent.episode import Episode
from toolslm_helpers.agent.saving import EpisodeLog
from toolslm_helpers.agent.search import Agent, ModelAgent, Offers, Search, play_episodes
from toolslm_helpers.agent.virtual_api import VirtualApi
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.queries import test_queries
from toolslm_helpers.data.world import SETS, World
from toolslm_helpers.evaluation.judges import ExactJudge, Verdict
from toolslm_helpers.evaluation.sharing import share, together
from toolslm_helpers.evaluation.statistics import wilson
from toolslm_helpers.sizes import Size

if TYPE_CHECKING:
    from transformers import OPTForCausalLM, PreTrainedTokenizerFast


@dataclass(frozen=True)
class PassRate:
    """``passed`` of ``n`` queries, with the bounds of the rate's 95% Wilson interval as fractions of 1."""

    passed: int
    n: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        return self.passed / self.n


@dataclass(frozen=True)
class Judged:
    """One query, the episode that was played for it, and the verdict."""

    world_query: WorldQuery
    episode: Episode
    verdict: Verdict


@dataclass(frozen=True)
class Evaluation:
    """Everything that one agent did in the sets it was judged on, in the order of the queries."""

    judged: tuple[Judged, ...]

    @property
    def pass_rates(self) -> dict[str, PassRate]:
        """The pass rate of each set, and of "all" queries together (a query counts the same in every set)."""
        by_set = {name: [j.verdict for j in self.judged if j.world_query.set_name == name] for name in SETS}
        return pass_rates({name: verdicts for name, verdicts in by_set.items() if verdicts})

    def as_json(self) -> dict[str, dict[str, float]]:
        """One model's entry of ``pass_rate`` in results.json: {set: {passed, n, low, high}}."""
        return {name: {"passed": r.passed, "n": r.n, "low": r.low, "high": r.high} for name, r in self.pass_rates.items()}


def pass_rates(verdicts: Mapping[str, Sequence[Verdict]]) -> dict[str, PassRate]:
    """{set: its verdicts} -> {set: its pass rate}, and under "all" that of all verdicts. Raises ValueError for an empty set."""
    counts = {name: (sum(verdict.passed for verdict in of_set), len(of_set)) for name, of_set in verdicts.items()}
    counts["all"] = (sum(passed for passed, _ in counts.values()), sum(n for _, n in counts.values()))
    return {name: PassRate(passed, n, *wilson(passed, n)) for name, (passed, n) in counts.items()}


def evaluate_agent(
    agent: Agent,
    world: World,
    size: Size,
    seed: int,
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    search: Search | None = None,
    log: EpisodeLog | None = None,
    api: VirtualApi | None = None,
    calls_at_once: int = 1,
    queries: Sequence[WorldQuery] | None = None,
) -> Evaluation:
    """Plays ``queries``, or the test queries of all six sets (the first ``size.eval_queries_per_set`` of each), and judges them.

    Any ``Agent`` will do: a model, or one of ``controls.CONTROLS``. The rest is ``play_shared``'s.
    """
    if queries is None:
        queries = [query for name in SETS for query in test_queries(world, name)[: size.eval_queries_per_set]]
    episodes = play_shared(
        agent, world, queries, size, seed, batch_size, on_progress, search=search, log=log, api=api, calls_at_once=calls_at_once
    )
    judge = ExactJudge()
    return Evaluation(tuple(Judged(q, e, judge.judge(q, e)) for q, e in zip(queries, episodes, strict=True)))


def play_shared(
    agent: Agent,
    world: Offers,
    queries: Sequence[WorldQuery],
    size: Size,
    seed: int,
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    search: Search | None = None,
    log: EpisodeLog | None = None,
    api: VirtualApi | None = None,
    calls_at_once: int = 1,
) -> list[Episode]:
    """``play_episodes`` under the limits of ``size``, by as many processes as there are -> every episode, in the order of ``queries``.

    ``on_progress(finished, total)`` counts episodes of this process. ``search`` is one chain of ``size.max_iterations`` unless another is
    given. With a ``log``, episodes in it are not played again and new ones are added. Under ``accelerate launch`` the processes share
    the queries out, and each returns all of the episodes.
    """
    episodes = play_episodes(
        agent, world, share(queries), size.rendering, size.max_iterations, seed, batch_size, on_progress,
        search=search, finished=log.episodes if log else None, on_episode=log.append if log else None,
        api=api, calls_at_once=calls_at_once,
    )  # fmt: skip
    return together(episodes, len(queries))


def evaluate(
    model: "OPTForCausalLM",
    tokenizer: "PreTrainedTokenizerFast",
    world: World,
    size: Size,
    seed: int,
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    search: Search | None = None,
    log: EpisodeLog | None = None,
    queries: Sequence[WorldQuery] | None = None,
) -> Evaluation:
    """``evaluate_agent`` for a language model at the temperature and limits of ``size``."""
    agent = ModelAgent(model, tokenizer, size)
    return evaluate_agent(agent, world, size, seed, batch_size, on_progress, search=search, log=log, queries=queries)
