"""The agent loop beside the stock paths: the same episodes by ``run_episodes``, and by ``model.generate``, one by one and batched.

    python benchmarks/evaluation.py [episodes a set]

Plays all in this one process, at temperature 0, and prints episodes a second and their ratios; beside the clock's, the processor's
time, which other programs on the machine do not stretch. All must play the same episodes.
``model.generate`` reads the whole conversation again at every turn; ``run_episodes`` keeps what it has read.
Plays the shipped fine-tuned model where there is one, else opt-mini with random weights, one turn a query (its turns never end).
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from toolslm_helpers.agent.episode import Conversation, Episode
from toolslm_helpers.agent.search import ModelAgent, play_episodes
from toolslm_helpers.data.queries import test_queries
from toolslm_helpers.data.world import SETS, build_world
from toolslm_helpers.files import WorkbookError
from toolslm_helpers.model.checkpoints import load_model, new_model
from toolslm_helpers.sizes import get_size
from toolslm_helpers.text.flatten import prompt_ids
from toolslm_helpers.text.tokenizer import load_small_tokenizer


@dataclass(frozen=True)
class Stock:
    """``model.generate`` as an agent: prompts padded on the left, the whole conversation read at every turn."""

    model: torch.nn.Module
    tokenizer: object
    size: object

    def __call__(self, conversations: Sequence[Conversation]) -> list[str | None]:
        limit = min(self.size.max_length, self.model.config.max_position_embeddings)
        prompts = [prompt_ids(conversation.messages, self.tokenizer) for conversation in conversations]
        texts: list[str | None] = [None] * len(prompts)
        # ``max_new_tokens`` is one for the whole batch: a prompt that leaves less room than that goes alone.
        roomy = [i for i, prompt in enumerate(prompts) if len(prompt) + self.size.max_new_tokens <= limit]
        groups = [roomy] * bool(roomy) + [[i] for i, prompt in enumerate(prompts) if i not in roomy and len(prompt) < limit]
        for rows in groups:
            for i, text in zip(rows, self._generate([prompts[i] for i in rows], limit), strict=True):
                texts[i] = text
        return texts

    def _generate(self, prompts: list[list[int]], limit: int) -> list[str]:
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self.tokenizer.pad_token_id)  # (B, T)
        mask = torch.zeros_like(ids)  # (B, T)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        written = self.model.generate(
            ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=min(self.size.max_new_tokens, limit - width),
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        return self.tokenizer.batch_decode(written[:, width:], skip_special_tokens=True)


def main() -> int:
    per_set = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    world, size = build_world(0), replace(get_size("tiny"), temperature=0)
    try:
        (model, tokenizer), which = load_model("sft"), "the shipped sft model"
    except WorkbookError:
        model, tokenizer, which = new_model(0).eval(), load_small_tokenizer(), "opt-mini with random weights"
        size = replace(size, max_iterations=1)
    queries = [query for name in SETS for query in test_queries(world, name)[:per_set]]
    ours, stock = ModelAgent(model, tokenizer, size), Stock(model, tokenizer, size)

    def timed(agent, batch_size: int, count: int | None = None) -> tuple[list[Episode], float, float]:
        clock, processor = time.perf_counter(), time.process_time()
        episodes = play_episodes(agent, world, queries[:count], size.rendering, size.max_iterations, 0, batch_size)
        return episodes, time.perf_counter() - clock, time.process_time() - processor

    for agent in (ours, stock):  # the first call of either pays for allocation and lazy imports
        timed(agent, 64, 2)
    rows = {
        "model.generate, one by one": timed(stock, 1),
        "model.generate, batched": timed(stock, 64),
        "run_episodes": timed(ours, 64),
    }
    episodes, clock, processor = rows["run_episodes"]
    print(f"{which}, {torch.get_num_threads()} threads, {len(queries)} episodes, {sum(len(e.steps) for e in episodes)} turns")
    for name, (_, seconds, busy) in rows.items():
        print(
            f"{name:28} {len(queries) / seconds:7.2f} episodes a second; run_episodes is {seconds / clock:4.1f} times as fast "
            f"({busy / processor:4.1f} by processor time)"
        )
    same = {name: sum(a == b for a, b in zip(played, episodes, strict=True)) for name, (played, _, _) in rows.items()}
    print("same episodes: " + ", ".join(f"{name} {count} of {len(queries)}" for name, count in same.items()))
    return 0 if min(same.values()) == len(queries) else 1


if __name__ == "__main__":
    sys.exit(main())
