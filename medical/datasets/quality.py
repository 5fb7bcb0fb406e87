"""What is measured of each head before it joins a dataset, and what sends it to quarantine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medical.anatomy.filters import Floats

WHITE_RANGE = (0.6, 1.5)
"""Median of white matter over where it was to be, scanners with a strong bias field included."""
LEAST_CONTRAST = {"T1w": 0.4, "T2w": 0.2, "FLAIR": 0.2}
"""Gray from white matter in spreads of white matter, of a scanner with noise."""
SEAM = 4.0
ENOUGH = 2000
"""Voxels of white matter in a plane, from which a jump across it is no chance."""
SHARP_RANGE = (0.01, 0.4)
TOP = 32767


def measured(
    images: Mapping[str, Floats],
    labels: NDArray[np.uint8],
    affine: NDArray[np.float64],
    white: float,
) -> dict[str, Any]:
    """What a head is like, in numbers.

    Args:
        images: By contrast, (X, Y, Z).
        labels: (X, Y, Z) tissues.
        affine: (4, 4) of the grid.
        white: Intensity that white matter was to have.
    """
    brain = labels > 0
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    counts = np.bincount(labels.ravel(), minlength=4)[1:4]
    inside = max(1, int(counts.sum()))
    return {
        "brain_ml": round(inside * voxel_ml, 1),
        "tissue_share": {str(k + 1): round(int(n) / inside, 4) for k, n in enumerate(counts)},
        "images": {name: _image(image, labels, brain, white) for name, image in images.items()},
    }


def faults(quality: Mapping[str, Any]) -> list[str]:
    """Why a head is no part of the dataset by what was measured; empty if it is."""
    found = []
    for name, image in quality["images"].items():
        low, high = WHITE_RANGE
        if not low <= image["white"] <= high:
            found.append(f"{name}: white matter at {image['white']:.2f}, not {low:g} to {high:g}")
        if image["contrast_to_noise"] < LEAST_CONTRAST[name]:
            found.append(
                f"{name}: gray differs from white matter by {image['contrast_to_noise']:.2f} "
                f"spreads, not {LEAST_CONTRAST[name]:g} or more"
            )
        low, high = SHARP_RANGE
        if not low <= image["sharpness"] <= high:
            found.append(f"{name}: sharpness {image['sharpness']:.3f}, not {low:g} to {high:g}")
        if image["clipped"] > 0.001:
            found.append(f"{name}: {image['clipped']:.2%} of the brain is clipped")
        if image["seam"] > SEAM:
            found.append(
                f"{name}: a plane where intensities jump {image['seam']:.1f} times as much"
            )
    return found


def _image(
    image: Floats, labels: NDArray[np.uint8], brain: NDArray[np.bool_], white: float
) -> dict[str, float]:
    gray, matter = image[labels == 2], image[labels == 3]
    if not len(gray) or not len(matter):
        return {
            "white": 0.0,
            "contrast_to_noise": 0.0,
            "sharpness": 0.0,
            "clipped": 0.0,
            "seam": 1.0,
        }
    middle, spread = float(np.median(matter)), float(matter.std()) + 1e-6
    steps = [float(np.abs(np.diff(image, axis=a))[_both(brain, a)].mean()) for a in range(3)]
    return {
        "white": round(middle / white, 4),
        "contrast_to_noise": round(abs(float(np.median(gray)) - middle) / spread, 3),
        "sharpness": round(float(np.mean(steps)) / max(middle, 1e-6), 4),
        "clipped": round(float((image[brain] >= TOP).mean()), 5),
        "seam": round(_seam(image, labels == 3), 3),
    }


def contrast_to_noise(image: Floats, labels: NDArray[np.uint8]) -> float:
    """Gray from white matter in spreads of white matter."""
    gray, matter = image[labels == 2], image[labels == 3]
    return abs(float(np.median(gray)) - float(np.median(matter))) / (float(matter.std()) + 1e-6)


def _both(mask: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Where a voxel and the next along an axis are in a mask."""
    ahead, behind = [slice(None)] * 3, [slice(None)] * 3
    ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
    return mask[tuple(ahead)] & mask[tuple(behind)]


def _seam(image: Floats, matter: NDArray[np.bool_]) -> float:
    """The largest jump of white matter from plane to plane over that of the planes around it."""
    worst = 1.0
    for axis in range(3):
        rest = tuple(a for a in range(3) if a != axis)
        both = _both(matter, axis)
        jump = np.where(both, np.diff(image, axis=axis), 0.0)
        counts = both.sum(rest)
        energy = np.square(jump).sum(rest) / np.maximum(counts, 1)
        for place in range(3, len(energy) - 3):
            near = [energy[place + k] for k in (-3, -2, -1, 1, 2, 3)]
            if counts[place - 3 : place + 4].min() >= ENOUGH and min(near) > 0:
                worst = max(worst, float(energy[place] / np.median(near)))
    return worst
