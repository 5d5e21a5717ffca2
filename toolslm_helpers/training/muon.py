"""Muon for the layers' matrices, in float32: PyTorch's own works in bfloat16, which a laptop's CPU only emulates.

Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024): momentum, then the nearest orthogonal matrix by a
Newton-Schulz iteration, so that every direction of a weight matrix learns at the same pace.
"""

import torch

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, from the source above


def orthogonalize(matrices: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """The (nearly) nearest orthogonal matrices. matrices (N, rows, columns) -> the same shape; singular values end near 1."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon over matrices only. ``lr`` is the spectral norm of an update (for a tall matrix times the root of rows by columns),
    ``momentum`` Nesterov's."""

    def __init__(self, params, lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})
        if any(p.ndim != 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("Muon takes matrices only; give vectors and embeddings to AdamW")

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[torch.nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(p.shape, []).append(p)
            for shape, params in by_shape.items():  # one batched iteration for all matrices of a shape
                updates = []
                for p in params:
                    buffer = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                    buffer.lerp_(p.grad, 1 - group["momentum"])
                    updates.append(p.grad.lerp(buffer, group["momentum"]))
                scale = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for p, update in zip(params, orthogonalize(torch.stack(updates)), strict=True):
                    p.add_(update, alpha=-scale)
