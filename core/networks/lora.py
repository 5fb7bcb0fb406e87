"""LoRA: a network's weights changed by few numbers, W + (alpha / r) B A. Hu et al. 2021.

Training learns A and B alone, of every matrix and kernel that is larger than they are; nothing
else of the network changes. What was learned is merged into weights, scaled, and added to what
other runs learned. The files and their checks are in ``core.models.adapters``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from core.seeds import initialized

KINDS = (nn.Linear, nn.Conv2d, nn.Conv3d)
LEFT = "layouts."
"""A network inside that learns from other data, and keeps its weights."""

Taught = TypeVar("Taught", bound=nn.Module)


class Factors(NamedTuple):
    """What is added to one weight: ``share`` B A, in the weight's shape.

    >>> Factors(torch.ones(1, 3), torch.ones(2, 1), 0.5).change().tolist()
    [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]

    Attributes:
        down: A, (r, inputs), and of a kernel (r, inputs, height, width), as peft has them.
        up: B, (outputs, r), and of a kernel (outputs, r, 1, 1).
        share: alpha / r.
    """

    down: Tensor
    up: Tensor
    share: float

    def change(self) -> Tensor:
        """(outputs, inputs), float32."""
        return self.share * (self.up.float().flatten(1) @ self.down.float().flatten(1))


class LowRank(nn.Module):
    """A weight with a change of low rank, which is nothing at first.

    >>> weight = torch.randn(4, 6)
    >>> torch.equal(LowRank(weight, rank=2, alpha=2.0)(weight), weight)
    True

    Args:
        weight: What is changed.
        rank: r.
        alpha: Scale of the change, times r.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        inputs = weight.flatten(1).shape[1]
        self.down = nn.Parameter(weight.new_empty(rank, inputs))
        self.up = nn.Parameter(weight.new_zeros(len(weight), rank))
        self.share = alpha / rank
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight as it is used now."""
        change = self.share * (self.up @ self.down)  # (out, in)
        changed = weight + change.view(weight.shape).to(weight.dtype)
        return changed.contiguous()  # some kernels' gradients must be


def with_lora(network: Taught, rank: int, *, seed: int, alpha: float = 0.0) -> Taught:
    """The network, of which from now on only changes of low rank are learned; changed in place.

    >>> layer = with_lora(nn.Sequential(nn.Linear(8, 8)), 2, seed=0)
    >>> sum(p.numel() for p in layer.parameters() if p.requires_grad)
    32

    Args:
        network: Finished.
        rank: r; weights that are no larger stay as they are.
        seed: Decides the first A; B begins at zero.
        alpha: 0 for r, which leaves the change unscaled.
    """
    network.requires_grad_(False)
    chosen = [
        layer
        for name, layer in network.named_modules()
        if isinstance(layer, KINDS) and not name.startswith(LEFT) and _fits(layer, rank)
    ]

    def build() -> nn.Module:
        for layer in chosen:
            change = LowRank(layer.weight, rank, alpha or float(rank))
            parametrize.register_parametrization(layer, "weight", change)
        return network

    initialized(cast("type", build), seed)
    return network


def _fits(layer: nn.Module, rank: int) -> bool:
    """Whether a change of that rank has fewer numbers than the weight."""
    weight = layer.get_parameter("weight")
    whole = getattr(layer, "groups", 1) == 1
    return whole and rank * (len(weight) + weight.flatten(1).shape[1]) < weight.numel()


def changes(network: nn.Module) -> dict[str, Factors]:
    """What was learned, by the name of the layer; empty of a network without."""
    found = {}
    for name, layer in network.named_modules():
        if parametrize.is_parametrized(layer, "weight"):
            listed = cast("nn.ModuleDict", layer.parametrizations)["weight"]
            (change,) = cast("nn.ModuleList", listed)
            assert isinstance(change, LowRank)
            down, up = (part.detach().float().cpu() for part in (change.down, change.up))
            shape = layer.get_parameter("parametrizations.weight.original").shape
            ones = [1] * (len(shape) - 2)
            down, up = down.view(len(down), *shape[1:]), up.view(*up.shape, *ones)
            found[name] = Factors(down.clone(), up.clone(), change.share)
    return found


@torch.no_grad()
def merge(network: nn.Module, learned: Mapping[str, Factors], scale: float = 1.0) -> None:
    """Add what was learned to the weights, in float32, in place; several add up.

    Args:
        network: With weights of these names and shapes.
        learned: By the name of the layer.
        scale: 1 for all of it, less for less, below 0 for the opposite.
    """
    for name, factors in learned.items():
        weight = network.get_submodule(name).get_parameter("weight")
        change = factors.change().view(weight.shape).to(weight.device)
        weight.copy_((weight.float() + scale * change).to(weight.dtype))


def merged(network: Taught) -> Taught:
    """The network with plain weights again, what was learned among them; changed in place."""
    for layer in list(network.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return network.requires_grad_(True)
