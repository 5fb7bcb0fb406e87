"""Anatomies that nobody has: tissue labels drawn from a pool of people, each everywhere a little.

A mixture of a few people is always nearest to one of them. So everybody contributes everywhere,
with weights that are random fields, made even so that no person's stands out over a part of the
head: what one place owes to a person says nothing of the next place. The longer the fields, the
wholer are the structures that are as long as they. Where the ventricles and the corpus callosum
lie the fields are longer and the same on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.refusal import Refusal
from medical.anatomy.filters import Floats, Shape, blurred, read_at
from medical.anatomy.mixing import Asked, mix
from medical.anatomy.painting import Look, Paint
from medical.anatomy.pool import CANONICAL, Pool
from medical.anatomy.tissues import find_tissues

EXTENT_MM = (176.0, 208.0, 176.0)
"""Of the grid of a drawn head, whatever its spacing; every drawn head fits."""
FINEST_MM, COARSEST_MM = 0.5, 4.0


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A drawn head before it is scanned.

    Attributes:
        labels: (X, Y, Z) uint8: 0 background, 1 CSF, 2 gray matter, 3 white matter.
        affine: (4, 4), voxel to world in mm; axes point right, anterior, superior.
        contributors: share of each person of the pool, by hash: mean squared weights, which add
            up to 1.
        facts: what was drawn: seed, age, sex, field length, size.
        to_mni: (4, 4), world mm of this head to mm of the pool's space: that of the lesion masks
            of Lesjak et al. 2017, MNI space with brains of about their own size.
        texture: (X, Y, Z) T1-weighted image, white matter at 0.75; None where none was painted.
    """

    labels: NDArray[np.uint8]
    affine: NDArray[np.float64]
    contributors: Mapping[str, float]
    facts: Mapping[str, Any]
    to_mni: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))
    texture: Floats | None = None

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of voxels along the axes of the labels."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z


def draw_anatomy(
    pool: Pool,
    seed: int,
    *,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    length_mm: float = 20.0,
    age: tuple[float, float] | None = None,
    sex: str = "any",
) -> Anatomy:
    """An anatomy that follows from the pool and the seed alone.

    Args:
        pool: Whose tissue maps are mixed.
        seed: Decides everything.
        spacing_mm: Of the labels' grid.
        length_mm: Of the random fields; shorter hides people better and breaks more.
        age: Years, from and to; the age is drawn evenly in between. None takes that of one of
            the pool at random.
        sex: ``"f"``, ``"m"`` or ``"any"``.

    Raises:
        Refusal: The pool has too few such people, or nothing can be drawn on such a grid.
    """
    _check_spacing(spacing_mm)
    mixed = mix(pool, seed, Asked(length_mm=length_mm, age=age, sex=sex))
    fractions = pool.fold(mixed.condition, seed)
    facts = {"seed": seed, **mixed.facts}
    to_mni = np.diag([*(1.0 / mixed.size), 1.0])
    texture = None
    if pool.paint is None:
        shape, affine = _grid(spacing_mm)
        labels = likeliest(_placed(fractions, affine, shape, mixed.size, order=3))
    else:
        labels, texture, affine = _painted(pool.paint, fractions, mixed.size, seed, spacing_mm)
    return Anatomy(labels, affine, mixed.contributors, facts, to_mni, texture)


def _check_spacing(spacing_mm: tuple[float, float, float]) -> None:
    if len(spacing_mm) != 3 or not all(FINEST_MM <= s <= COARSEST_MM for s in spacing_mm):
        raise Refusal(
            f"spacing_mm={spacing_mm}: anatomies are drawn on grids of {FINEST_MM:g} to "
            f"{COARSEST_MM:g} mm along each of three axes; ask for 1 mm, for instance."
        )


def _grid(spacing_mm: tuple[float, float, float]) -> tuple[Shape, NDArray[np.float64]]:
    """Shape and affine of a grid around the middle of the pool's space."""
    x, y, z = (round(e / s) for e, s in zip(EXTENT_MM, spacing_mm, strict=True))
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = CANONICAL.middle - (np.array([x, y, z]) - 1) / 2 * np.array(spacing_mm)
    return (x, y, z), affine


def _placed(
    fractions: Floats,
    affine: NDArray[np.float64],
    shape: Shape,
    size: NDArray[np.float64],
    *,
    order: int,
) -> Floats:
    """Fractions of the pool's space on the grid of a head of a size."""
    scale = np.diag(affine)[:3] / size / CANONICAL.spacing_mm
    offset = (affine[:3, 3] / size - CANONICAL.origin) / CANONICAL.spacing_mm
    return np.stack([read_at(f, scale, shape, offset=offset, order=order) for f in fractions])


def likeliest(fractions: Floats) -> NDArray[np.uint8]:
    """The most likely tissue, or background, at every voxel."""
    rest = 1 - fractions.sum(0)
    return np.where(rest > fractions.max(0), 0, fractions.argmax(0) + 1).astype(np.uint8)


def _painted(
    paint: Paint,
    fractions: Floats,
    size: NDArray[np.float64],
    seed: int,
    spacing_mm: tuple[float, float, float],
) -> tuple[NDArray[np.uint8], Floats, NDArray[np.float64]]:
    """Labels and texture: painted at 1 mm, labels found in what was painted."""
    shape, affine = _grid((1.0, 1.0, 1.0))
    fine = _placed(fractions, affine, shape, size, order=1).clip(0, 1)
    image = paint(fine, Look(), seed)
    found = find_tissues(image, (1.0, 1.0, 1.0))
    if spacing_mm == (1.0, 1.0, 1.0):
        return found.labels, found.even, affine
    coarse_shape, coarse = _grid(spacing_mm)
    scale = np.diag(coarse)[:3]
    offset = coarse[:3, 3] - affine[:3, 3]

    def read(volume: Floats) -> Floats:
        soft = blurred(volume, [0.4 * np.sqrt(max(s * s - 1, 0)) for s in scale])
        return read_at(soft, scale, coarse_shape, offset=offset)

    kinds = np.stack([read((found.labels == k).astype(np.float32)) for k in (1, 2, 3)])
    labels = likeliest(kinds)
    return labels, np.where(labels > 0, read(found.even), 0.0).astype(np.float32), coarse
