"""A model's episodes in the tool world: think, act, read the observation, and again until Finish.

``play_episodes`` plays many queries at once and takes any ``Agent``: a function from open conversations to the assistant's next turns.
``ModelAgent`` is a language model, ``evaluation.controls`` and ``agent.endpoint`` have others; all of them meet the same API and the
same judge. Which conversation a query asks about next is its ``Search``: ``single_chain`` here (CoT), ``agent.dfsdt`` backs off.
"""

import re
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from toolslm_helpers.agent.episode import Conversation, Episode, Step
from toolslm_helpers.agent.virtual_api import Status, VirtualApi, observation_text
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.names import function_of, standardize
from toolslm_helpers.data.records import Message, Query
from toolslm_helpers.data.world import World
from toolslm_helpers.model.decoding import continue_batch
from toolslm_helpers.sizes import Size
from toolslm_helpers.text.flatten import prompt_ids
from toolslm_helpers.text.protocol import Rendering, parse_action, prompt_messages
from toolslm_helpers.text.shorten import Shortened, shorten

if TYPE_CHECKING:
    from transformers import OPTForCausalLM, PreTrainedTokenizerFast


Agent = Callable[[Sequence[Conversation]], Sequence[str | None]]
"""Writes the assistant's next turn of each conversation; None where there is no room left to write one."""

Search = Callable[[Conversation], Generator[Conversation, str | None, Episode]]
"""How one query is played: yields the conversation whose next turn is to be written, is sent that turn, and returns the episode."""


@dataclass(frozen=True)
class ModelAgent:
    """A language model as an agent: conversation -> token ids -> sampled ids -> text."""

    model: "OPTForCausalLM"
    tokenizer: "PreTrainedTokenizerFast"
    size: Size

    @property
    def limit(self) -> int:
        """Tokens of prompt and turn together: the positions that the model has and that training has seen."""
        return min(self.size.max_length, self.model.config.max_position_embeddings)

    def __call__(self, conversations: Sequence[Conversation]) -> list[str | None]:
        prompts = [self._fitted(self.prompt(self.shown(conversation))) for conversation in conversations]
        fits = [len(prompt) < self.limit for prompt in prompts]
        written = iter(
            self._write(
                [conversation for conversation, fit in zip(conversations, fits, strict=True) if fit],
                [prompt for prompt, fit in zip(prompts, fits, strict=True) if fit],
            )
        )
        return [self._text(next(written)) if fit else None for fit in fits]

    @property
    def room(self) -> int:
        """Tokens that a prompt leaves for a turn where it can be shortened."""
        return min(self.size.max_new_tokens, self.limit // 4)

    def shown(self, conversation: Conversation) -> Sequence[Message]:
        """The messages that the model reads: the conversation's, shortened where the size says so and they leave no room for a turn."""
        return self.shortened(conversation).trajectory.messages if self.size.truncation == "shorten" else conversation.messages

    def shortened(self, conversation: Conversation) -> Shortened:
        """The conversation under the policy of training, but for one thing: nobody knows which API will be needed."""
        return shorten(conversation.so_far, self.tokenizer, self.limit - self.room, conversation.seed)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids that the next turn is generated from."""
        return prompt_ids(messages, self.tokenizer)

    def _fitted(self, prompt: list[int]) -> list[int]:
        """The prompt, without its beginning where training would cut that off, too."""
        excess = len(prompt) - (self.limit - self.room)
        return prompt if excess <= 0 or self.size.truncation == "refuse" else [prompt[0], *prompt[1 + excess :]]

    def _write(self, conversations: Sequence[Conversation], prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """The new ids of each conversation, given its prompt."""
        return self._continue(conversations, prompts, self.size.max_new_tokens)

    def _continue(
        self,
        conversations: Sequence[Conversation],
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        allowed: Callable[[int, list[int]], Sequence[int] | None] | None = None,
    ) -> list[list[int]]:
        """``continue_batch`` from what was read of each conversation before; what it has read then is kept there."""
        written = continue_batch(
            self.model,
            prompts,
            [conversation.memory for conversation in conversations],
            max_new_tokens,
            self.size.temperature,
            [conversation.turn_seed for conversation in conversations],
            self.tokenizer.eos_token_id,
            max_length=self.limit,
            allowed=allowed,
        )
        for conversation, continuation in zip(conversations, written, strict=True):
            conversation.memory = continuation.memory
        return [continuation.ids for continuation in written]

    def _text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


class Described(Protocol):
    """A tool, as far as a prompt speaks of it."""

    @property
    def description(self) -> str: ...


class Offers(Protocol):
    """What a prompt needs of a world: the tools by their names. The embedded world has them, and ToolBench's files (``evaluation.released``)."""

    @property
    def tools_by_name(self) -> Mapping[str, Described]: ...


def opening_messages(world: Offers, query: Query, rendering: Rendering) -> list[Message]:
    """The system and user turn that every conversation about ``query`` begins with, in training and here."""
    functions = [function_of(api) for api in query.api_list]
    return list(prompt_messages(query.query, functions, rendering, offered_tools(world, query)))


def offered_tools(world: Offers, query: Query) -> tuple[tuple[str, str], ...]:
    """(name, description) of the tools whose APIs ``query`` offers, in the order of its API list."""
    names = dict.fromkeys(api.tool_name for api in query.api_list)
    return tuple((standardize(name), world.tools_by_name[name].description) for name in names)


_NEXT_ROLE = re.compile(r"\n(System|User|Assistant|Function):")


def own_words(text: str) -> str:
    """What of a written turn counts as the assistant's.

    A model that goes on to write the next role does not get to play it: its turn ends there. And it begins with a line break, as
    every turn that it was trained on.
    """
    return "\n" + _NEXT_ROLE.split("\n" + text.removeprefix("\n"), maxsplit=1)[0].removeprefix("\n")


def take_turn(conversation: Conversation, text: str) -> None:
    """Plays one turn: reads the action out of ``text``, calls it, adds both to the conversation; Finish closes the episode."""
    text = own_words(text)
    action = parse_action(text)
    if not action.action:
        observation, code, arguments = observation_text(action.problem or "", ""), Status.UNKNOWN_FUNCTION, {}
    else:
        answer = conversation.session.call(action.action, action.action_input)
        observation, code, arguments = answer.text, answer.code, answer.arguments
    conversation.steps.append(Step(action.thought, action.action, action.action_input, observation, int(code)))
    conversation.turn += 1
    conversation.messages += [Message(role="assistant", content=text), Message(role="function", content=observation)]
    if code == Status.FINAL_ANSWER:
        conversation.end("finish", arguments["final_answer"], "give_answer")
    elif code == Status.GAVE_UP:
        conversation.end("finish", None, "give_up_and_restart")


def single_chain(max_iterations: int) -> Search:
    """One chain (CoT): at most ``max_iterations`` turns, each after the other, and no way back."""

    def search(conversation: Conversation) -> Generator[Conversation, str | None, Episode]:
        for _ in range(max_iterations):
            text = yield conversation
            if text is None:
                conversation.end("context")
            else:
                take_turn(conversation, text)
            if conversation.episode is not None:
                return conversation.episode
        conversation.end("iterations")
        return conversation.episode

    return search


Key = tuple[str, int]  # the set and the number of a query: numbers are unique within a set only


def key_of(world_query: WorldQuery) -> Key:
    """By what name an episode is found again."""
    return world_query.set_name, world_query.query.query_id


def play_episodes(
    agent: Agent,
    world: Offers,
    queries: Sequence[WorldQuery],
    rendering: Rendering,
    max_iterations: int,
    seed: int,
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    search: Search | None = None,
    finished: Mapping[Key, Episode] | None = None,
    on_episode: Callable[[WorldQuery, Episode], None] | None = None,
    api: VirtualApi | None = None,
    calls_at_once: int = 1,
) -> list[Episode]:
    """Plays every query to its end -> episodes in the order of ``queries``. ``on_progress(finished, total)`` follows each batch.

    ``search`` is ``single_chain(max_iterations)`` unless another is given. Queries in ``finished`` were played before: their episodes
    are taken as they are. ``on_episode(query, episode)`` is told each new episode as it ends, so that it can be saved. ``api`` is the
    door to the tools: ``VirtualApi(world)`` unless they are elsewhere (``agent.remote``); then ``calls_at_once`` episodes of a batch
    wait for their answers together.

    At most four batches of queries are open at a time, which bounds the memory that is kept of them. All open ones are asked for one
    turn in every round, those that were never read first, then by length, so that a batch holds little padding; whoever ends makes
    room for the next. What an episode becomes depends on its own seed, not on what is played beside it.
    """
    api, search = api or VirtualApi(world), search or single_chain(max_iterations)
    episodes: dict[int, Episode] = {i: finished[key_of(q)] for i, q in enumerate(queries) if finished and key_of(q) in finished}
    open_searches: list[_Open] = []
    waiting = iter([i for i in range(len(queries)) if i not in episodes])
    while True:
        for number in _take(waiting, 4 * batch_size - len(open_searches)):
            query = queries[number]
            opening, tools = opening_messages(world, query.query, rendering), offered_tools(world, query.query)
            running = search(Conversation(query, opening, api.session(query.query), seed, tools=tools))
            open_searches.append(_Open(number, running, next(running)))
        if not open_searches:
            break
        open_searches.sort(key=lambda one: (one.asked.memory is not None, sum(len(m.content) for m in one.asked.messages)))
        for start_of_batch in range(0, len(open_searches), batch_size):
            batch = open_searches[start_of_batch : start_of_batch + batch_size]
            texts = agent([one.asked for one in batch])
            for one, episode in _go_on(list(zip(batch, texts, strict=True)), calls_at_once):
                if episode is not None:
                    episodes[one.number] = episode
                    if on_episode is not None:
                        on_episode(queries[one.number], episode)
            if on_progress is not None:
                on_progress(len(episodes), len(queries))
        open_searches = [one for one in open_searches if one.number not in episodes]
    if on_progress is not None:
        on_progress(len(queries), len(queries))
    return [episodes[i] for i in range(len(queries))]


@dataclass
class _Open:
    """A search that waits for the turn of ``asked``."""

    number: int
    running: Generator[Conversation, str | None, Episode]
    asked: Conversation

    def go_on(self, text: str | None) -> Episode | None:
        """Hands the turn over; the episode, if that was its last."""
        try:
            self.asked = self.running.send(text)
        except StopIteration as stop:
            return stop.value
        return None


def _go_on(turns: Sequence[tuple[_Open, str | None]], at_once: int) -> Iterator[tuple[_Open, Episode | None]]:
    """Hands each search its turn, ``at_once`` of them at the same time, and gives them back in their order."""
    if at_once == 1:
        yield from ((one, one.go_on(text)) for one, text in turns)
    else:
        with ThreadPoolExecutor(at_once) as pool:
            yield from pool.map(lambda turn: (turn[0], turn[0].go_on(turn[1])), turns)


def _take(numbers: Iterator[int], count: int) -> Collection[int]:
    """The next ``count`` of them, or as many as there are."""
    return [number for _, number in zip(range(count), numbers, strict=False)]


def run_episodes(
    model: "OPTForCausalLM",
    tokenizer: "PreTrainedTokenizerFast",
    world: World,
    queries: Sequence[WorldQuery],
    size: Size,
    seed: int,
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    search: Search | None = None,
) -> list[Episode]:
    """``play_episodes`` with a language model: the rendering, limits and temperature are those of ``size``."""
    agent = ModelAgent(model, tokenizer, size)
    return play_episodes(agent, world, queries, size.rendering, size.max_iterations, seed, batch_size, on_progress, search=search)
