"""A T1-weighted image of drawn tissue: 2 mm fractions become a brain at 1 mm.

The network adds what fractions leave open, from one noise field for the whole head, in windows at
fixed memory. Its labels are then found in the image, by the same rule as those of real heads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.networks.conditioned import ConditionedNetwork
from medical.anatomy.filters import Floats, filled, grown
from medical.anatomy.windows import sample

Paint = Callable[[Floats, "Look", int], Floats]
"""(fractions (3, X, Y, Z) at 1 mm, look, seed) -> (X, Y, Z) intensities, white near 0.75."""

MEAN, SPREAD = 0.4, 0.3
STEPS = 6
MARGIN = 4
PRESENT = 0.1
"""Fraction of tissue from which a voxel may hold brain."""


@dataclass(frozen=True)
class Look:
    """Mean intensities of fluid, gray and white matter, of which one head differs from another."""

    csf: float = 0.235
    gray: float = 0.49
    white: float = 0.745

    @property
    def means(self) -> tuple[float, float, float]:
        """All three."""
        return self.csf, self.gray, self.white


def paint_condition(fractions: Tensor, look: Look, places: Tensor) -> Tensor:
    """What the network sees beside the noise: (7, X, Y, Z).

    Args:
        fractions: (3, X, Y, Z) of fluid, gray, white.
        look: Intensities of the head.
        places: (3, X, Y, Z) where voxels lie in the brain's box, -1 to 1.
    """
    means = fractions.new_tensor(look.means)[:, None, None, None]
    painted = ((fractions * means).sum(0, keepdim=True) - MEAN) / SPREAD
    return torch.cat([fractions, painted, places])


def places_in(shape: tuple[int, ...], low: NDArray[np.int64], high: NDArray[np.int64]) -> Tensor:
    """(3, X, Y, Z) coordinates, -1 at ``low`` and 1 at ``high``."""
    axes = [
        (torch.arange(n, dtype=torch.float32) - float(a)) / float(b - a) * 2 - 1
        for n, a, b in zip(shape, low, high, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).clamp(-1.5, 1.5)


def painter(network: ConditionedNetwork, *, steps: int = STEPS) -> Paint:
    """The network as a function from fractions to an image.

    Args:
        network: Trained to paint.
        steps: Evaluations.
    """

    def paint(fractions: Floats, look: Look, seed: int) -> Floats:
        brain = fractions.sum(0) > PRESENT
        found = np.argwhere(brain)
        low, high = found.min(0), found.max(0)
        box = tuple(
            slice(max(0, int(a) - MARGIN), int(b) + MARGIN + 1)
            for a, b in zip(low, high, strict=True)
        )
        inside = torch.from_numpy(np.ascontiguousarray(fractions[(slice(None), *box)]))
        start = np.array([part.start for part in box])
        shape = tuple(inside.shape[1:])
        places = places_in(shape, low - start, high - start)
        cond = paint_condition(inside, look, places)
        drawn = sample(
            network, cond, inside.sum(0) > PRESENT, seed, steps=steps, channels=1, spacing_mm=1.0
        )[0].numpy()
        image = np.zeros(brain.shape, np.float32)
        image[box] = drawn * SPREAD + MEAN
        kept = filled(grown(brain))
        return np.where(kept, image, 0.0).clip(0.0, None).astype(np.float32)

    return paint
