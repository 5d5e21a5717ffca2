"""A language model that can write nothing but well-formed calls: what of a pass rate is format, and what is more than that?

The model's probabilities stay its own; at every token only those pieces may be sampled that keep the turn well formed. Whatever the model
knows, its turns then parse, name an offered function and give its arguments their types. Which function and which values is left to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from toolslm_helpers.agent.episode import Conversation
from toolslm_helpers.agent.search import ModelAgent
from toolslm_helpers.data.names import function_of
from toolslm_helpers.text.grammar import Constraint, Pieces, longest, turn_form


@dataclass(frozen=True)
class ConstrainedAgent(ModelAgent):
    """A ``ModelAgent`` whose turns are well formed.

    A turn is as long as its form allows (``size.max_new_tokens`` could cut it off before its end). Only the end of the context still can.
    """

    @cached_property
    def pieces(self) -> Pieces:
        return Pieces(self.tokenizer)

    def _write(self, conversations: Sequence[Conversation], prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        queries = [conversation.world_query.query for conversation in conversations]
        forms = [turn_form([function_of(api) for api in query.api_list]) for query in queries]
        constraints = [Constraint(form, self.pieces) for form in forms]
        longest_turn = max(map(longest, forms), default=0) + 1  # a token is a character or more; one more for the end token
        return self._continue(conversations, prompts, longest_turn, lambda row, written: constraints[row](written))
