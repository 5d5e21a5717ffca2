"""The agent loop beside the stock path: the same episodes by ``generate_batch``, and by ``model.generate`` one prompt at a time.

    python benchmarks/evaluation.py [episodes a set]

Plays both in this one process, at temperature 0, and prints episodes a second and their ratio. Both must play the same episodes.
Plays the shipped fine-tuned model where there is one, else opt-mini with random weights, one turn a query (its turns never end).
"""

import sys
import time
from dataclasses import replace

import torch

from toolslm_helpers.agent.search import Conversation, ModelAgent
from toolslm_helpers.data.world import build_world
from toolslm_helpers.evaluation.tooleval import Evaluation, evaluate_agent
from toolslm_helpers.files import WorkbookError
from toolslm_helpers.model.checkpoints import load_model, new_model
from toolslm_helpers.sizes import get_size
from toolslm_helpers.text.flatten import prompt_ids
from toolslm_helpers.text.tokenizer import load_small_tokenizer


def main() -> int:
    per_set = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    world, size = build_world(0), replace(get_size("tiny"), temperature=0, eval_queries_per_set=per_set)
    try:
        (model, tokenizer), which = load_model("sft"), "the shipped sft model"
    except WorkbookError:
        model, tokenizer, which = new_model(0).eval(), load_small_tokenizer(), "opt-mini with random weights"
        size = replace(size, max_iterations=1)

    def stock(conversations: list[Conversation]) -> list[str | None]:
        texts: list[str | None] = []
        for conversation in conversations:
            prompt = torch.tensor([prompt_ids(conversation.messages, tokenizer)])  # (1, T)
            limit = min(size.max_length, model.config.max_position_embeddings)
            if prompt.shape[1] >= limit:
                texts.append(None)
                continue
            ids = model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                max_new_tokens=min(size.max_new_tokens, limit - prompt.shape[1]),
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
            texts.append(tokenizer.decode(ids[0, prompt.shape[1] :], skip_special_tokens=True))
        return texts

    def timed(agent) -> tuple[Evaluation, float]:
        start = time.perf_counter()
        evaluation = evaluate_agent(agent, world, size, seed=0)
        return evaluation, len(evaluation.judged) / (time.perf_counter() - start)

    ours = ModelAgent(model, tokenizer, size)
    for agent in (ours, stock):  # the first call of either pays for allocation and lazy imports
        evaluate_agent(agent, world, replace(size, eval_queries_per_set=1), seed=0)
    (batched, fast), (one_by_one, slow) = timed(ours), timed(stock)
    same = sum(a.episode == b.episode for a, b in zip(batched.judged, one_by_one.judged, strict=True))
    steps = sum(len(judged.episode.steps) for judged in batched.judged)
    print(f"{which}, {torch.get_num_threads()} threads, {len(batched.judged)} episodes, {steps} turns")
    print(f"model.generate, one by one: {slow:6.2f} episodes a second")
    print(f"run_episodes, batched:      {fast:6.2f} episodes a second   {fast / slow:.1f} times as many")
    print(f"same episode: {same} of {len(batched.judged)}")
    return 0 if same == len(batched.judged) else 1


if __name__ == "__main__":
    sys.exit(main())
