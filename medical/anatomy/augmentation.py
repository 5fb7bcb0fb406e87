"""Random flips, contrast and bias field of training heads: drawn on the CPU, done on the device.

The three intensity changes are MONAI's (Cardoso et al. 2022), drawn by the same numbers in the
same order, so that a run that was begun with its transforms goes on the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from core.operations.linear_operators import AxisOperator
from core.tensors import sent

GAMMA = (0.7, 1.5)
CURVE_POINTS = (4, 8)
BIAS_DEGREE = 2
BIAS_STRENGTH = 0.15
SEEDS = 2**31 - 1


@dataclass(frozen=True)
class Variation:
    """How one patch is varied.

    Attributes:
        flips: Axes that are mirrored.
        gamma: Exponent of the intensities; 1 for none.
        curve: Heights of a monotone intensity curve at even steps from darkest to brightest;
            empty for none.
        bias: Coefficients of a quadratic in the logarithm of the bias field; empty for none.
    """

    flips: tuple[int, ...] = ()
    gamma: float = 1.0
    curve: tuple[float, ...] = ()
    bias: tuple[float, ...] = ()

    def apply(self, x: Tensor) -> Tensor:
        """The patch (D, H, W) float32 varied; background stays near zero."""
        x = x.flip(self.flips) if self.flips else x
        x = _exponentiated(x, self.gamma) if self.gamma != 1.0 else x
        x = _curved(x, self.curve) if self.curve else x
        return x * bias_field(x.shape, self.bias, x.device) if self.bias else x


@dataclass(frozen=True)
class Augmentation:
    """What variations training may draw.

    Attributes:
        flip_share: How often each axis is mirrored.
        gamma_share: How often the gamma changes.
        curve_share: How often intensities follow a random monotone curve.
        bias_share: How often there is a smooth bias field.
    """

    flip_share: float = 0.5
    gamma_share: float = 0.3
    curve_share: float = 0.15
    bias_share: float = 0.15

    def draw(self, generator: torch.Generator) -> Variation:
        """A random variation."""
        u = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
        flips = tuple(axis for axis in range(3) if u[axis] < self.flip_share)
        gamma, curve, bias = 1.0, (), ()
        if u[3] < self.gamma_share:
            gamma = float(_stream(generator).uniform(*GAMMA))
        if u[4] < self.curve_share:
            curve = _draw_curve(_stream(generator))
        if u[5] < self.bias_share:
            strengths = _stream(generator).uniform(-BIAS_STRENGTH, BIAS_STRENGTH, len(_powers()))
            bias = tuple(strengths.tolist())
        return Variation(flips, gamma, curve, bias)


def bias_field(
    shape: Sequence[int], coefficients: tuple[float, ...], device: torch.device
) -> Tensor:
    """The exponential of a polynomial of Legendre's, (D, H, W) (Leemput et al. 1999)."""
    size = BIAS_DEGREE + 1
    grid = torch.zeros(size, size, size)  # one coefficient for each power
    for power, coefficient in zip(_powers(), coefficients, strict=True):
        grid[power] = coefficient
    d, h, w = (_legendre(n) for n in shape)  # (n, degree + 1) each
    return AxisOperator((d, h, w)).apply(sent(grid, device)).exp()


def _exponentiated(x: Tensor, gamma: float) -> Tensor:
    low = x.min()
    span = x.max() - low
    return ((x - low) / (span + 1e-7)) ** gamma * span + low


def _curved(x: Tensor, heights: tuple[float, ...]) -> Tensor:
    """Intensities along a piecewise linear curve from their minimum to their maximum."""
    low, high = x.min(), x.max()
    place = (x - low) * ((len(heights) - 1) / (high - low))  # (D, H, W)
    piece = place.long().clamp(0, len(heights) - 2)
    to = sent(torch.tensor(heights, dtype=x.dtype), x.device)  # (points,)
    curved = to[piece] + (place - piece) * to.diff()[piece]  # (D, H, W)
    # an even patch has no curve
    return torch.where(high > low, curved * (high - low) + low, x)


def _draw_curve(random: np.random.RandomState) -> tuple[float, ...]:
    count = random.randint(CURVE_POINTS[0], CURVE_POINTS[1] + 1)
    heights = np.linspace(0, 1, count)
    for i in range(1, count - 1):
        heights[i] = random.uniform(heights[i - 1], heights[i + 1])
    return tuple(heights.tolist())


def _stream(generator: torch.Generator) -> np.random.RandomState:
    """The numbers MONAI's transform would draw from, after its first one."""
    random = np.random.RandomState(int(torch.randint(SEEDS, (), generator=generator)))
    random.rand()
    return random


@lru_cache(maxsize=1)
def _powers() -> list[tuple[int, int, int]]:
    degrees = range(BIAS_DEGREE + 1)
    return [
        (i, j, k) for i in degrees for j in degrees for k in degrees if i + j + k <= BIAS_DEGREE
    ]


@lru_cache(maxsize=256)
def _legendre(num_voxels: int) -> Tensor:
    """The polynomials at voxels of an axis from -1 to 1: (num_voxels, degree + 1)."""
    places = np.linspace(-1.0, 1.0, num_voxels)  # (num_voxels,)
    return torch.from_numpy(np.polynomial.legendre.legvander(places, BIAS_DEGREE))
