"""Editing by partial noising: a sample is noised up to a level, and walked down from there.

What noise of that level leaves of it stays: Meng et al. 2022 (SDEdit). At strength 1 nothing is
left, and the walk is that of a new sample.
"""

from __future__ import annotations

import torch

from core.refusal import Refusal
from core.sampling.path import Denoise, diffuse
from core.sampling.samplers import OnStep, Walk, ignore
from core.tensors import Levels, Volumes


def partial_levels(levels: Levels, strength: float) -> Levels:
    """The last part of a walk: from its place at ``strength`` down, in as many steps.

    The schedule's shape is kept, as steps are counted along its places: half a strength begins
    in the middle of the walk, wherever its noise is then.

    Args:
        levels: Of the whole walk, falling to 0.
        strength: Share of the walk that is taken, above 0 and at most 1.

    Raises:
        Refusal: The strength is none.
    """
    if not 0 < strength <= 1:
        raise Refusal(
            f"strength={strength}: the share of a walk lies above 0 and at most at 1; 0.6 keeps "
            "where things are and changes what they are."
        )
    steps = len(levels) - 1
    place = (1 - strength) * steps + torch.linspace(0, 1, steps + 1, dtype=levels.dtype) * (
        strength * steps
    )
    below = place.floor().clamp(max=steps - 1).long()
    found = torch.lerp(levels[below], levels[below + 1], place - below)
    found[-1] = 0.0
    return found


def edited(
    denoise: Denoise,
    sample: Volumes,
    noise: Volumes,
    *,
    levels: Levels,
    walk: Walk,
    strength: float,
    on_step: OnStep = ignore,
) -> Volumes:
    """The sample changed towards what the denoiser knows.

    Args:
        denoise: Of the network, told what the sample shall become.
        sample: (B, C, D, H, W), on the device that draws.
        noise: As large.
        levels: Of a whole walk, falling to 0.
        walk: The sampler.
        strength: Share of the walk that is taken, above 0 and at most 1.
        on_step: Told of each step.
    """
    part = partial_levels(levels, strength)
    start = part[0].to(sample.device, sample.dtype)
    return walk(denoise, diffuse(sample, noise, start), part, on_step=on_step)
