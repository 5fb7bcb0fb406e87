"""Samplers that add noise while they walk; all of it from one generator.

Each is a function ``(denoise, z, levels, *, generator, on_step) -> z`` over levels that fall to
exactly 0, as in ``core.sampling.samplers``.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from core.refusal import Refusal
from core.sampling.path import Denoise, epsilon_from_denoised
from core.sampling.samplers import OnStep, checked, heun_step, ignore
from core.tensors import Levels, Volumes


def _noise(like: Volumes, generator: torch.Generator) -> Volumes:
    """Standard normal, made on the generator's device in float32: the same for every dtype."""
    drawn = torch.randn(like.shape, generator=generator, device=generator.device)
    return drawn.to(like.device, like.dtype)


def ancestral(
    denoise: Denoise,
    z: Volumes,
    levels: Levels,
    *,
    generator: torch.Generator,
    eta: float = 1.0,
    on_step: OnStep = ignore,
) -> Volumes:
    """DDPM's walk with ``eta`` 1, DDIM's with 0. Song et al. 2021b (DDIM), Eq. 12 and 16.

    On the variance-preserving path, c = eta sqrt(s_r^2 / s_t^2 (1 - a_t^2 / a_r^2)) of the noise
    is drawn anew and sqrt(s_r^2 - c^2) is kept; with 1 that is the posterior of Ho et al. 2020.
    """
    steps = checked(levels, z)
    for i, (t, r) in enumerate(steps, 1):
        estimate = denoise(z, t, t)
        if r == 0:
            z = estimate
        else:
            kept = epsilon_from_denoised(z, estimate, t)
            (a_t, s_t), (a_r, s_r) = _preserving(t), _preserving(r)
            fresh = eta * (s_r / s_t) * (1 - (a_t / a_r) ** 2).clamp_min(0).sqrt()
            x = a_r * estimate + (s_r**2 - fresh**2).clamp_min(0).sqrt() * kept
            if eta:
                x = x + fresh * _noise(z, generator)
            z = x / (a_r + s_r)
        on_step(i, len(steps), estimate)
    return z


def _preserving(t: Tensor) -> tuple[Tensor, Tensor]:
    """(alpha, sigma) of the variance-preserving path at the level ``t``."""
    size = ((1 - t) ** 2 + t**2).sqrt()
    return (1 - t) / size, t / size


def churned(
    denoise: Denoise,
    z: Volumes,
    levels: Levels,
    *,
    generator: torch.Generator,
    churn: float = 40.0,
    inflation: float = 1.003,
    on_step: OnStep = ignore,
) -> Volumes:
    """Heun's steps, each from a level raised by fresh noise. Karras et al. 2022, Algorithm 2.

    Args:
        denoise: Asked twice a step.
        z: Noise at the first level.
        levels: Falling to 0; at t = 1, where there is nothing but noise, none is added.
        generator: Of the fresh noise.
        churn: S_churn; shared out to the steps, at most sqrt(2) - 1 times sigma at one.
        inflation: S_noise, a little above 1 against a loss of detail.
        on_step: Watches.
    """
    steps = checked(levels, z)
    gamma = min(churn / len(steps), 2**0.5 - 1)
    for i, (t, r) in enumerate(steps, 1):
        high = t
        if gamma and t < 1:
            sigma = t / (1 - t)
            raised = sigma * (1 + gamma)
            more = inflation * (raised**2 - sigma**2).sqrt()
            z = (z / (1 - t) + more * _noise(z, generator)) / (1 + raised)
            high = raised / (1 + raised)
        z, estimate = heun_step(denoise, z, high, r)
        on_step(i, len(steps), estimate)
    return z


def predictor_corrector(
    denoise: Denoise,
    z: Volumes,
    levels: Levels,
    *,
    generator: torch.Generator,
    corrections: int = 1,
    ratio: float = 0.16,
    on_step: OnStep = ignore,
) -> Volumes:
    """The reverse SDE by reverse diffusion, each step mended by Langevin dynamics.

    Song et al. 2021, Algorithms 2 to 5, in sigma = t / (1 - t): both SDEs are the same walk
    there, x_tau / alpha = x + sigma e. Levels begin below 1, where sigma is finite.

    Args:
        denoise: Asked ``1 + corrections`` times a step.
        z: Noise at the first level.
        levels: Falling to 0, as ``core.families.score_sde.levels`` gives them.
        generator: Of the fresh noise.
        corrections: Langevin steps at each level.
        ratio: Of the noise of a Langevin step to its drift, the paper's r.
        on_step: Watches.

    Raises:
        Refusal: The first level is 1.
    """
    steps = checked(levels, z)
    if steps[0][0] == 1:
        raise Refusal(
            "levels[0]=1: the reverse SDE starts where there is some data left in the noise; "
            "take the levels of core.families.score_sde.levels."
        )
    for i, (t, r) in enumerate(steps, 1):
        estimate = denoise(z, t, t)
        if r == 0:
            z = estimate
        else:
            here, there = t / (1 - t), r / (1 - r)
            x, fall = z / (1 - t), here**2 - there**2
            x = x + fall * (estimate - x) / here**2 + fall.sqrt() * _noise(z, generator)
            for _ in range(corrections):
                score = (denoise(x * (1 - r), r, r) - x) / there**2
                fresh = _noise(z, generator)
                step = 2 * (ratio * fresh.norm() / score.norm()) ** 2
                x = x + step * score + (2 * step).sqrt() * fresh
            z = x * (1 - r)
        on_step(i, len(steps), estimate)
    return z


def multistep(
    denoise: Denoise,
    z: Volumes,
    levels: Levels,
    *,
    generator: torch.Generator,
    on_step: OnStep = ignore,
) -> Volumes:
    """Jump to the data, add noise of the next level, jump again. Song et al. 2023, Algorithm 1."""
    steps = checked(levels, z)
    for i, (t, r) in enumerate(steps, 1):
        estimate = denoise(z, t, r)
        z = estimate if r == 0 else (1 - r) * estimate + r * _noise(z, generator)
        on_step(i, len(steps), estimate)
    return z


class Walk(Protocol):
    """A sampler that adds noise."""

    def __call__(
        self,
        denoise: Denoise,
        z: Volumes,
        levels: Levels,
        *,
        generator: torch.Generator,
        on_step: OnStep = ignore,
    ) -> Volumes:
        """From noise to data."""
        ...


class StochasticSampler(NamedTuple):
    """A sampler that adds noise, and its evaluations per step.

    >>> STOCHASTIC["churned"].evaluations
    2
    """

    walk: Walk
    evaluations: int


STOCHASTIC = {
    "ancestral": StochasticSampler(ancestral, 1),
    "churned": StochasticSampler(churned, 2),
    "predictor_corrector": StochasticSampler(predictor_corrector, 2),
    "multistep": StochasticSampler(multistep, 1),
}
