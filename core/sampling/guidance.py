"""Guidance: functions that take ``Denoise`` functions and return one."""

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.sampling.path import Denoise
from core.tensors import Volumes, align


def guided(
    conditional: Denoise,
    unconditional: Denoise,
    scale: float | Tensor,
    *,
    interval: tuple[float, float] = (0.0, 1.0),
) -> Denoise:
    """Classifier-free guidance on the denoised sample. Ho & Salimans 2022, Eq. 6.

    Args:
        conditional: Knows the prompt.
        unconditional: Does not.
        scale: 1 is the conditional alone; larger follows the prompt more strictly. One for all,
            or (B,) for a scale of each row's own.
        interval: Levels (low, high) guidance acts in; outside, only the conditional is
            evaluated. Kynkaanniemi et al. 2024.
    """
    if not isinstance(scale, Tensor) and scale == 1:
        return conditional
    low, high = interval
    everywhere = low <= 0 and high >= 1  # then nobody waits for a GPU to tell the level

    def denoise(z: Volumes, t: torch.Tensor, r: torch.Tensor) -> Volumes:
        with_prompt = conditional(z, t, r)
        if not (everywhere or low <= float(t.max()) <= high):
            return with_prompt
        without = unconditional(z, t, r)
        weight = align(scale, z) if isinstance(scale, Tensor) else scale
        return without + weight * (with_prompt - without)

    return denoise


def with_and_without(cond: Conditioning) -> Conditioning:
    """Every row twice, first told its prompt and then not: what ``guided_at_once`` asks with."""
    assert cond.tokens is not None
    everyone = torch.ones(len(cond.tokens), dtype=torch.bool, device=cond.tokens.device)
    return cond.told(everyone).stack(cond.told(~everyone))


def guided_at_once(asked: Denoise, scale: float | Tensor) -> Denoise:
    """`guided` by a prompt, with and without it asked as one batch: fewer calls, more memory.

    For small samples, whose time goes to the calls and not to the arithmetic.

    Args:
        asked: Answers twice as many rows, conditioned on ``with_and_without``.
        scale: As that of `guided`.
    """

    def both(z: Volumes, t: torch.Tensor, r: torch.Tensor) -> Volumes:
        with_prompt, without = asked(torch.cat([z, z]), t, r).chunk(2)
        weight = align(scale, z) if isinstance(scale, Tensor) else scale
        return without + weight * (with_prompt - without)

    return both


def clamped(denoise: Denoise, low: float, high: float) -> Denoise:
    """Keep the estimate inside the data's range, as Saharia et al. 2022 (static thresholding)."""

    def inner(z: Volumes, t: torch.Tensor, r: torch.Tensor) -> Volumes:
        return denoise(z, t, r).clamp(low, high)

    return inner


def inpainting(denoise: Denoise, known: Volumes, mask: Volumes) -> Denoise:
    """Hold the estimate to ``known`` where ``mask`` is 1; exact there in the final sample."""

    def inner(z: Volumes, t: torch.Tensor, r: torch.Tensor) -> Volumes:
        return torch.lerp(denoise(z, t, r), known, mask)

    return inner
