"""Texture that is drawn like the one that is there: how strong it is, and how fine."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from medical.lesions.fields import smooth

BLUR = 1.0  # voxels: what differs from such a blur is texture
WIDTHS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0)
DEVIATION = 1.4826  # of normal values, times their median absolute deviation
FEW = 12  # steps, of which nothing is told
SIDE, SEED = 24, 5


def texture_like(
    image: NDArray[np.float32],
    known: NDArray[np.bool_],
    around: NDArray[np.bool_],
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """(X, Y, Z) noise as strong and as fine as the texture of known voxels.

    Args:
        image: (X, Y, Z) intensities.
        known: (X, Y, Z) voxels of the tissue; nothing of the others leaks in.
        around: (X, Y, Z) those of them that are to be alike.
        random: Draws it.
    """
    rough, step = _spread(_rough(image, known)[around & known]), _step(image, around & known)
    width = _width(step, rough)
    return _blurred(random.standard_normal(image.shape), width) * step / _fine(width)[0]


def _spread(values: NDArray[np.float64]) -> float:
    """The deviation of texture, whatever edges are among it, as of voxels half in the air."""
    if not values.size:
        return 0.0
    usual = DEVIATION * float(np.median(np.abs(values - np.median(values))))
    return usual or float(values.std())  # of whole numbers most may be the same


def _rough(image: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What differs from the blur of known voxels alone."""
    weight = smooth(known.astype(np.float64), BLUR)
    blurred = smooth(np.where(known, image, 0.0).astype(np.float64), BLUR)
    return image - blurred / np.maximum(weight, 1e-9)


def _step(image: NDArray[np.float32], known: NDArray[np.bool_]) -> float:
    """The usual deviation from a voxel to the next, of known pairs; 0 where there are few."""
    steps = [
        np.diff(image, axis=axis)[known.take(range(1, n), axis) & known.take(range(n - 1), axis)]
        for axis, n in enumerate(image.shape)
    ]
    found = np.concatenate(steps).astype(np.float64)
    return _spread(found) if found.size >= FEW else 0.0


def _width(step: float, strength: float) -> float:
    """Blur, in voxels, of white noise with such steps for its strength; steps fall with it."""
    if step <= 0 or strength <= 0:
        return 0.0
    ratios = [_fine(width)[0] / _fine(width)[1] for width in WIDTHS]
    return float(np.interp(step / strength, ratios[::-1], WIDTHS[::-1]))


@cache
def _fine(width: float) -> tuple[float, float]:
    """Of white noise of such a blur: the deviation of its steps, and from a blur of its own."""
    noise = _blurred(np.random.default_rng(SEED).standard_normal((SIDE,) * 3), width)
    inner = (slice(4, -4),) * 3
    steps = np.concatenate([np.diff(noise, axis=axis)[inner].ravel() for axis in range(3)])
    return float(steps.std()), float((noise - smooth(noise, BLUR))[inner].std())


def _blurred(noise: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    return smooth(noise, width) if width > 0 else noise
