"""EDM: a network whose inputs, answers and errors have unit size at every level.

D(x; sigma) = c_skip x + c_out F(c_in x), Karras et al. 2022, Eq. 7 and Table 1, here in terms
of the linear path (sigma = t / (1 - t)), where all three stay finite at t = 1. Errors of F
weigh the same at every level (Eq. 8); sigma is log-normal. Walk it with ``heun`` or
``core.sampling.stochastic.churned`` down ``karras`` levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.families.family import OneLevel
from core.sampling.path import Denoise, answers, diffuse
from core.tensors import Volumes, align

if TYPE_CHECKING:
    from core.networks.conditioned import ConditionedNetwork

DATA_STD = 0.5
"""Spread of the data that the sizes are meant for: clips and scans in [-1, 1] are near it."""


class Sizes(NamedTuple):
    """F is shown ``shown`` z, and D = ``skip`` z + ``out`` F."""

    shown: Tensor
    skip: Tensor
    out: Tensor


def sizes(t: Tensor) -> Sizes:
    """The scales at level ``t``, each of its shape."""
    unit = (t**2 + DATA_STD**2 * (1 - t) ** 2).rsqrt()  # 1 / spread of z
    return Sizes(unit, DATA_STD**2 * (1 - t) * unit**2, t * DATA_STD * unit)


@dataclass(frozen=True, kw_only=True)
class EDM(OneLevel):
    """The error of F at log-normal noise levels.

    Attributes:
        log_mean: Mean of log(sigma).
        log_std: Standard deviation of log(sigma).
    """

    name: ClassVar[str] = "edm"

    log_mean: float = -1.2
    log_std: float = 1.2

    def levels(self, batch: int, generator: torch.Generator) -> Tensor:
        """(batch,) levels t with logit(t) = log(sigma) normal."""
        return torch.sigmoid(
            torch.randn(batch, generator=generator) * self.log_std + self.log_mean
        )

    def shown(self, z: Volumes, t: Tensor) -> Volumes:
        """z at unit size."""
        return align(sizes(t).shown, z) * z

    def target(self, x: Volumes, noise: Volumes, t: Tensor) -> Volumes:
        """F = (x - c_skip z) / c_out."""
        scale = sizes(t)
        return (x - align(scale.skip, x) * diffuse(x, noise, t)) / align(scale.out, x)


def denoiser(network: ConditionedNetwork, cond: Conditioning) -> Denoise:
    """D of a network that answers F."""
    answer = answers(network, cond)

    def denoise(z: Volumes, t: Tensor, r: Tensor) -> Volumes:
        scale = sizes(t)
        found = answer(align(scale.shown, z) * z, t, t)
        return align(scale.skip, z) * z + align(scale.out, z) * found

    return denoise
