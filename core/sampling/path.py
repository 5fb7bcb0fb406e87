"""The linear noise path, and the exact way from it to every other convention.

Data x and noise e meet at z = (1 - t) x + t e, with velocity v = e - x; t = 0 is data and
t = 1 is noise. A network answers u(z, t, r), the average velocity from t down to r.

========================  =================================================
here                      elsewhere, for x_tau = alpha x + sigma e
========================  =================================================
t                         sigma / (alpha + sigma)
z                         x_tau / (alpha + sigma)
x_hat = z - t v           EDM and VE denoiser D(x_tau; sigma), x0-prediction
e_hat = z + (1 - t) v     DDPM epsilon
alpha e_hat - sigma x_hat VP v-prediction
-e_hat / sigma            score
z - t u(z, t, 0)          consistency function f(x_tau, sigma)
========================  =================================================

Sources: Lipman et al. 2023 (flow matching), Liu et al. 2023 (rectified flow), Ho et al. 2020
(epsilon), Salimans & Ho 2022 (v), Song et al. 2021 (score), Karras et al. 2022 (EDM),
Geng et al. 2025 (average velocity).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.refusal import Refusal
from core.tensors import Volumes, align

if TYPE_CHECKING:
    from core.networks.conditioned import ConditionedNetwork

Denoise = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(z, t, r) -> x_hat: where the straight line along u(z, t, r) meets t = 0.

With r = t it is the posterior mean E[x | z]; with r < t the line of the average velocity,
which is what a few-step sampler follows.
"""


def diffuse(x: Volumes, noise: Volumes, t: Tensor) -> Volumes:
    """z at level ``t``: (1 - t) x + t e."""
    t = align(t, x)
    return (1 - t) * x + t * noise


Answer = Callable[[Volumes, Tensor, Tensor], Volumes]
"""(z, t, r) -> what the network says of it; what that means is its family's."""


def answers(network: ConditionedNetwork, cond: Conditioning) -> Answer:
    """The network with one prompt, which is read once and kept over all steps.

    The walk stays in the dtype of ``z`` (float32 or wider) while the network runs in its own.
    """
    memories: dict[int, object] = {}

    def answer(z: Volumes, t: Tensor, r: Tensor) -> Volumes:
        if len(z) not in memories:
            memories[len(z)] = network.read(cond, len(z))
        return network(z, t, r, cond, memory=memories[len(z)])

    return answer


class Level(NamedTuple):
    """A point of the Gaussian path x_tau = alpha x + sigma e.

    >>> Level(alpha=torch.tensor(0.6), sigma=torch.tensor(0.2)).t
    tensor(0.2500)
    """

    alpha: Tensor
    sigma: Tensor

    @property
    def t(self) -> Tensor:
        """The same signal-to-noise ratio on the linear path."""
        return self.sigma / (self.alpha + self.sigma)


def vp_level(alpha_bar: Tensor) -> Level:
    """DDPM's variance-preserving level: alpha = sqrt(alpha_bar). Ho et al. 2020, Eq. 4."""
    return Level(alpha_bar.sqrt(), (1 - alpha_bar).sqrt())


def ve_level(sigma: Tensor) -> Level:
    """EDM's variance-exploding level: alpha = 1. Karras et al. 2022, Table 1."""
    return Level(torch.ones_like(sigma), sigma)


def to_linear(x_tau: Volumes, level: Level) -> Volumes:
    """x_tau on its own path -> z on the linear path."""
    return x_tau / align(level.alpha + level.sigma, x_tau)


def from_linear(z: Volumes, level: Level) -> Volumes:
    """z on the linear path -> x_tau on its own path."""
    return z * align(level.alpha + level.sigma, z)


def velocity_from_denoised(z: Volumes, denoised: Volumes, t: Tensor) -> Volumes:
    """v = (z - x_hat) / t."""
    return (z - denoised) / align(t, z)


def epsilon_from_denoised(z: Volumes, denoised: Volumes, t: Tensor) -> Volumes:
    """e_hat = (z - (1 - t) x_hat) / t."""
    t = align(t, z)
    return (z - (1 - t) * denoised) / t


def denoised_from_epsilon(z: Volumes, epsilon: Volumes, t: Tensor) -> Volumes:
    """x_hat = (z - t e_hat) / (1 - t); blows up towards t = 1, which is refused."""
    if bool((t > 0.999).any()):
        raise Refusal(
            f"t={float(t.max()):.4f}: a noise prediction says nothing about the data at t = 1; "
            "start an epsilon-trained network at t <= 0.999."
        )
    t = align(t, z)
    return (z - t * epsilon) / (1 - t)


def vp_velocity_from_denoised(z: Volumes, denoised: Volumes, level: Level) -> Volumes:
    """alpha e_hat - sigma x_hat. Salimans & Ho 2022, Section 4."""
    epsilon = epsilon_from_denoised(z, denoised, level.t)
    return align(level.alpha, z) * epsilon - align(level.sigma, z) * denoised


def denoised_from_vp_velocity(z: Volumes, v: Volumes, level: Level) -> Volumes:
    """x_hat = alpha x_tau - sigma v, for alpha^2 + sigma^2 = 1. Salimans & Ho 2022."""
    return align(level.alpha, z) * from_linear(z, level) - align(level.sigma, z) * v


def score_from_denoised(z: Volumes, denoised: Volumes, level: Level) -> Volumes:
    """grad log p(x_tau) = -e_hat / sigma. Song et al. 2021, Section 2."""
    return -epsilon_from_denoised(z, denoised, level.t) / align(level.sigma, z)


def denoised_from_score(z: Volumes, score: Volumes, level: Level) -> Volumes:
    """x_hat = (x_tau + sigma^2 score) / alpha (Tweedie)."""
    x_tau, sigma = from_linear(z, level), align(level.sigma, z)
    return (x_tau + sigma**2 * score) / align(level.alpha, z)


def edm_denoiser(denoise: Denoise) -> Callable[[Volumes, Tensor], Volumes]:
    """D(x; sigma) of Karras et al. 2022 from a ``Denoise``: what EDM and VE samplers ask for."""

    def denoise_edm(x: Volumes, sigma: Tensor) -> Volumes:
        level = ve_level(sigma)
        return denoise(to_linear(x, level), level.t, level.t)

    return denoise_edm
