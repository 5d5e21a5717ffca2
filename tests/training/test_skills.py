"""Skills are counted on whole answers, asked as the stage that taught them asks."""

import math
import random
from types import SimpleNamespace

import pytest
import torch

from toolslm_helpers.data.records import Message, Trajectory
from toolslm_helpers.model.checkpoints import new_model
from toolslm_helpers.text.flatten import flatten
from toolslm_helpers.text.tokenizer import load_small_tokenizer
from toolslm_helpers.training.corpus import dictionary, pretraining_texts, records
from toolslm_helpers.training.skills import SKILLS, answers_of, measure_skills

TOKENIZER = load_small_tokenizer()


class Knows(torch.nn.Module):
    """Predicts every next token of what it reads, or a wrong one at the last token of every answer."""

    config = SimpleNamespace(max_position_embeddings=768)
    device = "cpu"

    def __init__(self, errs: bool) -> None:
        super().__init__()
        self.errs = errs

    def forward(self, input_ids):
        following = torch.cat([input_ids[:, 1:], input_ids[:, :1]], dim=1)  # (1, T)
        if self.errs:
            ends = TOKENIZER("\n", add_special_tokens=False)["input_ids"][0]
            last_of_a_line = torch.cat([following[:, 1:], following[:, :1]], dim=1) == ends
            following = torch.where(last_of_a_line, 0, following)
        return SimpleNamespace(logits=50.0 * torch.nn.functional.one_hot(following, 1000))


def test_spans_are_the_answers():
    rng = random.Random(0)
    for kind in (dictionary, records):
        text = kind(rng)
        for chat in (False, True):
            ids, spans = answers_of(text, TOKENIZER, chat)
            assert [TOKENIZER.decode(ids[a:b]) for a, b in spans] == [answer for _, answer in text.turns]


def test_asked_as_the_stages_do():
    text = dictionary(random.Random(1))
    ids, _ = answers_of(text, TOKENIZER, chat=True)
    messages = [Message(role="system", content=f"Answer the user.\n{text.context}")]
    for question, answer in text.turns:
        messages += [Message(role="user", content=question), Message(role="assistant", content=answer)]
    flat = flatten(Trajectory(id="t", query="", functions=(), messages=tuple(messages)), TOKENIZER)
    assert ids[: len(flat.input_ids)] == flat.input_ids.tolist()
    plain = next(t for t in pretraining_texts("plain") if "Entry: " in t)
    assert TOKENIZER(plain)["input_ids"][0] == answers_of(text, TOKENIZER, chat=False)[0][0]


def test_right_means_every_token():
    known, nearly = (
        measure_skills(Knows(False), TOKENIZER, False, texts=3),
        measure_skills(Knows(True), TOKENIZER, False, texts=3),
    )
    assert known.keys() == nearly.keys() == SKILLS.keys()
    assert all(skill.rate == 1 and skill.answers >= 6 for skill in known.values())
    assert all(skill.rate == 0 for skill in nearly.values())


def test_random_weights_know_nothing():
    model = new_model(0, hidden_size=32, num_attention_heads=4, word_embed_proj_dim=16, ffn_dim=64, num_hidden_layers=1).train()
    skills = measure_skills(model, TOKENIZER, True, texts=2)
    assert model.training
    for skill in skills.values():
        assert skill.right == 0 and skill.nats > 5 * math.log(1000)
    again = measure_skills(model, TOKENIZER, True, texts=2)
    assert again == skills
    assert measure_skills(model, TOKENIZER, True, texts=2, seed="other")["read a record"].nats != pytest.approx(
        skills["read a record"].nats
    )
