"""A language model as the judge, behind any endpoint that speaks OpenAI's chat protocol. Needs the extra ``[judge]``.

The ``openai`` package sends, waits and tries again: 429, 500, time limits and broken connections back off inside it. What is ours: how many
requests run at once and per minute, what the whole may cost, that a reply which is no verdict is asked again, and that every verdict is on
disk before it counts (``ledger``). A vote that could not be had is counted as missing and said so, never guessed.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolslm_helpers.evaluation.answers import Answer
from toolslm_helpers.evaluation.judge_prompts import compare_messages, judge_messages, response_schema
from toolslm_helpers.evaluation.judging import LABELS, checked, vote_on
from toolslm_helpers.evaluation.ledger import Ledger, Reply
from toolslm_helpers.evaluation.replies import content, read_verdict
from toolslm_helpers.evaluation.votes import Ballot, Vote
from toolslm_helpers.evaluation.winrate import Side
from toolslm_helpers.files import WorkbookError

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class JudgeFailed(WorkbookError):
    """Votes that could not be had. What was had is on disk; the same command asks only for the rest."""


class CeilingReached(JudgeFailed):
    """The next request could cost more than the ceiling allows."""


@dataclass(frozen=True)
class Prices:
    """Dollars for a million tokens in and out, and the most that the whole may cost, earlier runs with the same ledger included."""

    tokens_in: float = 0.0
    tokens_out: float = 0.0
    ceiling: float = float("inf")

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """Dollars for so many tokens."""
        return (self.tokens_in * tokens_in + self.tokens_out * tokens_out) / 1e6


@dataclass(frozen=True)
class OpenAIJudge:
    """Settings of a judge. ``base_url`` None means what the environment says (OPENAI_BASE_URL), the key always comes from there or ``api_key``.

    ``at_once`` requests run together, at most ``per_minute`` begin in a minute. ``structured`` asks for the reply's form by a JSON schema; an
    endpoint that refuses it gets the same request without.
    """

    model: str
    ledger: Path
    base_url: str | None = None
    api_key: str | None = None
    temperature: float = 1.0  # votes of a judge at 0 would all be one vote
    at_once: int = 16
    per_minute: float = float("inf")
    timeout: float = 60.0  # seconds for one request
    retries: int = 8  # of the openai package: time limits, connections, 408, 409, 429, 5xx
    nonsense: int = 3  # times that one question is asked before a reply that is no verdict is given up
    max_tokens: int = 300  # of a reply
    prices: Prices = field(default_factory=Prices)
    structured: bool = True

    def ballots(
        self, answers: Sequence[Answer], votes: int = 4, on_progress: Callable[[int, int], None] | None = None
    ) -> tuple[Ballot, ...]:
        """A ballot on each answer, in their order. ``on_progress(done, total)`` counts votes.

        Raises JudgeFailed after everything else was asked, if some votes could not be had: how many, why, and that the same call goes on.
        """
        return _run(self._ballots(answers, votes, on_progress))

    async def _ballots(
        self, answers: Sequence[Answer], votes: int, on_progress: Callable[[int, int], None] | None
    ) -> tuple[Ballot, ...]:
        async with _Clerk(self) as clerk:
            cast = await clerk.all(
                [lambda a=answer, k=k: _vote(clerk, a, k) for answer in answers for k in range(votes)], on_progress
            )
        return tuple(Ballot(*answer.key, tuple(cast[i * votes : (i + 1) * votes])) for i, answer in enumerate(answers))

    def compare(
        self, pairs: Sequence[tuple[Answer, Answer, bool]], votes: int = 4, on_progress: Callable[[int, int], None] | None = None
    ) -> tuple[tuple[Side, ...], ...]:
        """For each (answer a, answer b, whether both passed): ``votes`` words of which is better. Every second time b is shown first.

        A judge may favour what it reads first; with both orders equally often that cannot favour a system.
        """
        return _run(self._compare(pairs, votes, on_progress))

    async def _compare(
        self, pairs: Sequence[tuple[Answer, Answer, bool]], votes: int, on_progress: Any
    ) -> tuple[tuple[Side, ...], ...]:
        async with _Clerk(self) as clerk:
            said = await clerk.all(
                [lambda p=pair, k=k: _comparison(clerk, *p, k) for pair in pairs for k in range(votes)], on_progress
            )
        return tuple(tuple(said[i * votes : (i + 1) * votes]) for i in range(len(pairs)))


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of ``work``, in a terminal and in a notebook, whose own loop is running already: there it gets a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _vote(clerk: "_Clerk", answer: Answer, vote: int) -> Vote:
    flow, reason = vote_on(answer), ""
    try:
        question = next(flow)
        while True:
            reply = await clerk.ask(judge_messages(question, answer), LABELS[question], vote)
            reason = reply.reason
            question = flow.send(checked(question, reply.label))
    except StopIteration as end:
        return Vote(end.value.label, end.value.task, reason or end.value.reason)


async def _comparison(clerk: "_Clerk", a: Answer, b: Answer, both_passed: bool, vote: int) -> Side:
    swapped = vote % 2 == 1
    shown = (b, a) if swapped else (a, b)
    label = (await clerk.ask(compare_messages(a.query, *shown, both_passed), ("a", "b", "tie"), vote)).label
    return {"a": "b", "b": "a"}.get(label, label) if swapped else label


class _Clerk:
    """Sends one run's questions: so many at once, so many a minute, within the ceiling, each verdict into the ledger."""

    def __init__(self, judge: OpenAIJudge) -> None:
        self.judge, self.ledger = judge, Ledger(judge.ledger)
        self.structured = judge.structured
        self.reserved = 0.0  # dollars that requests on their way may cost
        self.next_start = 0.0
        self.stopped: Exception | None = None

    async def __aenter__(self) -> "_Clerk":
        self.client = _client(self.judge)
        self.ledger.__enter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        self.ledger.__exit__(*error)
        await self.client.close()

    async def all(self, tasks: Sequence[Callable[[], Any]], on_progress: Callable[[int, int], None] | None) -> list[Any]:
        """Runs the tasks, ``at_once`` together -> their results in order. One that fails does not stop the others; a spent budget does."""
        results: list[Any] = [None] * len(tasks)
        waiting, failures, done = iter(range(len(tasks))), [], 0

        async def work() -> None:
            nonlocal done
            for index in waiting:
                if self.stopped is not None:
                    return
                try:
                    results[index] = await tasks[index]()
                except _errors() as error:
                    failures.append(error)
                    if isinstance(error, CeilingReached) or _hopeless(error):
                        self.stopped = error
                        return
                done += 1
                if on_progress is not None:
                    on_progress(done, len(tasks))

        await asyncio.gather(*(work() for _ in range(self.judge.at_once)))
        if failures:
            first = self.stopped or failures[0]
            lacking = sum(result is None for result in results)
            kind = CeilingReached if isinstance(first, CeilingReached) else JudgeFailed
            raise kind(
                f"{lacking} of {len(tasks)} votes could not be had; the first problem: {_in_words(first)} "
                f"Everything that was answered is kept in {self.ledger.path}: the same command asks for the rest only."
            )
        return results

    async def ask(self, messages: list[dict[str, str]], labels: tuple[str, ...], vote: int) -> Reply:
        """The reply to one question, from the ledger or from the endpoint."""
        key = _key(self.judge, messages, vote)
        if key in self.ledger.replies:
            return self.ledger.replies[key]
        text = ""
        for _ in range(self.judge.nonsense):
            text, tokens_in, tokens_out = content(await self._send(messages, labels))
            label, reason = read_verdict(text, labels) or ("", text[:200])
            reply = Reply(key=key, label=label, reason=reason, tokens_in=tokens_in, tokens_out=tokens_out)
            self.ledger.add(reply)
            if label:
                return reply
        raise JudgeFailed(
            f"no verdict in {self.judge.nonsense} replies, the last was {text[:60]!r}; expected one of {', '.join(labels)}."
        )

    async def _send(self, messages: list[dict[str, str]], labels: tuple[str, ...]) -> Any:
        from openai import BadRequestError

        most = self.judge.prices.cost(
            sum(len(m["content"]) for m in messages), self.judge.max_tokens
        )  # a token has at least a character
        spent = self.judge.prices.cost(self.ledger.tokens_in, self.ledger.tokens_out) + self.reserved
        if spent + most > self.judge.prices.ceiling:
            raise CeilingReached(f"the ceiling of ${self.judge.prices.ceiling:.2f} is near (${spent:.4f} spent or on the way).")
        self.reserved += most
        try:
            await self._wait_for_turn()
            arguments: dict[str, Any] = {
                "model": self.judge.model,
                "messages": messages,
                "temperature": self.judge.temperature,
                "max_tokens": self.judge.max_tokens,
            }
            if self.structured:
                try:
                    return await self._create(**arguments, response_format=response_schema(labels))
                except BadRequestError:
                    self.structured = False  # an endpoint without schemas; a request that is wrong otherwise fails again below
            return await self._create(**arguments)
        finally:
            self.reserved -= most

    async def _create(self, **arguments: Any) -> Any:
        """One completion; None for a reply with status 200 that is no JSON, such as a proxy's page: it is no verdict, and asked again."""
        from openai import APIResponseValidationError

        try:
            return await self.client.chat.completions.create(**arguments)
        except (json.JSONDecodeError, UnicodeDecodeError, APIResponseValidationError):
            return None

    async def _wait_for_turn(self) -> None:
        now = time.monotonic()
        start = max(now, self.next_start)
        self.next_start = start + 60 / self.judge.per_minute
        if start > now:
            await asyncio.sleep(start - now)


def _key(judge: OpenAIJudge, messages: list[dict[str, str]], vote: int) -> str:
    asked = json.dumps([judge.model, judge.temperature, messages, vote], ensure_ascii=True)
    return hashlib.sha256(asked.encode("ascii")).hexdigest()


def _client(judge: OpenAIJudge) -> "AsyncOpenAI":
    try:
        from openai import AsyncOpenAI, OpenAIError
    except ModuleNotFoundError as error:
        raise WorkbookError(
            "A language model as judge needs the package openai. Install it: pip install 'toolslm-helpers[judge]'."
        ) from error
    try:
        return AsyncOpenAI(base_url=judge.base_url, api_key=judge.api_key, timeout=judge.timeout, max_retries=judge.retries)
    except OpenAIError as error:
        raise WorkbookError(
            f"The judge {judge.model} has no key ({str(error).splitlines()[0]}) Set OPENAI_API_KEY; a local server takes any text."
        ) from error


def _errors() -> tuple[type[Exception], ...]:
    from openai import OpenAIError

    return (JudgeFailed, OpenAIError, ValueError)


def _hopeless(error: Exception) -> bool:
    """Whether every other request would fail the same way: a wrong key, a model that is not there, a request that is refused."""
    from openai import APIStatusError

    return isinstance(error, APIStatusError) and error.status_code in (400, 401, 403, 404)


def _in_words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, WorkbookError) else f"{type(error).__name__}: {text[:200].removesuffix('.')}."
