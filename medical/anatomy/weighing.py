"""Weights of people that change from place to place, and tell nothing of a whole person.

Random fields alone give every person some mean weight, over the head and over its parts, and whose
is largest can be named from the finished head. So fields are changed as little as it takes until
nobody stands out (``medical.anatomy.even``): windows three lengths wide hold nothing of a person,
neither by weight nor by how much of the person shows at a place; the mixture is orthogonal to each
person over each eighth of the head; all have the same share. What is left of a person lies between
places that cancel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medical.anatomy.even import Held, evened
from medical.anatomy.filters import Floats, blurred, read_at
from medical.anatomy.pool import WIDE, Pool

DEEP_LENGTH_MM = 30.0
WINDOW_LENGTHS = 3.0
"""Width of a window in lengths of the fields."""
SHOWN = (0.235, 0.49, 0.75)
"""How bright CSF, gray and white matter are in a T1-weighted head."""
FOLD_MM = 7.0
"""Blur that folds do not survive."""
PRESENT = 13
"""Mean stored fraction from which a place belongs to a head; 255 is all tissue."""
CORE = 128
"""The same from which a place counts for shares and mean weights."""
LEAST_PLACES = 8.0
EIGHTH_MM = 120.0
"""Apart the middles of windows that halve the head along each axis."""
MOST_BY_EIGHTHS = 40
"""People up to whom there is room to be unlike each in every eighth; more are only in all."""
DEEP_LESS = 0.25
"""By how much weights are smaller at depth, where structures would break."""


def weights_of(
    pool: Pool, residuals: Floats, length_mm: float, random: np.random.Generator
) -> Floats:
    """(P, *WIDE.shape) even fields, longer and mirrored at depth, in all of unit variance.

    Args:
        pool: Of P people.
        residuals: (P, 3, *WIDE.shape) what sets each apart.
        length_mm: Of the fields.
        random: Draws them.
    """
    inside = _inside(pool, PRESENT)
    held = held_of(pool, residuals, length_mm)
    even = evened(_fields(pool, length_mm, random)[:, inside], held)
    even = even / _spread(even, held.patterns) * np.sqrt(1 - 1 / len(even)) * held.scale
    fields = np.zeros((len(even), *WIDE.shape), np.float32)
    fields[:, inside] = even
    return fields


def held_of(pool: Pool, residuals: Floats, length_mm: float) -> Held:
    """What weights are to hold nothing of, where the pool's people have tissue.

    Args:
        pool: Of P people.
        residuals: (P, 3, *WIDE.shape) what sets each apart.
        length_mm: Of the fields.
    """
    inside, core = _inside(pool, PRESENT), _inside(pool, CORE)
    every = windows(WINDOW_LENGTHS * length_mm)
    every = every[every[:, core].sum(1) > LEAST_PLACES]
    whole = len(pool.people) > MOST_BY_EIGHTHS
    eighths = np.ones((1, *WIDE.shape)) if whole else windows(EIGHTH_MM)
    return Held(
        every[:, inside].astype(np.float32),
        core[inside].astype(np.float32),
        eighths[:, inside].astype(np.float32),
        _patterns(residuals)[..., inside],
        1 - np.float32(DEEP_LESS / 255) * pool.depth[inside],
    )


def _patterns(residuals: Floats) -> Floats:
    """(2, P, *WIDE.shape) people's folds, and all of their images, each of unit mean square."""
    whole = np.einsum("c,pcxyz->pxyz", np.array(SHOWN, np.float32), residuals)
    folds = np.stack([each - blurred(each, FOLD_MM / WIDE.spacing_mm) for each in whole])
    folds /= np.sqrt(np.square(folds).mean() + 1e-12)
    whole /= np.sqrt(np.square(whole).mean() + 1e-12)
    return np.stack([folds, whole]).astype(np.float32)


def _spread(fields: Floats, patterns: Floats) -> float:
    """Root mean square of fields, places counting by how much of people shows there."""
    share = np.square(patterns).sum((0, 1), dtype=np.float64)
    return float(np.sqrt((np.square(fields) * share).sum() / (len(fields) * share.sum() + 1e-12)))


def windows(width_mm: float) -> NDArray[np.float64]:
    """(R, *WIDE.shape) smooth windows about so far apart, which add up to 1 everywhere."""
    axes = []
    for count in WIDE.shape:
        places = np.arange(count) * WIDE.spacing_mm
        middles = np.linspace(0, places[-1], max(1, round(places[-1] / width_mm)) + 1)
        far = np.abs(places[None] - middles[:, None]) / (middles[1] - middles[0])
        axes.append(np.clip(1 - far, 0, 1))
    return np.einsum("ax,by,cz->abcxyz", *axes).reshape(-1, *WIDE.shape)


def shares_of(pool: Pool, fields: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of each person in what is mixed, mean squared weights that sum to 1; mean weights."""
    inside = fields[:, _inside(pool, CORE)].astype(np.float64)
    energy = np.square(inside).mean(1)
    return energy / energy.sum(), inside.mean(1)


def _inside(pool: Pool, fraction: int) -> NDArray[np.bool_]:
    """(*WIDE.shape) where the people have tissue on average."""
    return pool.wide.mean(0, dtype=np.float32).sum(0) > fraction


def _fields(pool: Pool, length_mm: float, random: np.random.Generator) -> Floats:
    """(P, *WIDE.shape) Gaussian fields of unit variance, longer and mirrored at depth."""
    people = len(pool.people)
    near = _smooth(people, length_mm, random)
    deep = max(length_mm, DEEP_LENGTH_MM)
    far = _smooth(people, deep, random)
    far = far + far[:, ::-1]
    far /= _mirrored_spread(deep)
    share = pool.depth.astype(np.float32) / 255
    return (np.sqrt(1 - share) * near + np.sqrt(share) * far).astype(np.float32)


def _mirrored_spread(length_mm: float) -> Floats:
    """Standard deviation of a field plus its mirror image, by the distance from the middle."""
    x = np.abs(WIDE.corner[0] + np.arange(WIDE.shape[0]) * WIDE.spacing_mm)
    together = np.exp(-((2 * x) ** 2) / (4 * length_mm**2))
    return np.sqrt(2 + 2 * together).astype(np.float32)[:, None, None]


def _smooth(count: int, length_mm: float, random: np.random.Generator) -> Floats:
    """Fields of unit variance with covariance exp(-d^2 / (4 length^2))."""
    sigma = length_mm / WIDE.spacing_mm
    coarse = max(1, int(sigma // 2))
    shape = [-(-n // coarse) + 1 for n in WIDE.shape]
    margin = int(np.ceil(3 * sigma / coarse))
    noise = random.standard_normal((count, *(n + 2 * margin for n in shape)), np.float32)
    drawn = []
    for one in noise:
        smooth = blurred(one, sigma / coarse, truncate=3.0)
        inner = smooth[tuple(slice(margin, margin + n) for n in shape)]
        scale = [1 / coarse] * 3
        drawn.append(read_at(inner, scale, WIDE.shape))
    impulse = np.zeros((12 * margin + 1, 1, 1), np.float32)
    impulse[6 * margin] = 1
    kernel = blurred(impulse, [sigma / coarse, 0, 0], truncate=3.0)
    return (np.stack(drawn) / np.square(kernel).sum() ** 1.5).astype(np.float32)
