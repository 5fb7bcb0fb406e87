"""One lesion, grown voxel by voxel from where it begins until it has the volume asked for."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medical.lesions.atlas import OUTLINE, OUTLINE_REACH, LesionAtlas
from medical.lesions.fields import read_at, smooth

Offset = tuple[int, int, int]
SIDES: tuple[Offset, ...] = (
    (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1),
)  # fmt: skip
FAVOR = 0.35  # radii that a place ten times as frequent is worth
BEND = 0.25  # radii by which an outline is bent


@dataclass(frozen=True, eq=False)
class Outline:
    """A shape made of two outlines of the atlas: turned, bent, and joined along a slanting cut.

    Attributes:
        distance: (S, S, S) signed distance to its border, in radii.
        turn: (3, 3), from millimeters of the head to those of the outline.
        owners: The people whose outlines it was made of.
    """

    distance: NDArray[np.float32]
    turn: NDArray[np.float64]
    owners: tuple[int, ...]

    def at(self, offsets_mm: NDArray[np.float64], radius_mm: float) -> NDArray[np.float64]:
        """Signed distance, in radii, at offsets (3, N) from the middle of a lesion."""
        inside = self.turn @ offsets_mm / radius_mm
        step = 2 * OUTLINE_REACH / (OUTLINE - 1)
        index = inside / step + (OUTLINE - 1) / 2
        read = read_at(self.distance.astype(np.float64), index)
        beyond = np.abs(inside).max(axis=0) - OUTLINE_REACH
        return read + np.maximum(beyond, 0.0)


def draw_outline(
    random: np.random.Generator, atlas: LesionAtlas, people: NDArray[np.int64]
) -> Outline:
    """A new shape from two outlines of different people, if there are two.

    Args:
        random: Decides everything.
        atlas: With the outlines.
        people: Whose outlines may be used, indices into ``atlas.people``.
    """
    owned = np.flatnonzero(np.isin(atlas.owners, people))
    first = int(random.choice(owned))
    others = owned[atlas.owners[owned] != atlas.owners[first]]
    second = int(random.choice(others if len(others) else owned))
    field = smooth(random.standard_normal((4, OUTLINE, OUTLINE, OUTLINE)),
                                    (0, 2.5, 2.5, 2.5))  # fmt: skip
    field /= field.std(axis=(1, 2, 3), keepdims=True)
    axis = np.linspace(-OUTLINE_REACH, OUTLINE_REACH, OUTLINE)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    slant = random.standard_normal(3)
    slant /= np.linalg.norm(slant)
    along = np.tensordot(slant, grid, 1) + 0.4 * random.standard_normal() + 0.3 * field[3]
    share = 1 / (1 + np.exp(-4 * along))
    distance = share * _bent(atlas.outlines[first], field[:3], random)
    distance += (1 - share) * _bent(atlas.outlines[second], field[:3], random)
    turn, _ = np.linalg.qr(random.standard_normal((3, 3)))
    owners = {int(atlas.owners[first]), int(atlas.owners[second])}
    return Outline(distance.astype(np.float32), turn, tuple(sorted(owners)))


def _bent(
    outline: NDArray[np.float32], field: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.float64]:
    """An outline mirrored at random, its axes swapped, and displaced by a smooth field."""
    order = random.permutation(3)
    flips = tuple(axis for axis in range(3) if random.random() < 0.5)
    turned = np.flip(outline.transpose(*order), flips)
    step = 2 * OUTLINE_REACH / (OUTLINE - 1)
    index = np.indices(outline.shape) + field * (BEND / step)
    return read_at(turned.astype(np.float64), index)


def grow(
    outline: Outline,
    seed: Offset,
    voxels: int,
    free: NDArray[np.bool_],
    frequency: NDArray[np.float32],
    spacing_mm: tuple[float, float, float],
) -> NDArray[np.int64]:
    """The voxels (N, 3) of one lesion, in the order they joined; fewer where there is no room.

    They hang together by their sides, begin at the seed and follow the outline, leaning to where
    lesions are frequent.

    Args:
        outline: Its shape.
        seed: Where it begins; must be free.
        voxels: How many it shall have.
        free: (X, Y, Z) where it may grow.
        frequency: (X, Y, Z) how often lesions are found there.
        spacing_mm: Of the voxels.
    """
    spacing = np.asarray(spacing_mm)
    radius = float((3 * voxels * spacing.prod() / (4 * np.pi)) ** (1 / 3))
    reach = np.ceil(3 * max(radius, spacing.max()) / spacing).astype(int) + 2
    low = np.maximum(np.asarray(seed) - reach, 0)
    high = np.minimum(np.asarray(seed) + reach + 1, free.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    room = free[box]
    index = np.indices(room.shape).reshape(3, -1).T + low - np.asarray(seed)
    offsets = index.astype(np.float64) * spacing
    cost = outline.at(offsets.T, radius).reshape(room.shape)
    cost = cost - FAVOR * np.log10(frequency[box].astype(np.float64))
    start = tuple((np.asarray(seed) - low).tolist())
    return _flood(cost, room, (start[0], start[1], start[2]), voxels) + low


def _flood(
    cost: NDArray[np.float64], room: NDArray[np.bool_], start: Offset, voxels: int
) -> NDArray[np.int64]:
    """The cheapest voxels that hang together with the start, one after the other."""
    waiting = [(0.0, start)]
    seen = np.zeros(room.shape, dtype=bool)
    seen[start] = True
    taken: list[Offset] = []
    while waiting and len(taken) < voxels:
        _, (x, y, z) = heapq.heappop(waiting)
        taken.append((x, y, z))
        for dx, dy, dz in SIDES:
            a, b, c = x + dx, y + dy, z + dz
            inside = 0 <= a < room.shape[0] and 0 <= b < room.shape[1] and 0 <= c < room.shape[2]
            if inside and room[a, b, c] and not seen[a, b, c]:
                seen[a, b, c] = True
                heapq.heappush(waiting, (float(cost[a, b, c]), (a, b, c)))
    return np.asarray(taken, dtype=np.int64).reshape(-1, 3)
