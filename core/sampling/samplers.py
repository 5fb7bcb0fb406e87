"""Samplers: ways of walking a noisy volume down a list of noise levels.

A sampler is a function ``(denoise, z, levels, *, on_step) -> z`` over levels falling to
exactly 0. To add one, write the function, add it to ``SAMPLERS`` with its order, and stop:
``tests/core/sampling/test_sampling.py`` checks that order on a case solved by hand.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from core.refusal import Refusal
from core.sampling.path import Denoise, velocity_from_denoised
from core.tensors import Levels, Volumes

OnStep = Callable[[int, int, Volumes], None]
"""Called after each step with (steps done, steps in all, the current estimate of the data)."""

Walk = Callable[..., Volumes]
"""A sampler of this file, or what stands in its place: (denoise, z, levels, *, on_step) -> z."""


def ignore(done: int, total: int, estimate: Volumes) -> None:
    """Nobody watches."""


def checked(levels: Levels, z: Volumes) -> list[tuple[Tensor, Tensor]]:
    """Pairs of neighboring levels, as 0-d tensors in the dtype and on the device of ``z``.

    Raises:
        Refusal: They do not fall from at most 1 to exactly 0.
    """
    falls = len(levels) > 1 and bool((levels.diff() < 0).all())
    if not falls or levels[0] > 1 or levels[-1] != 0:
        shown = [round(float(v), 4) for v in levels[:8]]
        raise Refusal(
            f"levels={shown} of {len(levels)}: a sampler walks down from at most 1 "
            "to exactly 0; give falling levels that end in 0, as core.sampling.schedules does."
        )
    return list(pairwise(levels.to(z.device, z.dtype)))


def flow_map(denoise: Denoise, z: Volumes, levels: Levels, *, on_step: OnStep = ignore) -> Volumes:
    """Jump from level to level along the average velocity. Geng et al. 2025, Eq. 12.

    Exact in one step where the average velocities are. With a network that knows instantaneous
    velocities alone, this is ``euler``, bit for bit.
    """
    steps = checked(levels, z)
    for i, (t, r) in enumerate(steps, 1):
        estimate = denoise(z, t, r)
        z = (z - estimate).div_(t).mul_(r - t).add_(z)  # along the velocity, in one array more
        on_step(i, len(steps), estimate)
        del estimate  # not held while the next one is made
    return z


def euler(denoise: Denoise, z: Volumes, levels: Levels, *, on_step: OnStep = ignore) -> Volumes:
    """First order: follow the velocity at the start of each step; DDIM with eta = 0."""
    steps = checked(levels, z)
    for i, (t, r) in enumerate(steps, 1):
        estimate = denoise(z, t, t)
        z = z + (r - t) * velocity_from_denoised(z, estimate, t)
        on_step(i, len(steps), estimate)
    return z


def heun(denoise: Denoise, z: Volumes, levels: Levels, *, on_step: OnStep = ignore) -> Volumes:
    """Second order: average the velocities at both ends. Karras et al. 2022, Algorithm 1."""
    steps = checked(levels, z)
    for i, (t, r) in enumerate(steps, 1):
        z, estimate = heun_step(denoise, z, t, r)
        on_step(i, len(steps), estimate)
    return z


def heun_step(denoise: Denoise, z: Volumes, t: Tensor, r: Tensor) -> tuple[Volumes, Volumes]:
    """One step of ``heun`` from ``t`` to ``r``: where it leads, and the estimate at ``t``."""
    estimate = denoise(z, t, t)
    start = velocity_from_denoised(z, estimate, t)
    guess = z + (r - t) * start
    if r > 0:
        end = velocity_from_denoised(guess, denoise(guess, r, r), r)
        guess = z + (r - t) * (start + end) / 2
    return guess, estimate


def dpmpp_2m(denoise: Denoise, z: Volumes, levels: Levels, *, on_step: OnStep = ignore) -> Volumes:
    """Second order from one evaluation a step. Lu et al. 2022 (DPM-Solver++), Algorithm 2.

    With lambda = log((1 - t) / t), z_r = (r / t) z + (1 - r) (1 - e^-h) D for a step h in
    lambda. The first step (lambda is infinite at t = 1) and the last are first order.
    """
    steps = checked(levels, z)
    before: tuple[Tensor, Tensor] | None = None  # (h of the last step, its estimate)
    for i, (t, r) in enumerate(steps, 1):
        estimate = denoise(z, t, t)
        if r == 0:
            z = estimate
        elif t == 1:
            z = z + (r - t) * velocity_from_denoised(z, estimate, t)
        else:
            h = torch.log((1 - r) / r) - torch.log((1 - t) / t)
            target = estimate
            if before is not None:
                target = estimate + (h / before[0]) / 2 * (estimate - before[1])
            z = (r / t) * z - (1 - r) * torch.expm1(-h) * target
            before = (h, estimate)
        on_step(i, len(steps), estimate)
    return z


class Sampler(NamedTuple):
    """A sampler, the order its error falls with, and its evaluations per step.

    >>> SAMPLERS["heun"].order, SAMPLERS["heun"].evaluations
    (2, 2)
    """

    walk: Walk
    order: int
    evaluations: int


SAMPLERS = {
    "flow_map": Sampler(flow_map, 1, 1),
    "euler": Sampler(euler, 1, 1),
    "heun": Sampler(heun, 2, 2),
    "dpmpp_2m": Sampler(dpmpp_2m, 2, 1),
}
