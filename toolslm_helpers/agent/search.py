"""A model's episodes in the tool world: think, act, read the observation, at most ten times. One chain, no backing off.

``play_episodes`` is the loop and takes any ``Agent``: a function from open conversations to the assistant's next turns.
``ModelAgent`` is a language model, ``evaluation.controls`` has others; all of them meet the same API and the same judge.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from toolslm_helpers.agent.virtual_api import Session, Status, VirtualApi, observation_text
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.names import function_of, standardize
from toolslm_helpers.data.records import Message, Query, Trajectory
from toolslm_helpers.data.world import World
from toolslm_helpers.model.decoding import generate_batch
from toolslm_helpers.sizes import Size
from toolslm_helpers.text.flatten import prompt_ids
from toolslm_helpers.text.protocol import Rendering, parse_action, prompt_messages
from toolslm_helpers.text.shorten import Shortened, shorten

if TYPE_CHECKING:
    from transformers import OPTForCausalLM, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Step:
    """One turn of the assistant and what it brought back. ``code`` is a ``virtual_api.Status``."""

    thought: str
    action: str
    action_input: str
    observation: str
    code: int


Ended = Literal["finish", "iterations", "context"]


@dataclass(frozen=True)
class Episode:
    """One query, played.

    ``ended`` says how: by Finish, by the limit of iterations, or because the context was full. ``return_type`` and
    ``final_answer`` are Finish's arguments: None where the episode did not end by it, and no answer where it gave up.
    """

    query_id: int
    query: str
    steps: tuple[Step, ...]
    ended: Ended
    final_answer: str | None
    return_type: str | None


@dataclass
class Conversation:
    """An open episode: all that an agent may look at when it writes its next turn, and the random stream that is its own."""

    world_query: WorldQuery
    messages: list[Message]
    session: Session
    seed: int
    steps: list[Step] = field(default_factory=list)
    episode: Episode | None = None  # set when it ends
    tools: tuple[tuple[str, str], ...] = ()  # (name, description) of those offered

    @property
    def so_far(self) -> Trajectory:
        """What was said until now, with the functions that may be called."""
        query = self.world_query.query
        functions = tuple(function_of(api) for api in query.api_list)
        messages = tuple(self.messages)
        return Trajectory(id=f"{query.query_id}", query=query.query, functions=functions, messages=messages, tools=self.tools)

    @property
    def turn_seed(self) -> tuple[int, int, int]:
        """Seed of the next turn: another one for each run, query and step, whatever else is played beside it."""
        return self.seed, self.world_query.query.query_id, len(self.steps)

    def end(self, ended: Ended, final_answer: str | None = None, return_type: str | None = None) -> None:
        """Closes the episode."""
        query = self.world_query.query
        self.episode = Episode(query.query_id, query.query, tuple(self.steps), ended, final_answer, return_type)


Agent = Callable[[Sequence[Conversation]], Sequence[str | None]]
"""Writes the assistant's next turn of each conversation; None where there is no room left to write one."""


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
        prompts = [self.prompt(self.shown(conversation)) for conversation in conversations]
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
        """The messages that the model reads: the conversation's, shortened where the size says so and they leave too little room."""
        return self.shortened(conversation).trajectory.messages if self.size.truncation == "shorten" else conversation.messages

    def shortened(self, conversation: Conversation) -> Shortened:
        """The conversation under the policy of training, but for one thing: nobody knows which API will be needed."""
        return shorten(conversation.so_far, self.tokenizer, self.limit - self.room, conversation.seed)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids that the next turn is generated from."""
        return prompt_ids(messages, self.tokenizer)

    def _write(self, conversations: Sequence[Conversation], prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """The new ids of each conversation, given its prompt."""
        return generate_batch(
            self.model,
            prompts,
            self.size.max_new_tokens,
            self.size.temperature,
            [conversation.turn_seed for conversation in conversations],
            self.tokenizer.eos_token_id,
            max_length=self.limit,
        )

    def _text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def opening_messages(world: World, query: Query, rendering: Rendering) -> list[Message]:
    """The system and user turn that every conversation about ``query`` begins with, in training and here."""
    functions = [function_of(api) for api in query.api_list]
    return list(prompt_messages(query.query, functions, rendering, offered_tools(world, query)))


def offered_tools(world: World, query: Query) -> tuple[tuple[str, str], ...]:
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
    conversation.messages += [Message(role="assistant", content=text), Message(role="function", content=observation)]
    if code == Status.FINAL_ANSWER:
        conversation.end("finish", arguments["final_answer"], "give_answer")
    elif code == Status.GAVE_UP:
        conversation.end("finish", None, "give_up_and_restart")


def play_episodes(
    agent: Agent,
    world: World,
    queries: Sequence[WorldQuery],
    rendering: Rendering,
    max_iterations: int,
    seed: int,
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Episode]:
    """Plays every query to its end -> episodes in the order of ``queries``. ``on_progress(finished, total)`` follows each batch.

    All open episodes take their first turn, then all that are left their second, and so on: the batches stay full while episodes
    end, and within an iteration the conversations are sorted by length, so that a batch holds little padding.
    """
    api = VirtualApi(world)
    conversations = [
        Conversation(
            q, opening_messages(world, q.query, rendering), api.session(q.query), seed, tools=offered_tools(world, q.query)
        )
        for q in queries
    ]
    for _ in range(max_iterations):
        still_open = [conversation for conversation in conversations if conversation.episode is None]
        still_open.sort(key=lambda conversation: sum(len(message.content) for message in conversation.messages))
        for start in range(0, len(still_open), batch_size):
            batch = still_open[start : start + batch_size]
            for conversation, text in zip(batch, agent(batch), strict=True):
                if text is None:
                    conversation.end("context")
                else:
                    take_turn(conversation, text)
            if on_progress is not None:
                on_progress(sum(conversation.episode is not None for conversation in conversations), len(conversations))
    for conversation in conversations:
        if conversation.episode is None:
            conversation.end("iterations")
    if on_progress is not None:
        on_progress(len(conversations), len(conversations))
    return [conversation.episode for conversation in conversations]


def run_episodes(
    model: "OPTForCausalLM",
    tokenizer: "PreTrainedTokenizerFast",
    world: World,
    queries: Sequence[WorldQuery],
    size: Size,
    seed: int,
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Episode]:
    """``play_episodes`` with a language model: the rendering, limits and temperature are those of ``size``."""
    agent = ModelAgent(model, tokenizer, size)
    return play_episodes(agent, world, queries, size.rendering, size.max_iterations, seed, batch_size, on_progress)
