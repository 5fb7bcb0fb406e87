"""Muon for matrices and kernels, AdamW for the rest, in one optimizer."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from core.training.plan import Plan


def orthogonalize(matrix: Tensor, iterations: int = 5) -> Tensor:
    """The nearest half-orthogonal matrix, roughly, by a quintic Newton-Schulz iteration.

    Singular values end between about 0.7 and 1.2, which is all the optimizer needs; the products
    run in bfloat16. Jordan et al. 2024 (Muon).

    Args:
        matrix: (M, N).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal for the weights inside, AdamW for the others.

    The update of a matrix is scaled to AdamW's usual size (0.2 root mean square, Liu et al.
    2025), so that one learning rate serves both. Convolution kernels count as matrices
    (out, in * kernel).

    >>> matrix, vector = torch.nn.Parameter(torch.eye(2)), torch.nn.Parameter(torch.ones(2))
    >>> optimizer = Muon([matrix], [vector], lr=0.1)
    >>> (matrix @ vector).sum().backward()
    >>> _ = optimizer.step()
    >>> bool((vector < 1).all())
    True

    Args:
        inner: Weights of at least two axes inside the network.
        outer: Vectors, embeddings, first and last layers.
        lr: Learning rate of both.
        momentum: Of the inner weights, Nesterov's form.
        betas: Of AdamW.
        weight_decay: Decoupled, on the inner weights.
    """

    def __init__(
        self,
        inner: Iterable[Tensor],
        outer: Iterable[Tensor],
        *,
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.01,
    ) -> None:
        groups = [
            {"params": list(inner), "orthogonal": True, "weight_decay": weight_decay},
            {"params": list(outer), "orthogonal": False, "weight_decay": 0.0},
        ]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "betas": betas})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every weight that has a gradient."""
        assert closure is None, "this optimizer evaluates no closure"
        for group in self.param_groups:
            update = self._inner_update if group["orthogonal"] else self._outer_update
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update(weight, weight.grad, group), alpha=-group["lr"])

    def _inner_update(self, weight: Tensor, grad: Tensor, group: dict) -> Tensor:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        mean = state["momentum"].lerp_(grad, 1 - group["momentum"])
        ahead = grad.lerp(mean, group["momentum"]).flatten(1)
        size = 0.2 * max(ahead.shape) ** 0.5
        return size * orthogonalize(ahead).view_as(weight)

    def _outer_update(self, weight: Tensor, grad: Tensor, group: dict) -> Tensor:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["mean"] = torch.zeros_like(weight)
            state["square"] = torch.zeros_like(weight)
        first, second = group["betas"]
        state["step"] += 1
        mean = state["mean"].lerp_(grad, 1 - first)
        square = state["square"].lerp_(grad.square(), 1 - second)
        step = float(state["step"])
        scale = (square / (1 - second**step)).sqrt_().add_(1e-8)
        return mean / (1 - first**step) / scale


EDGES = ("stem.", "sketch.", "given.", "head.", "control.stem.", "reference.encoder.stem.")
"""First and last layers of a network."""


def muon(network: nn.Module, *, lr: float, weight_decay: float = 0.01) -> Muon:
    """Muon over a network's inner weights; stems, head and embeddings go to AdamW."""
    inner, outer = [], []
    for name, weight in network.named_parameters():
        edge = name.startswith(EDGES) or "embedding" in name or "null" in name
        (outer if weight.ndim < 2 or edge else inner).append(weight)
    return Muon(inner, outer, lr=lr, weight_decay=weight_decay)


def _adamw(network: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """AdamW with b2 = 0.95; no decay on vectors."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": plan.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.95))


def _muon(network: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """Muon inside, AdamW at the edges."""
    return muon(network, lr=plan.learning_rate, weight_decay=plan.weight_decay)


OPTIMIZERS = {"muon": _muon, "adamw": _adamw}
"""By the name a plan gives them."""
