"""Muon: its iteration makes matrices orthogonal, its steps go downhill."""

import pytest
import torch

from toolslm_helpers.training.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(2, 16, 16), (1, 32, 8), (3, 8, 32)])
def test_singular_values_end_near_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalize(matrices, iterations=8))
    assert values.shape == (shape[0], min(shape[1:]))
    assert values.min() > 0.6 and values.max() < 1.3


def test_keeps_the_singular_vectors():
    u, _, vt = torch.linalg.svd(torch.randn(8, 8, generator=torch.Generator().manual_seed(1)))
    matrix = u @ torch.diag(torch.linspace(0.5, 2, 8)) @ vt
    cosine = (orthogonalize(matrix[None])[0] * (u @ vt)).sum() / orthogonalize(matrix[None])[0].norm() / (u @ vt).norm()
    assert cosine > 0.97


def test_finds_a_linear_map():
    torch.manual_seed(0)
    target, weight = torch.randn(8, 8), torch.nn.Parameter(torch.zeros(8, 8))
    x = torch.randn(64, 8)
    optimizer = Muon([weight], lr=0.1)
    losses = []
    for step in range(120):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 120)
        loss = ((x @ weight - x @ target) ** 2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]


def test_takes_matrices_only():
    with pytest.raises(ValueError, match="matrices only"):
        Muon([torch.nn.Parameter(torch.zeros(3))], lr=0.1)
