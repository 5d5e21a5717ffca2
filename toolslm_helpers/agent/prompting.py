"""Few-shot prompting: solved examples stand before the conversation, and the model goes on in their manner. Nothing is trained.

Examples are gold trajectories of training queries, in the text that fine-tuning shows. A small model has little room for them: short ones
are chosen, each lists only the API that it calls, and where an episode needs the room, the example farthest away goes first.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from toolslm_helpers.agent.episode import Conversation
from toolslm_helpers.agent.gold import gold_trajectory
from toolslm_helpers.agent.search import Agent, ModelAgent, opening_messages
from toolslm_helpers.data.goals import WorldQuery
from toolslm_helpers.data.queries import train_queries
from toolslm_helpers.data.records import Message, Trajectory
from toolslm_helpers.data.world import World
from toolslm_helpers.text.flatten import prompt_ids
from toolslm_helpers.text.protocol import Rendering
from toolslm_helpers.text.tokenizer import load_small_tokenizer

AMONG = 2_000  # training queries from which examples are chosen
SHORTEST = 20  # of those that one call answers
ROOM_FOR_A_TURN = 60  # tokens: 95 of 100 gold turns take no more


def choose_examples(world: World, count: int, seed: int, rendering: Rendering = "compact") -> tuple[Trajectory, ...]:
    """``count`` gold trajectories with one call and one answer, drawn by ``seed`` among the shortest of the first training queries.

    Lengths are in the small tokenizer's tokens, whatever model is prompted: all models are shown the same examples.
    """
    tokenizer = load_small_tokenizer()
    simple = [query for query in train_queries(world, AMONG) if query.goal.kind == "answer" and len(query.plan) == 1]
    trajectories = [gold_trajectory(world, _with_one_api(query), rendering) for query in simple]
    one_call = [trajectory for trajectory in trajectories if [m.role for m in trajectory.messages].count("assistant") == 2]
    one_call.sort(key=lambda trajectory: len(prompt_ids(trajectory.messages, tokenizer)))
    return tuple(random.Random(f"examples {seed}").sample(one_call[:SHORTEST], count))


def _with_one_api(query: WorldQuery) -> WorldQuery:
    """The query with only the first API in its list that answers it."""
    call = query.plan[0].calls[0]
    apis = tuple(api for api in query.query.api_list if (api.tool_name, api.api_name) == (call.tool_name, call.api_name))
    plan = (replace(query.plan[0], calls=(call,)),)
    return replace(query, query=query.query.model_copy(update={"api_list": apis}), plan=plan)


@dataclass(frozen=True)
class FewShotAgent:
    """Shows ``agent`` as many of ``examples`` as fit, always the last of them, and then the conversation.

    ``fits`` says whether messages leave room for a turn; it is asked again at every turn, since the conversation grows.
    """

    agent: Agent
    examples: tuple[Trajectory, ...]
    fits: Callable[[Sequence[Message]], bool]

    def __call__(self, conversations: Sequence[Conversation]) -> Sequence[str | None]:
        # A copy: what the examples say never becomes a part of the episode. What the model has read of both is kept with it.
        shown = [replace(conversation, messages=self.prompt(conversation.messages)) for conversation in conversations]
        turns = self.agent(shown)
        for conversation, copy in zip(conversations, shown, strict=True):
            conversation.memory = copy.memory
        return turns

    def prompt(self, messages: Sequence[Message]) -> list[Message]:
        """The messages of the examples that fit, then ``messages``."""
        return [message for example in self.shown(messages) for message in example.messages] + list(messages)

    def shown(self, messages: Sequence[Message]) -> tuple[Trajectory, ...]:
        """The examples that fit before ``messages``; () where there is room for none."""
        for first in range(len(self.examples)):
            examples = self.examples[first:]
            if self.fits([message for example in examples for message in example.messages] + list(messages)):
                return examples
        return ()


def with_examples(agent: ModelAgent, examples: tuple[Trajectory, ...]) -> FewShotAgent:
    """``agent`` with examples before each conversation, as many as leave ``ROOM_FOR_A_TURN`` before its limit."""

    def fits(messages: Sequence[Message]) -> bool:
        return len(agent.prompt(messages)) + ROOM_FOR_A_TURN <= agent.limit

    return FewShotAgent(agent, examples, fits)


def mean_shown(agent: Agent, world: World, queries: Sequence[WorldQuery], rendering: Rendering) -> float:
    """How many examples stand before the first turn, on average over ``queries``; 0 for an agent without any."""
    if not isinstance(agent, FewShotAgent):
        return 0.0
    counts = [len(agent.shown(opening_messages(world, query.query, rendering))) for query in queries]
    return round(sum(counts) / len(counts), 2)
