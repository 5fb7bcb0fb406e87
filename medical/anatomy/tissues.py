"""Tissue labels of a skull-stripped, T1-weighted head: fluid, gray and white matter.

Three classes of intensities under a smooth multiplicative bias, in turns (Wells et al. 1996),
then neighbors that agree (iterated conditional modes, Besag 1986). Nothing is learned, so what
it finds in a drawn head and in a real one can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.refusal import Refusal
from medical.anatomy.filters import (
    Floats,
    blurred,
    closed,
    filled,
    opened,
    pieces,
    read_at,
    shrunk,
)

BACKGROUND, CSF, GRAY, WHITE = range(4)
TISSUES = {BACKGROUND: "background", CSF: "CSF", GRAY: "gray matter", WHITE: "white matter"}
BIAS_MM = 14.0
AGREEMENT = 0.35
"""What a neighbor of the same tissue is worth, in nats."""
ROUNDS, MODES = 4, 5
COARSE_MM = 3.0
LEAST_ML = 50.0
FAINT = 0.04
"""Share of the brightest intensities below which a voxel is background."""


@dataclass(frozen=True, eq=False)
class Tissues:
    """What a head is made of.

    Attributes:
        labels: (X, Y, Z) uint8: 0 background, 1 CSF, 2 gray matter, 3 white matter.
        even: the head without its bias; the middle of the white matter is at 0.75.
    """

    labels: NDArray[np.uint8]
    even: Floats

    def means(self) -> tuple[float, float, float]:
        """Mean intensity of the three tissues in the head without bias."""
        csf, gray, white = (float(self.even[self.labels == k].mean()) for k in (CSF, GRAY, WHITE))
        return csf, gray, white


def find_tissues(head: Floats, spacing_mm: tuple[float, float, float]) -> Tissues:
    """The tissues of a head.

    Args:
        head: (X, Y, Z) intensities, 0 outside the brain.
        spacing_mm: Of its voxels.

    Raises:
        Refusal: There is no brain in it, or it has no three tissues.
    """
    brain = brain_mask(head, spacing_mm)
    box = _box(brain)
    labels, even = np.zeros(head.shape, np.uint8), np.zeros(head.shape, np.float32)
    found = _classes(head[box].astype(np.float32), brain[box], spacing_mm)
    labels[box], even[box] = found.labels, found.even
    return Tissues(labels, even)


def brain_mask(head: Floats, spacing_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Where the brain is: the largest piece that is not dark, its holes filled."""
    top = float(np.quantile(head[head > 0], 0.999)) if bool((head > 0).any()) else 0.0
    bright = opened(head > FAINT * top) if top > 0 else np.zeros(head.shape, bool)
    numbers, count = pieces(bright)
    volume = float(np.prod(spacing_mm)) / 1000
    sizes = np.bincount(numbers.ravel())[1:] if count else np.zeros(1)
    if sizes.max() * volume < LEAST_ML:
        raise Refusal(
            f"the largest bright piece of the head has {sizes.max() * volume:.1f} ml: tissues are "
            f"found in a skull-stripped brain of {LEAST_ML:g} ml or more, with 0 around it; give "
            "such a T1-weighted head."
        )
    brain = numbers == int(sizes.argmax()) + 1
    return filled(closed(brain, 2))


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    found = np.argwhere(mask)
    x, y, z = (slice(int(a), int(b) + 1) for a, b in zip(found.min(0), found.max(0), strict=True))
    return x, y, z


def _classes(
    head: Floats, brain: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> Tissues:
    bias = np.ones_like(head)
    centers, nearest = np.zeros(3), np.zeros(head.shape, np.intp)
    inner = shrunk(brain, 2)
    for turn in range(ROUNDS):
        even = head / bias
        centers = _centers(even[brain])
        nearest = np.digitize(even, (centers[1:] + centers[:-1]) / 2)
        if turn < ROUNDS - 1:
            bias = _bias(head, nearest, centers, inner, brain, spacing_mm)
    even = head / bias
    index = _modes(even, np.where(brain, nearest, 0), brain, centers)
    labels = np.where(brain, index + 1, 0).astype(np.uint8)
    middle = float(np.median(even[labels == WHITE]))
    return Tissues(labels, np.where(brain, even * (0.75 / middle), 0.0).astype(np.float32))


def _centers(values: Floats) -> NDArray[np.float64]:
    """Three rising class means of intensities: Lloyd's rounds over a histogram."""
    low, high = np.quantile(values, [0.0005, 0.9995])
    counts, edges = np.histogram(values, 512, (float(low), float(max(high, 1.01 * low + 1e-3))))
    place = (edges[1:] + edges[:-1]) / 2
    share = np.cumsum(counts) / max(1, counts.sum())
    centers = place[np.searchsorted(share, [0.12, 0.45, 0.85])]
    for _ in range(40):
        kind = np.digitize(place, (centers[1:] + centers[:-1]) / 2)
        weight = np.bincount(kind, counts, 3)
        if weight.min() == 0:
            raise Refusal(
                "the head has fewer than three intensities: CSF, gray and white matter differ in "
                "a T1-weighted head; give the scan itself, not a mask."
            )
        centers = np.bincount(kind, counts * place, 3) / weight
    return centers


def _bias(
    head: Floats,
    nearest: NDArray[np.intp],
    centers: NDArray[np.float64],
    inner: NDArray[np.bool_],
    brain: NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
) -> Floats:
    """The smooth factor that gray and white matter are brighter by than their class."""
    steps = [max(1, round(COARSE_MM / s)) for s in spacing_mm]
    every = tuple(slice(None, None, step) for step in steps)
    known = (inner & (nearest > 0))[every].astype(np.float32)
    told = head[every] / np.where(nearest[every] == 1, centers[1], centers[2]) * known
    sigma = [BIAS_MM / (s * step) for s, step in zip(spacing_mm, steps, strict=True)]
    total = blurred(told.astype(np.float32), sigma, truncate=3.0)
    weight = blurred(known, sigma, truncate=3.0)
    coarse = (total + 0.05) / (weight + 0.05)
    scale = [1.0 / step for step in steps]
    fine = read_at(coarse.astype(np.float32), scale, head.shape, mode="nearest")
    return fine / float(fine[brain].mean())


def _modes(
    even: Floats,
    index: NDArray[np.intp],
    brain: NDArray[np.bool_],
    centers: NDArray[np.float64],
) -> NDArray[np.int8]:
    """Classes that fit their intensity and their six neighbors."""
    kinds = index.astype(np.int8)
    spread = [float(even[brain & (kinds == k)].std()) + 1e-6 for k in range(3)]
    misfit = [
        (even - np.float32(c)) ** 2 * np.float32(0.5 / s**2) + np.float32(np.log(s))
        for c, s in zip(centers, spread, strict=True)
    ]
    for _ in range(MODES):
        cost = np.stack(
            [m - AGREEMENT * _around((kinds == k) & brain) for k, m in enumerate(misfit)]
        )
        new = np.where(brain, cost.argmin(0), 0).astype(np.int8)
        if float((new != kinds).mean()) < 1e-4:
            break
        kinds = new
    return kinds


def _around(mask: NDArray[np.bool_]) -> Floats:
    """How many of the six neighbors of each voxel are in a mask."""
    total = np.zeros(mask.shape, np.float32)
    for axis in range(3):
        ahead, behind = [slice(None)] * 3, [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        total[tuple(ahead)] += mask[tuple(behind)]
        total[tuple(behind)] += mask[tuple(ahead)]
    return total
