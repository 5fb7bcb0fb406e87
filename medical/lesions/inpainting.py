"""A region painted over: continued smoothly from its border, with the texture around it.

No network takes part: folds of the cortex and vessels are not invented. The smooth part solves
Laplace's equation between the borders, coarse to fine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medical.acquisition.intensity import measure_scale, without_fill
from medical.lesions.fields import boxes_of, parts_of, wider
from medical.lesions.texture import texture_like

ROUNDS = 400
PAD = 6  # voxels around a region that are looked at
SEEDS = 1 << 17
AIR = 0.1  # of the way to the brightest tissue: up to there lies air


def inpaint(
    image: NDArray[np.float32],
    mask: NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    seed: int,
    on_step: Callable[[int, int, Any], None],
) -> NDArray[np.float32]:
    """An image with a region painted over; outside it is the same, bit for bit.

    Args:
        image: (X, Y, Z) intensities.
        mask: (X, Y, Z) where to paint.
        spacing_mm: of the voxels.
        seed: decides the texture.
        on_step: told how many parts of the region are done.
    """
    painted = image.copy()
    low, high = float(image.min()), float(image.max())
    tissue = image > _air(image[~mask])
    parts, count = parts_of(mask)
    random = np.random.default_rng([SEEDS, seed])
    weights = 1 / np.square(np.asarray(spacing_mm))
    for number, found in enumerate(boxes_of(parts), start=1):
        assert found is not None  # parts are numbered without a gap
        box = tuple(
            slice(max(0, part.start - PAD), min(size, part.stop + PAD))
            for part, size in zip(found, image.shape, strict=True)
        )
        inside = parts[box] == number
        around = wider(inside, 3) & ~mask[box]
        known = ~mask[box] & _like_border(tissue[box], wider(inside) & around)
        base = _harmonic(image[box], inside, around, weights)
        texture = texture_like(image[box], known, around, random)
        new = base[inside] + texture[inside]
        painted[box][inside] = new.clip(low, high).astype(np.float32)
        on_step(number, count, None)
    return painted


def _air(values: NDArray[np.float32]) -> float:
    """An intensity between air, its noise included, and tissue."""
    if not values.size or values.min() == values.max():
        return -np.inf
    scale = measure_scale(without_fill(torch.from_numpy(values))[0])
    return scale.low + AIR * (scale.high - scale.low)


def _like_border(tissue: NDArray[np.bool_], border: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tissue where most of a region's border is tissue, else air: the edge between is neither."""
    return tissue if 2 * np.count_nonzero(tissue[border]) >= border.sum() else ~tissue


def _harmonic(
    image: NDArray[np.float32],
    inside: NDArray[np.bool_],
    around: NDArray[np.bool_],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Values that are everywhere the mean of their neighbors, and the image's outside."""
    values = image.astype(np.float64)
    values[inside] = float(image[around].mean()) if around.any() else 0.0
    places = np.nonzero(inside)
    for _ in range(min(ROUNDS, 4 * max(inside.shape) ** 2)):
        total = np.zeros(len(places[0]))
        for axis in range(3):
            for step in (-1, 1):
                at = list(places)
                at[axis] = (at[axis] + step).clip(0, inside.shape[axis] - 1)
                total += weights[axis] * values[tuple(at)]
        values[places] = total / (2 * weights.sum())
    return values
