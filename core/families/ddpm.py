"""DDPM: the network learns the noise, at one of a thousand levels of a variance-preserving path.

x_tau = sqrt(alpha_bar) x + sqrt(1 - alpha_bar) e, with alpha_bar the running product of
1 - beta. The network answers e (Ho et al. 2020, Eq. 14) or, better behaved near pure noise,
v = alpha e - sigma x (Salimans & Ho 2022, Section 4). Betas are linear (Ho et al. 2020,
Section 4) or follow a cosine (Nichol & Dhariwal 2021, Eq. 17). It is shown z = x_tau /
(alpha + sigma), as all networks here are. Walk it with ``core.sampling.stochastic.ancestral``
(DDIM with ``eta=0``, DDPM with 1) down ``levels``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.families.family import OneLevel
from core.refusal import Refusal
from core.sampling.path import (
    Denoise,
    Level,
    answers,
    denoised_from_epsilon,
    denoised_from_vp_velocity,
    vp_level,
)
from core.tensors import Levels, Volumes, align

if TYPE_CHECKING:
    from core.networks.conditioned import ConditionedNetwork

TIMES = 1000


def linear_betas() -> Tensor:
    """(TIMES,) betas from 0.0001 to 0.02, float64."""
    return torch.linspace(1e-4, 0.02, TIMES, dtype=torch.float64)


def cosine_betas() -> Tensor:
    """(TIMES,) betas whose alpha_bar is cos^2, each at most 0.999, float64."""
    place = torch.arange(TIMES + 1, dtype=torch.float64) / TIMES
    bar = torch.cos((place + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - bar[1:] / bar[:-1]).clamp_max(0.999)


BETAS = {"linear": linear_betas, "cosine": cosine_betas}


def ladder(betas: str) -> Tensor:
    """(TIMES,) the levels of the discrete times, rising, on the linear path.

    Raises:
        Refusal: There are no such betas.
    """
    if betas not in BETAS:
        raise Refusal(f"betas={betas!r}: the betas are {' or '.join(BETAS)}; name one of these.")
    return vp_level(torch.cumprod(1 - BETAS[betas](), 0)).t


def levels(steps: int, *, betas: str = "linear", highest: float = 0.999) -> Levels:
    """Evenly spaced times, as levels that fall from at most ``highest`` to 0: (steps + 1,).

    Fewer where the ladder has fewer rungs below ``highest``: above 0.999 a noise prediction says
    nothing about the data, and cosine betas go there.
    """
    if not 1 <= steps <= TIMES:
        raise Refusal(f"steps={steps}: there are {TIMES} times; ask for 1 to {TIMES} steps.")
    rungs = ladder(betas)
    rungs = rungs[rungs <= highest]
    steps = min(steps, len(rungs))
    place = len(rungs) - 1 - (torch.arange(steps) * len(rungs)) // steps
    return torch.cat([rungs[place], rungs.new_zeros(1)])


@dataclass(frozen=True, kw_only=True)
class DDPM(OneLevel):
    """The simple loss over discrete times.

    Attributes:
        betas: ``linear`` or ``cosine``.
    """

    name: ClassVar[str] = "ddpm"

    betas: str = "cosine"

    def levels(self, batch: int, generator: torch.Generator) -> Tensor:
        """(batch,) levels of times that are all equally likely."""
        return ladder(self.betas)[torch.randint(TIMES, (batch,), generator=generator)]

    def target(self, x: Volumes, noise: Volumes, t: Tensor) -> Volumes:
        """The noise."""
        del x, t
        return noise


@dataclass(frozen=True, kw_only=True)
class DDPMVelocity(DDPM):
    """The same, learning v, which says as much at every level."""

    name: ClassVar[str] = "ddpm_v"

    def target(self, x: Volumes, noise: Volumes, t: Tensor) -> Volumes:
        """v = alpha e - sigma x."""
        level = vp_level_at(t)
        return align(level.alpha, x) * noise - align(level.sigma, x) * x


def vp_level_at(t: Tensor) -> Level:
    """The variance-preserving level with the signal-to-noise ratio of ``t``."""
    size = ((1 - t) ** 2 + t**2).sqrt()
    return Level((1 - t) / size, t / size)


def denoiser(network: ConditionedNetwork, cond: Conditioning) -> Denoise:
    """A network that answers with the noise: x_hat = (z - t e) / (1 - t)."""
    answer = answers(network, cond)

    def denoise(z: Volumes, t: Tensor, r: Tensor) -> Volumes:
        return denoised_from_epsilon(z, answer(z, t, t), t)

    return denoise


def velocity_denoiser(network: ConditionedNetwork, cond: Conditioning) -> Denoise:
    """A network that answers with v: x_hat = alpha x_tau - sigma v."""
    answer = answers(network, cond)

    def denoise(z: Volumes, t: Tensor, r: Tensor) -> Volumes:
        return denoised_from_vp_velocity(z, answer(z, t, t), vp_level_at(t))

    return denoise
