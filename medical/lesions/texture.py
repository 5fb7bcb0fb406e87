"""Texture that is drawn like the one that is there: how strong it is, and how fine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medical.lesions.fields import smooth

BLUR = 1.5  # voxels: what differs from such a blur is texture
WIDTHS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0)
DEVIATION = 1.4826  # of normal values, times their median absolute deviation
OF_MEAN = 1.2533  # of normal values, times their mean absolute deviation
FAR = 6.0  # deviations, beyond which a value counts as if it were no farther
FEW = 12  # steps, of which nothing is told
SEED = 5


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
    places = around & known
    rough, step = _measured(image, known, places)
    if step <= 0 or rough <= 0:
        return np.zeros(image.shape)
    white = np.random.default_rng(SEED).standard_normal(image.shape)
    tried = [_measured(_blurred(white, width), known, places) for width in WIDTHS]
    off = [abs(np.log(each[1] / each[0] * rough / step)) for each in tried]
    best = int(np.argmin(off))
    strength = np.sqrt(rough / tried[best][0] * step / tried[best][1])
    return strength * _blurred(random.standard_normal(image.shape), WIDTHS[best])


def _measured(
    image: NDArray[Any], known: NDArray[np.bool_], places: NDArray[np.bool_]
) -> tuple[float, float]:
    """Deviation of some places from a blur, and from a voxel to the next."""
    return _spread(_rough(image, known)[places]), _step(image, places)


def _spread(values: NDArray[np.float64]) -> float:
    """The deviation of texture, whatever edges are among it, as of voxels half in the air."""
    if not values.size:
        return 0.0
    away = values - np.median(values)
    usual = DEVIATION * float(np.median(np.abs(away)))
    if not usual:  # of whole numbers most may be the same
        return float(values.std())
    return OF_MEAN * float(np.abs(away).clip(max=FAR * usual).mean())


def _rough(image: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What differs from the blur of known voxels alone."""
    weight = smooth(known.astype(np.float64), BLUR)
    blurred = smooth(np.where(known, image, 0.0).astype(np.float64), BLUR)
    return image - blurred / np.maximum(weight, 1e-9)


def _step(image: NDArray[Any], known: NDArray[np.bool_]) -> float:
    """The usual deviation from a voxel to the next, of known pairs; 0 where there are few."""
    steps = [
        np.diff(image, axis=axis)[known.take(range(1, n), axis) & known.take(range(n - 1), axis)]
        for axis, n in enumerate(image.shape)
    ]
    found = np.concatenate(steps).astype(np.float64)
    return _spread(found) if found.size >= FEW else 0.0


def _blurred(noise: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    return smooth(noise, width) if width > 0 else noise
