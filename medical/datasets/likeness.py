"""How like real heads a drawn one is, for its record, and what sends it to quarantine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medical.anatomy.filters import Floats
from medical.datasets.quality import contrast_to_noise
from medical.datasets.realism import (
    PATCH,
    PATCHES,
    Numbers,
    dataset_told_apart,
    intensities,
    intensity_distance,
    patch_features,
    real_heads,
    regional_distance,
    regions,
    told_apart,
)

Facts = dict[str, Any]
MOST_TOLD_APART = 0.93
"""Real heads against the others: .41 to .75; four drawn ones: .75 to .86; class means: .98."""
MOST_INTENSITY_DISTANCE = 0.06
"""Real heads against the others: .003 to .041; four drawn ones: .009 to .014."""
CONTRAST_RANGE = (2.0, 5.2)
"""Real heads: 3.0 to 4.0; four drawn ones: 4.0 to 4.4; class means: 5.3."""
FEWEST_FOR_REGIONS = 4
UNMEASURED = (
    f"T1w: gray or white matter lacks, or fewer than {PATCHES} patches of {PATCH} mm are brain "
    "without lesions, so nobody can tell how like real heads it is"
)


def likeness(
    image: Floats, labels: NDArray[np.uint8], lesions: NDArray[np.uint8], seed: int
) -> Facts | None:
    """What is measured of a T1-weighted image at 1 mm; None where it holds too little brain.

    Args:
        image: (X, Y, Z).
        labels: (X, Y, Z) tissues.
        lesions: (X, Y, Z) 1 where patches are not to be taken.
        seed: Of the places of patches.
    """
    white = image[labels == 3]
    if not len(white) or not bool((labels == 2).any()):
        return None
    even = (image / np.float32(np.median(white))).astype(np.float32)
    patches = patch_features(even, labels, lesions, seed)
    if len(patches) < PATCHES:
        return None
    real = real_heads()
    quantiles = intensities(even, labels)
    return {
        "told_apart": round(told_apart(patches, np.concatenate(real["patches"])), 4),
        "intensity_distance": round(intensity_distance(quantiles, real["intensities"]), 4),
        "contrast_to_noise": round(contrast_to_noise(even, labels), 3),
        "patches": [[_short(value) for value in row] for row in patches],
        "regions": [_short(value) for value in regions(labels)],
    }


def unlike(facts: Mapping[str, Any]) -> list[str]:
    """Why a head is too far from real ones, or is not held to them; empty if it is like."""
    if "unmeasured" in facts:
        return [facts["unmeasured"]]
    reasons = []
    if facts["told_apart"] > MOST_TOLD_APART:
        reasons.append(
            f"T1w: patches are told from real ones with an area under the curve of "
            f"{facts['told_apart']:.2f}, more than {MOST_TOLD_APART:g}"
        )
    if facts["intensity_distance"] > MOST_INTENSITY_DISTANCE:
        reasons.append(
            f"T1w: intensities are {facts['intensity_distance']:.3f} of white matter from those "
            f"of real heads, more than {MOST_INTENSITY_DISTANCE:g}"
        )
    low, high = CONTRAST_RANGE
    if not low <= facts["contrast_to_noise"] <= high:
        reasons.append(
            f"T1w: gray differs from white matter by {facts['contrast_to_noise']:.2f} spreads, "
            f"real heads by {low:g} to {high:g}"
        )
    return reasons


def set_likeness(records: Sequence[Mapping[str, Any]]) -> Facts | None:
    """What is measured of a whole dataset; None where no head was measured."""
    found = [r["quality"]["likeness"] for r in records if r["quality"].get("likeness")]
    if not found:
        return None
    real = real_heads()
    patches: list[Numbers] = [np.array(each["patches"], np.float64) for each in found]
    shares = np.array([each["regions"] for each in found], np.float64)
    enough = len(found) >= FEWEST_FOR_REGIONS
    apart = {
        "told_apart": round(dataset_told_apart(patches, real["patches"]), 3) if enough else None,
        "regional_volume_distance": (
            round(regional_distance(shares, real["regions"]), 3) if enough else None
        ),
        "of_two_halves_of_real_heads": round(
            regional_distance(real["regions"][::2], real["regions"][1::2]), 3
        ),
    }
    return {"heads": len(found), "real_heads": len(real["regions"]), **apart}


def _short(value: float) -> float:
    return float(f"{value:.5g}")
