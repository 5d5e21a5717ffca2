"""Merged examples train what step rows do: the same loss, summed over supervised tokens, and the same gradient."""

import pytest
import torch
from torch.nn import functional as F

from toolslm_helpers.data.merge import MergedExample, merge_rows, step_rows
from toolslm_helpers.data.records import Message, Trajectory
from toolslm_helpers.model.checkpoints import load_model, new_model
from toolslm_helpers.text.flatten import IGNORED, flatten_all


def conversation(id_: str, *turns: str) -> Trajectory:
    roles = {"s": "system", "u": "user", "a": "assistant", "f": "function"}
    said = [(roles[turn[0]], turn[2:]) for turn in turns]
    messages = tuple(Message(role=role, content=f"\n{text}" if role == "assistant" else text) for role, text in said)
    return Trajectory(id=id_, query="Weather?", functions=(), messages=messages)


START = ("s Use the APIs.", "u Weather in Oslo?")
CALL, OTHER = "a Action: get_weather\nAction Input: {}", "a Action: get_rain\nAction Input: {}"
FAILED, SUNNY, SEARCH = 'f {"error": "no"}', 'f {"error": "", "response": "sun"}', "u This is not the first time."
ROWS = [
    conversation("1", *START, CALL),
    conversation("2", *START, CALL, FAILED, SEARCH, OTHER),
    conversation(
        "3", *START, CALL, FAILED, OTHER, SUNNY, "a Action: Finish\nAction Input: {}"
    ),  # branches: the search's prompt is gone
    conversation("4", *START, OTHER),
    conversation("5", *START, OTHER, SUNNY, "a Action: Finish\nAction Input: {}"),
    conversation("6", *START, CALL),  # the first row once more
]


def loss_and_gradient(model, tokenizer, rows: list[Trajectory] | list[MergedExample]) -> tuple[torch.Tensor, torch.Tensor]:
    """(sum of losses over supervised tokens in nats, its gradient by all parameters, one long vector)."""
    model.zero_grad()
    total = torch.zeros((), dtype=next(model.parameters()).dtype)
    data = flatten_all(rows, tokenizer, supervise="last")
    assert not data.refused
    for example in data.examples:
        ids, labels = (torch.tensor(array, dtype=torch.long)[None] for array in (example.input_ids, example.labels))  # (1, T)
        logits = model(input_ids=ids).logits  # (1, T, V)
        loss = F.cross_entropy(logits[0, :-1], labels[0, 1:], ignore_index=IGNORED, reduction="sum")
        loss.backward()
        total += loss.detach()
    return total, torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def test_the_same_loss_and_gradient_in_float64() -> None:
    from toolslm_helpers.text.tokenizer import train_small_tokenizer

    tokenizer = train_small_tokenizer([message.content for row in ROWS for message in row.messages], 330)
    model = new_model(
        0,
        vocab_size=len(tokenizer),
        hidden_size=16,
        word_embed_proj_dim=8,
        ffn_dim=32,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    model = model.double().eval()  # dropout 0
    examples = merge_rows(ROWS)
    assert len(examples) == 3 and sum(len(e.supervised_turns) for e in examples) == len(ROWS)
    loss, gradient = loss_and_gradient(model, tokenizer, ROWS)
    merged_loss, merged_gradient = loss_and_gradient(model, tokenizer, examples)
    assert abs(loss - merged_loss) < 1e-10
    assert (gradient - merged_gradient).abs().max() < 1e-10
    # The two ways to get it wrong: every turn of every example, or only the last one.
    all_turns = [
        MergedExample(e.trajectory, tuple(k for k, m in enumerate(e.trajectory.messages) if m.role == "assistant"), ())
        for e in examples
    ]
    for wrong in (all_turns, [e.trajectory for e in examples]):
        wrong_loss, wrong_gradient = loss_and_gradient(model, tokenizer, wrong)
        assert abs(loss - wrong_loss) > 1 and (gradient - wrong_gradient).abs().max() > 1e-3


@pytest.fixture(scope="module")
def world_rows() -> tuple[list[Trajectory], list[MergedExample]]:
    from toolslm_helpers.agent.gold import gold_trajectories
    from toolslm_helpers.data.world import build_world

    trajectories = gold_trajectories(build_world(), 3)
    rows = [row for trajectory in trajectories for row in step_rows(trajectory)]
    examples = merge_rows(rows)
    assert len(examples) == len(trajectories) < len(rows)
    return rows, examples


def differences(model, tokenizer, world_rows) -> tuple[float, float]:
    """(of the loss, of the gradient), relative."""
    (loss, gradient), (merged_loss, merged_gradient) = (loss_and_gradient(model, tokenizer, some) for some in world_rows)
    return (abs(loss - merged_loss) / loss).item(), ((gradient - merged_gradient).norm() / gradient.norm()).item()


def test_the_same_of_opt_mini(world_rows) -> None:
    model, tokenizer = load_model("instruct")
    assert differences(model, tokenizer, world_rows)[0] < 1e-5
    assert max(differences(model.double(), tokenizer, world_rows)) < 1e-10
    # In float32 a unit within rounding of 0 may fall on either side of ReLU, and in a trained model one such unit shows in the gradient.
    # Small weights have no such units.
    assert max(differences(new_model(0).eval(), tokenizer, world_rows)) < 1e-5
