"""How lesions look in each contrast: put into an image, and taken out of it again.

Means of a lesion as a share of the white matter around it, measured on two people with multiple
sclerosis (Lesjak et al. 2017): T1 0.72 and 0.84, T2 1.41 and 1.81, FLAIR 1.31 and 1.38. From its
border to its middle a lesion turns into what it is (``change``). Nothing outside the mask is
touched.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from medical.lesions.change import change_within
from medical.lesions.fields import boxes_of, depth, parts_of, smooth, wider
from medical.lesions.texture import texture_like
from medical.lesions.white import nearby

RATIOS: Mapping[str, tuple[float, float]] = {
    "T1w": (0.72, 0.84),
    "T2w": (1.41, 1.81),
    "FLAIR": (1.31, 1.38),
}
RING_MM = 3.0
FAR = 0.02  # share of white matter nearby, below which its average counts for more
EVEN = 0.5  # of what differs from the surroundings goes where a lesion is full
LESIONS = 1 << 16  # seeds of lesions do not meet those of the head


def draw_ratio(contrast: str, seed: int) -> float:
    """What lesions of one head have on average in a contrast, of the white matter around them."""
    low, high = RATIOS[contrast]
    position = list(RATIOS).index(contrast)
    return float(np.random.default_rng([LESIONS, seed, position]).uniform(low, high))


def insert(
    image: NDArray[np.float32],
    lesions: NDArray[np.uint16],
    contrast: str,
    spacing_mm: tuple[float, float, float],
    seed: int,
) -> NDArray[np.float32]:
    """An image with lesions; outside them it is the same, bit for bit.

    Args:
        image: (X, Y, Z) intensities.
        lesions: (X, Y, Z) number of the lesion at each voxel, 0 for none.
        contrast: ``T1w``, ``T2w`` or ``FLAIR``.
        spacing_mm: Of the voxels.
        seed: Decides brightness and texture.
    """
    changed = image.copy()
    ratio = draw_ratio(contrast, seed)
    change = change_within(lesions, contrast, spacing_mm, [LESIONS, seed, len(RATIOS)])
    pad = np.ceil((RING_MM + 1) / np.asarray(spacing_mm)).astype(int)
    for number, found in enumerate(boxes_of(lesions), start=1):
        if found is not None:
            box = _wider(found, pad, image.shape)
            inside = lesions[box] == number
            around = _around(image[box], inside, lesions[box] > 0, spacing_mm)
            own = change[number]
            even = image[box][inside] + EVEN * own.clip(max=1) * (around - image[box][inside])
            changed[box][inside] = even + (ratio - 1) * around * own
    return changed.clip(min=0.0) if float(image.min()) >= 0 else changed


def fill(
    image: NDArray[np.float32],
    mask: NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    seed: int,
) -> NDArray[np.float32]:
    """An image whose lesions look like the white matter around them; the rest is untouched.

    The values are those of the white matter within 3 mm, with a texture as strong and about as
    fine, in the manner of lesion filling for volumetry (Chard et al. 2010).

    Args:
        image: (X, Y, Z) intensities.
        mask: (X, Y, Z) where lesions are.
        spacing_mm: Of the voxels.
        seed: Decides the texture.
    """
    filled = image.copy()
    parts, _ = parts_of(mask)
    random = np.random.default_rng([LESIONS, seed, len(RATIOS) + 1])
    pad = np.ceil((RING_MM + 1) / np.asarray(spacing_mm)).astype(int)
    around = nearby(image, ~mask)
    for number, found in enumerate(boxes_of(parts), start=1):
        assert found is not None  # parts are numbered without a gap
        box = _wider(found, pad, image.shape)
        inside = parts[box] == number
        ring = _ring(inside, mask[box], spacing_mm)
        if not ring.any():  # of voxels over 3 mm wide: those that touch it
            ring = wider(inside) & ~mask[box]
        values = image[box][ring]
        values = values[values > 0] if (values > 0).any() else image[box][~mask[box]]
        if len(values) == 0:
            continue
        bright = ring & (image[box] > 0)
        white = around.white(box, bright if bright.any() else ring)
        near = _continued(image[box], white, np.asarray(spacing_mm))
        new = near + texture_like(image[box], white, white, random)
        filled[box][inside] = new[inside].clip(float(values.min()), float(values.max()))
    return filled


def _continued(
    image: NDArray[np.float32], white: NDArray[np.bool_], spacing_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """White matter as it is nearby; far from all of it, as it is on average."""
    weight = smooth(white.astype(np.float64), RING_MM / spacing_mm)
    known = smooth(np.where(white, image, 0.0).astype(np.float64), RING_MM / spacing_mm)
    return (known + FAR * _mean(image[white])) / (weight + FAR)


def _around(
    image: NDArray[np.float32],
    inside: NDArray[np.bool_],
    lesions: NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
) -> float:
    """The mean of what surrounds a lesion; of the lesion itself where nothing does."""
    ring = _ring(inside, lesions, spacing_mm)
    return _mean(image[ring] if ring.any() else image[inside])


def _ring(
    inside: NDArray[np.bool_], lesions: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    away = depth(~inside, spacing_mm)
    return (away <= RING_MM) & (away > 0) & ~lesions


def _mean(values: NDArray[np.float32]) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _wider(
    box: tuple[slice, ...], pad: NDArray[np.int64], shape: tuple[int, ...]
) -> tuple[slice, ...]:
    return tuple(
        slice(max(0, part.start - int(n)), min(size, part.stop + int(n)))
        for part, n, size in zip(box, pad, shape, strict=True)
    )
