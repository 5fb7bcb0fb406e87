"""How far a drawn head is from real ones: patches, intensities and regional volumes.

Held against fifteen real heads that contribute to nothing (``medical/weights/real-heads``).
Patches of 24 mm at 1 mm are told apart by a linear discriminant on hand-made features, left out
by parts; its area under the curve is asked of every real head against the others, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from medical.anatomy.filters import Floats, blurred
from medical.audit.membership import area

FILE = Path(__file__).parents[1] / "weights" / "real-heads" / "reference.safetensors"
PATCH, PATCHES, TRIES = 24, 32, 4000
FULL, FEW_LESIONS = 0.6, 0.02
SHARES = np.linspace(0.01, 0.99, 33)
PARTS, RIDGE = 4, 0.05
FEATURES = (
    "mean", "spread", "skew", "gradient", "detail at 1 mm", "detail at 2.5 mm",
    "spread of white matter", "detail of white matter", "detail of gray matter",
    "likeness at 1 mm", "likeness at 2 mm", "likeness at 4 mm",
)  # fmt: skip
Numbers = NDArray[np.float64]
Labels = NDArray[np.uint8]


@cache
def real_heads() -> Mapping[str, Numbers]:
    """What was measured of the real heads.

    Keys are ``patches`` (heads, patches, features), ``intensities`` (heads, 33), ``regions``
    (heads, N) and ``contrast`` (heads,).
    """
    return {name: each.astype(np.float64) for name, each in load_file(FILE).items()}


def patch_features(image: Floats, labels: Labels, lesions: Labels, seed: int) -> Numbers:
    """(patches, features) of a head at 1 mm whose white matter is at 1; fewer where none fit."""
    random = np.random.default_rng([51, seed])
    soft = blurred(image, 1.0)
    fine, wide = image - soft, image - blurred(image, 2.5)
    slopes = [np.gradient(soft, axis=axis) for axis in range(3)]
    steep: Floats = np.sqrt(np.square(np.stack(slopes)).sum(0)).astype(np.float32)
    rows: list[list[float]] = []
    for _ in range(TRIES):
        corner = [int(random.integers(0, max(1, n - PATCH))) for n in image.shape]
        at = tuple(slice(c, c + PATCH) for c in corner)
        inside = labels[at] > 0
        if inside.mean() < FULL or lesions[at].mean() > FEW_LESIONS:
            continue
        parts = image[at], fine[at], wide[at], steep[at]
        rows.append(_features(parts, inside, labels[at]))
        if len(rows) == PATCHES:
            break
    return np.array(rows, np.float64).reshape(-1, len(FEATURES))


def _features(
    parts: tuple[Floats, Floats, Floats, Floats], inside: NDArray[np.bool_], labels: Labels
) -> list[float]:
    image, fine, wide, steep = parts
    values = image[inside].astype(np.float64)
    spread = float(values.std()) + 1e-9
    white, gray = labels == 3, labels == 2

    def of(volume: Floats, mask: NDArray[np.bool_]) -> float:
        return float(volume[mask].std()) if mask.sum() > 50 else 0.03

    alike = [
        float(np.mean([_correlation(*_shifted(wide, axis, k)) for axis in range(3)]))
        for k in (1, 2, 4)
    ]
    skew = float((((values - values.mean()) / spread) ** 3).mean())
    return [
        float(values.mean()), spread, skew, float(steep[inside].mean()), of(fine, inside),
        of(wide, inside), of(image, white), of(fine, white), of(fine, gray), *alike,
    ]  # fmt: skip


def _shifted(volume: Floats, axis: int, voxels: int) -> tuple[Floats, Floats]:
    """A volume, and the same so many voxels on."""
    turned = np.moveaxis(volume, axis, 0)
    return turned[voxels:], turned[:-voxels]


def _correlation(first: Floats, second: Floats) -> float:
    one, other = (each.astype(np.float64) - each.mean() for each in (first, second))
    return float((one * other).mean() / (one.std() * other.std() + 1e-12))


def told_apart(ours: Numbers, theirs: Numbers) -> float:
    """How well patches of a head (N, F) are told from others (M, F), left out by parts."""
    part = np.concatenate([np.arange(len(each)) % PARTS for each in (ours, theirs)])
    return _apart(ours, theirs, part)


def dataset_told_apart(heads: Sequence[Numbers], real: Numbers) -> float:
    """How well patches of many heads are told from real ones (heads, M, F), left out by heads."""
    part = [
        np.full(len(each), k % PARTS) for group in (heads, real) for k, each in enumerate(group)
    ]
    return _apart(np.concatenate(heads), np.concatenate(real), np.concatenate(part))


def _apart(ours: Numbers, theirs: Numbers, part: NDArray[np.integer]) -> float:
    """Area under the curve of a linear discriminant, each part told by the others."""
    rows = (np.concatenate([ours, theirs]) - theirs.mean(0)) / (theirs.std(0) + 1e-9)
    drawn = np.arange(len(rows)) < len(ours)
    said = np.zeros(len(rows))
    for held in range(PARTS):
        fit, kept = part != held, part == held
        first, second = rows[fit & drawn], rows[fit & ~drawn]
        within = (np.cov(first.T) + np.cov(second.T)) / 2 + RIDGE * np.eye(rows.shape[1])
        said[kept] = rows[kept] @ np.linalg.solve(within, first.mean(0) - second.mean(0))
    return area(said[drawn], said[~drawn])


def intensities(image: Floats, labels: Labels) -> Numbers:
    """(33,) quantiles of the brain, white matter at 1."""
    return np.quantile(image[labels > 0].astype(np.float64), SHARES)


def intensity_distance(quantiles: Numbers, real: Numbers) -> float:
    """Earth mover's distance of intensities to those of the mean real head."""
    return float(np.abs(quantiles - real.mean(0)).mean())


def regions(labels: Labels) -> Numbers:
    """Shares of the brain by tissue in halves, thirds and thirds of its box, (54,)."""
    found = np.argwhere(labels > 0)
    low, high = found.min(0), found.max(0) + 1
    inside = labels[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    cuts = [
        np.linspace(0, n, k + 1).astype(int) for n, k in zip(inside.shape, (2, 3, 3), strict=True)
    ]
    shares = []
    for place in np.ndindex(2, 3, 3):
        at = tuple(slice(c[p], c[p + 1]) for c, p in zip(cuts, place, strict=True))
        shares.append(np.bincount(inside[at].ravel(), minlength=4)[1:4])
    return np.concatenate(shares) / max(1, len(found))


def regional_distance(ours: Numbers, theirs: Numbers) -> float:
    """Regional volume distance of two sets (N, R), (M, R): Wasserstein, in spreads of the second.

    The mean over regions of the distance of two distributions of volumes, in the manner of WASABI
    and by boxes of the brain in place of its parcels.
    """
    share = (np.arange(64) + 0.5) / 64
    first, second = (np.quantile(each, share, axis=0) for each in (ours, theirs))
    return float((np.abs(first - second).mean(0) / (theirs.std(0) + 1e-9)).mean())
