"""What a model can do before it ever sees a tool: the answers of fresh texts that it would give, letter for letter."""

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolslm_helpers.training.corpus import chains, dictionary, forms, needs_listed, records

if TYPE_CHECKING:
    from transformers import OPTForCausalLM, PreTrainedTokenizerFast

    from toolslm_helpers.training.corpus import Text

SKILLS = {
    "look up an entry": dictionary,
    "fill in a form": forms,
    "read a record": records,
    "follow a chain": chains,
    "list the needs": needs_listed,
}


@dataclass(frozen=True)
class Skill:
    """``right`` of ``answers`` are predicted whole: each token is the most likely one after the true tokens before it."""

    answers: int
    right: int
    nats: float  # mean negative log probability of a whole answer

    @property
    def rate(self) -> float:
        return self.right / self.answers


def answers_of(text: "Text", tokenizer: "PreTrainedTokenizerFast", chat: bool) -> tuple[list[int], list[tuple[int, int]]]:
    """(ids of the text, [start, end) of each answer in them); as pre-training writes it, or in the roles of a ``chat``."""
    ids, spans = list(tokenizer("")["input_ids"]), []

    def add(part: str) -> None:
        ids.extend(tokenizer(part, add_special_tokens=False)["input_ids"])

    if chat or text.context:
        add(f"System: Answer the user.\n{text.context}\n" if chat else f"{text.context}\n")
    for question, answer in text.turns:
        add(f"User: {question}\nAssistant: " if chat else f"{question}\n")
        start = len(ids)
        add(answer)
        spans.append((start, len(ids)))
        add("</s>\n" if chat else "\n")
    return ids, spans


def measure_skills(
    model: "OPTForCausalLM", tokenizer: "PreTrainedTokenizerFast", chat: bool, texts: int = 40, seed: str = "skills"
) -> dict[str, Skill]:
    """{skill: how many answers of ``texts`` fresh texts the model would give}. ``chat`` asks as instruction tuning does.

    An answer whose end lies beyond the model's positions does not count.
    """
    import torch

    was_training = model.training
    model.eval()
    found = {}
    for name, kind in SKILLS.items():
        rng = random.Random(f"{seed} {name}")
        answers = right = 0
        nats = 0.0
        for _ in range(texts):
            ids, spans = answers_of(kind(rng), tokenizer, chat)
            ids = ids[: model.config.max_position_embeddings]
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([ids], device=model.device)).logits[0, :-1].cpu()  # (T - 1, V)
            targets = torch.tensor(ids[1:])  # (T - 1)
            losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
            hits = logits.argmax(-1) == targets
            for start, end in spans:
                if end <= len(ids):
                    answers += 1
                    right += bool(hits[start - 1 : end - 1].all())
                    nats += losses[start - 1 : end - 1].sum().item()
        found[name] = Skill(answers, right, nats / max(1, answers))
    model.train(was_training)
    return found
