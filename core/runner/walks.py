"""Two samplers of ``core.sampling`` in numpy; a ``denoise`` takes (z, t, r) and gives x_hat."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Denoise = Callable[[Floats, float, float], Floats]


def shifted(steps: int, shift: float) -> NDArray[np.float64]:
    """Levels that dwell near noise, as ``core.sampling.schedules.shifted``."""
    place = np.linspace(1, 0, steps + 1)
    return shift * place / (1 + (shift - 1) * place)


def flow_map(denoise: Denoise, z: Floats, levels: NDArray[np.float64]) -> Floats:
    """Jump from level to level; see ``core.sampling.samplers.flow_map``."""
    for t, r in pairwise(levels.astype(np.float32)):
        estimate = denoise(z, float(t), float(r))
        z = z + (r - t) * ((z - estimate) / t)
    return z


def dpmpp_2m(denoise: Denoise, z: Floats, levels: NDArray[np.float64]) -> Floats:
    """Second order from one evaluation a step; see ``core.sampling.samplers.dpmpp_2m``."""
    before: tuple[np.float32, Floats] | None = None
    for t, r in pairwise(levels.astype(np.float32)):
        estimate = denoise(z, float(t), float(t))
        if r == 0:
            z = estimate
        elif t == 1:
            z = z + (r - t) * ((z - estimate) / t)
        else:
            h = np.log((1 - r) / r) - np.log((1 - t) / t)
            target = estimate
            if before is not None:
                target = estimate + (h / before[0]) / 2 * (estimate - before[1])
            z = (r / t) * z - (1 - r) * np.expm1(-h) * target
            before = (h, estimate)
    return z
