"""Schedules: which noise levels a sampler visits, falling from 1 to exactly 0."""

import torch
from torch import Tensor

from core.refusal import Refusal
from core.tensors import Levels


def _check(steps: int) -> None:
    if steps < 1:
        raise Refusal(f"steps={steps}: a walk needs at least 1 step; 4 is usual.")


def linear(steps: int) -> Levels:
    """Evenly spaced levels, (steps + 1,), float64."""
    _check(steps)
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64)


def shifted(steps: int, *, shift: float = 3.0) -> Levels:
    """Levels that dwell near noise where ``shift`` > 1. Esser et al. 2024, Eq. 23."""
    return shifted_level(linear(steps), shift)


def shifted_level(place: Tensor, shift: float) -> Tensor:
    """Place on the shifted schedule, 1 where it begins and 0 where it ends -> noise level."""
    return shift * place / (1 + (shift - 1) * place)


def shifted_place(level: Tensor, shift: float) -> Tensor:
    """The mirror of ``shifted_level``."""
    return level / (shift - (shift - 1) * level)


def karras(steps: int, *, low: float = 0.002, high: float = 80.0, rho: float = 7.0) -> Levels:
    """Karras et al. 2022, Eq. 5, carried over to the linear path by t = sigma / (1 + sigma).

    Args:
        steps: Number of steps; the result has ``steps + 1`` levels.
        low: Smallest sigma before 0, in units of the data's standard deviation.
        high: Largest sigma; the first level is moved to exactly 1.
        rho: 1 spaces the sigmas evenly; larger crowds them towards ``low``.
    """
    if steps < 2:
        raise Refusal(f"steps={steps}: this schedule needs at least 2 steps; 18 is usual.")
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    sigmas = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    levels = torch.cat([sigmas / (1 + sigmas), sigmas.new_zeros(1)])
    levels[0] = 1.0
    return levels


SCHEDULES = {"linear": linear, "shifted": shifted, "karras": karras}
