"""A model behind an OpenAI-compatible endpoint as an agent: the same loop, the same API, the same judge as for a model on this machine.

Needs the package openai. The conversation goes out as ``agent.chat`` writes it for chat models, since such a model was not trained on the
protocol; of what comes back, everything up to the end of its first call counts.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from toolslm_helpers.agent.chat import chat_messages, until_first_call
from toolslm_helpers.agent.episode import Conversation
from toolslm_helpers.files import WorkbookError

if TYPE_CHECKING:
    from openai import OpenAI


@dataclass
class EndpointAgent:
    """An ``Agent``: every conversation of a batch is asked for at the same time, at most ``at_once`` of them.

    Errors that pass (429, 500, a broken connection) are tried again by the client, with growing pauses, ``retries`` times. ``read`` and
    ``written`` count the tokens that the endpoint says it has been paid for.
    """

    base_url: str
    model: str
    api_key: str = "none"
    temperature: float = 0.1
    max_tokens: int = 512
    at_once: int = 16
    retries: int = 5
    timeout: float = 60.0  # seconds, of one try
    read: int = field(default=0, init=False)
    written: int = field(default=0, init=False)
    _client: "OpenAI | None" = field(default=None, init=False, repr=False)

    def __call__(self, conversations: Sequence[Conversation]) -> list[str | None]:
        """The next turns. None, no room left, where the endpoint says that the conversation is too long.

        Raises WorkbookError for what does not pass: a wrong address, key or model.
        """
        with ThreadPoolExecutor(self.at_once) as pool:
            replies = list(pool.map(self._write, conversations))
        self.read += sum(read for _, read, _ in replies)
        self.written += sum(written for _, _, written in replies)
        return [text for text, _, _ in replies]

    def _write(self, conversation: Conversation) -> tuple[str | None, int, int]:
        import openai

        try:
            reply = self._connected().chat.completions.create(
                model=self.model,
                messages=chat_messages(conversation.messages),
                temperature=self.temperature,
                max_tokens=self.max_tokens,
                seed=hash(conversation.turn_seed) % 2**31,
            )
        except openai.BadRequestError as error:
            if "context" in str(error).lower() or "too long" in str(error).lower():
                return None, 0, 0
            raise WorkbookError(
                f"{self.base_url}: the endpoint refuses the request ({error}). Check the model's name."
            ) from error
        except openai.OpenAIError as error:
            raise WorkbookError(
                f"{self.base_url}: no answer from {self.model} after {self.retries + 1} tries ({type(error).__name__}: {error}). "
                "Check address, key and model; saved episodes are kept, the same command continues."
            ) from error
        text = reply.choices[0].message.content or "" if reply.choices else ""
        usage = reply.usage
        return until_first_call(text), usage.prompt_tokens if usage else 0, usage.completion_tokens if usage else 0

    def _connected(self) -> "OpenAI":
        if self._client is None:
            from openai import OpenAI

            self._client = OpenAI(base_url=self.base_url, api_key=self.api_key, max_retries=self.retries, timeout=self.timeout)
        return self._client
