"""Score-based models: the network learns grad log p of the noised data, along an SDE in time.

Two SDEs of Song et al. 2021: variance preserving (Eq. 11, 32 and 33: beta rises from 0.1 to
20) and variance exploding (Eq. 9 and 30: sigma rises geometrically from 0.01 to 50). Errors
are weighed by sigma^2 (Section 3.3), so that the network answers e = -sigma score. Walk it
with ``core.sampling.stochastic.predictor_corrector`` (the reverse SDE) or any ODE sampler (the
probability flow); ``core.sampling.likelihood`` measures along the same flow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.families import ddpm
from core.families.family import OneLevel
from core.refusal import Refusal
from core.sampling.path import Denoise, Level, ve_level, vp_level
from core.tensors import Levels, Volumes

if TYPE_CHECKING:
    from core.networks.conditioned import ConditionedNetwork

BETA = (0.1, 20.0)
SIGMA = (0.01, 50.0)
EARLIEST = 1e-5
"""Times begin here: at 0 the score of data on a surface is infinite. Song et al. 2021, C."""


def preserving(time: Tensor) -> Level:
    """Time in [0, 1] -> level: alpha_bar = exp(-integral of beta)."""
    low, high = BETA
    return vp_level(torch.exp(-(low * time + (high - low) * time**2 / 2)))


def exploding(time: Tensor) -> Level:
    """Time in [0, 1] -> level: alpha 1, sigma geometric."""
    low, high = SIGMA
    return ve_level(low * (high / low) ** time)


SDES: dict[str, Callable[[Tensor], Level]] = {"vp": preserving, "ve": exploding}


def levels(steps: int, *, sde: str = "vp") -> Levels:
    """Evenly spaced times, as levels that fall from the SDE's highest to 0: (steps + 1,)."""
    if steps < 1:
        raise Refusal(f"steps={steps}: a walk needs at least 1 step; 100 is usual.")
    times = torch.linspace(1, EARLIEST, steps, dtype=torch.float64)
    return torch.cat([level_at(sde, times), times.new_zeros(1)])


def level_at(sde: str, times: Tensor) -> Tensor:
    """Times in [0, 1] as levels of the linear path.

    Raises:
        Refusal: There is no such SDE.
    """
    if sde not in SDES:
        raise Refusal(f"sde={sde!r}: the SDEs are {' and '.join(SDES)}; name one of these.")
    return SDES[sde](times).t


@dataclass(frozen=True, kw_only=True)
class ScoreSDE(OneLevel):
    """Denoising score matching over continuous times.

    Attributes:
        sde: ``vp`` or ``ve``.
    """

    name: ClassVar[str] = "score_sde"

    sde: str = "vp"

    def levels(self, batch: int, generator: torch.Generator) -> Tensor:
        """(batch,) levels of times that are all equally likely."""
        chance = torch.rand(batch, generator=generator, dtype=torch.float64)
        return level_at(self.sde, EARLIEST + (1 - EARLIEST) * chance)

    def target(self, x: Volumes, noise: Volumes, t: Tensor) -> Volumes:
        """-sigma times the score of the noise that was added, which is the noise."""
        del x, t
        return noise


def denoiser(network: ConditionedNetwork, cond: Conditioning) -> Denoise:
    """x_hat by Tweedie's formula from the score -e / sigma, as of a network that answers e."""
    return ddpm.denoiser(network, cond)
