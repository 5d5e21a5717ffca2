"""The paper model is a language model: every number equals torch's, and its weights run in the real architecture."""

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F

from toolslm_helpers.model.opt import OPT
from toolslm_helpers.teaching import byhand
from toolslm_helpers.teaching.byhand import GRADED, RATE, TARGETS, TOKENS, by_hand, opt_config, opt_weights
from toolslm_helpers.teaching.quantities import Paper

PAPER = by_hand()


def tensor(name):
    return torch.tensor([[float(cell) for cell in row] for row in PAPER[name].value], dtype=torch.float64)


def normed(x):
    away = x - x.mean(dim=-1, keepdim=True)
    return away / away.abs().mean(dim=-1, keepdim=True)


def in_torch(project_out):
    """The paper model written once more, with torch's own operations: {name: value}."""
    found = {}
    weights = {name: torch.tensor(getattr(byhand, name), dtype=torch.float64) for name in (
        "EMBEDDING", "POSITIONS", "PROJECT_IN", "QUERY", "KEY", "VALUE", "OUT", "FC1", "FC1_BIAS", "FC2")}  # fmt: skip
    ln2 = torch.tensor(2.0, dtype=torch.float64).log()
    found["embedded"] = F.embedding(torch.tensor(TOKENS), weights["EMBEDDING"])
    found["projected"] = F.linear(found["embedded"], weights["PROJECT_IN"])
    found["placed"] = weights["POSITIONS"][torch.arange(len(TOKENS)) + 2]
    found["x"] = x = found["projected"] + found["placed"]
    q, k, v = (
        F.linear(x, weights[name]).unflatten(-1, (2, 2)).transpose(0, 1) for name in ("QUERY", "KEY", "VALUE")
    )  # (H, T, K)
    scores = q @ k.transpose(-2, -1)
    attention = (scores * ln2).masked_fill(~torch.ones(3, 3).tril().bool(), -torch.inf).softmax(dim=-1)
    mixed = attention @ v
    for head in range(2):
        found |= {f"query {head + 1}": q[head], f"key {head + 1}": k[head], f"value {head + 1}": v[head]}
        found |= {f"scores {head + 1}": scores[head], f"attention {head + 1}": attention[head], f"mixed {head + 1}": mixed[head]}
        found[f"out {head + 1}"] = F.linear(mixed[head], weights["OUT"][:, 2 * head : 2 * head + 2])
    found["added 1"] = x + F.linear(mixed.transpose(0, 1).flatten(-2), weights["OUT"])
    found["normed 1"] = normed(found["added 1"])
    found["hidden"] = F.linear(found["normed 1"], weights["FC1"], weights["FC1_BIAS"])
    found["rectified"] = F.relu(found["hidden"])
    found["forward"] = F.linear(found["rectified"], weights["FC2"])
    found["added 2"] = found["normed 1"] + found["forward"]
    found["normed 2"] = normed(found["added 2"])
    found["output"] = F.linear(found["normed 2"], project_out)
    found["logits"] = F.linear(found["output"], weights["EMBEDDING"])
    found["p"] = (found["logits"] * ln2).softmax(dim=-1)
    found["next"] = found["p"].argmax(dim=-1, keepdim=True).double()
    labels = torch.tensor(TARGETS).where(torch.tensor(GRADED) == 1, -100)
    found["losses"] = F.cross_entropy(found["logits"] * ln2, torch.tensor(TARGETS), reduction="none")[:, None] / ln2
    found["loss"] = (F.cross_entropy(found["logits"] * ln2, labels) / ln2)[None, None]
    return found


def test_every_value_equals_torch():
    project_out = tensor("project_out").requires_grad_()
    before = in_torch(project_out)
    before["logits"].retain_grad()
    before["output"].retain_grad()
    before["loss"].backward()
    torch.optim.SGD([project_out], lr=RATE).step()
    expected = before | {"gradient of logits": before["logits"].grad, "gradient of output": before["output"].grad}
    expected |= {"gradient of project_out": project_out.grad, "project_out after": project_out.detach()}
    expected |= {
        f"{name} after": value for name, value in in_torch(project_out.detach()).items() if f"{name} after" in PAPER.quantities
    }
    for name, value in expected.items():
        torch.testing.assert_close(tensor(name), value.detach(), atol=1e-9, rtol=0, msg=name)
    steps_on_the_way = ("raised", "total", "mean of", "spread of")
    left = [q.name for q in PAPER.quantities.values() if q.operation != "given" and q.name not in expected]
    assert all(name.startswith(steps_on_the_way) for name in left), left
    for head in (1, 2):
        assert torch.equal(tensor(f"raised {head}") / tensor(f"total {head}"), tensor(f"attention {head}"))


def test_it_is_fit_for_paper():
    """Whole numbers or fractions that one can write; and something to see in every part."""
    before_the_step = [q for q in PAPER.quantities.values() if not q.name.endswith(" after")]
    for quantity in before_the_step:
        for cell in (cell for row in quantity.value for cell in row):
            assert isinstance(cell, Fraction) or quantity.name in ("losses", "loss"), (quantity.name, cell)
    for name in (
        "attention 1",
        "attention 2",
        "mixed 1",
        "mixed 2",
        "added 1",
        "normed 1",
        "hidden",
        "added 2",
        "normed 2",
        "logits",
    ):
        assert max(cell.denominator for row in PAPER[name].value for cell in row) <= 12, name
    assert any(cell < 0 for row in PAPER["hidden"].value for cell in row), "ReLU has something to do"
    first, second = PAPER["attention 1"].value[2], PAPER["attention 2"].value[2]
    assert first != second and len(set(first)) > 1 and len(set(second)) > 1, "the heads look at different words"


def test_the_model_learns_and_forgets_nothing_else():
    assert PAPER["loss after"].value[0][0] < PAPER["loss"].value[0][0]
    for row, (target, graded) in enumerate(zip(TARGETS, GRADED, strict=True)):
        if graded:
            assert PAPER["p after"].value[row][target] > PAPER["p"].value[row][target]
        else:
            assert set(PAPER["gradient of logits"].value[row]) == {0}, "the user's word is no homework"


def test_each_part_moves_the_answer():
    """No weight matrix is there for show: set to zero, it changes the logits."""
    for name in ("POSITIONS", "PROJECT_IN", "QUERY", "KEY", "VALUE", "OUT", "FC1", "FC1_BIAS", "FC2"):
        kept = getattr(byhand, name)
        zero = tuple(0 for _ in kept) if isinstance(kept[0], int) else tuple(tuple(0 for _ in row) for row in kept)
        if name == "PROJECT_IN":
            zero = tuple((1, 1) for _ in kept)  # zeros would leave rows of equal numbers, which no norm can divide
        try:
            setattr(byhand, name, zero)
            by_hand.cache_clear()
            try:
                changed = by_hand()["logits"].value != PAPER["logits"].value
            except ZeroDivisionError:
                changed = True
        finally:
            setattr(byhand, name, kept)
            by_hand.cache_clear()
        assert changed, name


def test_the_weights_run_in_the_real_architecture():
    config = opt_config()
    model = OPT.from_transformers(config, opt_weights()).double()
    ids = torch.tensor([TOKENS])
    torch.testing.assert_close(model.embed(ids)[0], tensor("x"), atol=1e-12, rtol=0)
    layer = model.layers[0]
    torch.testing.assert_close(layer.fc1(tensor("normed 1")), tensor("hidden"), atol=1e-12, rtol=0)
    torch.testing.assert_close(layer.fc2(tensor("rectified")), tensor("forward"), atol=1e-12, rtol=0)
    assert model(ids).shape == (1, 3, 6)


def test_a_name_stands_for_one_quantity():
    with pytest.raises(ValueError, match="'x' is there already"):
        p = Paper()
        p.given("x", "(1, 1)", "", [[1]])
        p.given("x", "(1, 1)", "", [[1]])
