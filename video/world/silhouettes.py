"""Which shape a soft silhouette is, however large and however turned.

A silhouette is described by five numbers that do not change with place, size or turn: how
compact it is, how full its middle is, and how strongly it repeats three, four and five times
round its center. It is named after the nearest of many silhouettes drawn by
`video.world.rendering`.
"""

from functools import cache
from typing import Final

import numpy as np
import torch

from video.world.rendering import coverage
from video.world.scenes import SHAPES, SYMMETRY

STRANGE: Final = 0.3
"""Distance from every drawn silhouette beyond which a shape is none of ours."""
WEIGHTS: Final = np.array([2.0, 0.5, 1.5, 1.5, 1.5])
"""Weight of compactness, middle and the three repetitions in the distance."""
ORDERS: Final = (3, 4, 5)


def moments(
    groups: np.ndarray, num_groups: int, dx: np.ndarray, dy: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Five numbers (N, 5) and complex repetitions (N, 3) of each of N silhouettes.

    Args:
        groups: the silhouette each pixel belongs to, below `num_groups`.
        num_groups: N.
        dx, dy: pixel centers relative to the silhouette's center of mass, y down.
        weight: share of the pixel that is covered, about [0, 1].
    """

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(groups, values, minlength=num_groups)

    area = np.maximum(total(weight), 1e-6)
    square = dx * dx + dy * dy
    spread = np.maximum(total(weight * square) / area, 1e-6)
    radius = np.sqrt(spread)[groups]
    near = np.sqrt(square) < 0.42 * radius
    middle = total(weight * near) / np.maximum(total(near.astype(float)), 1.0)
    turn = (dx + 1j * dy) / np.maximum(np.sqrt(square), 1e-6)
    wave, rounds = weight * square / radius**2 * turn**2, []
    for _ in ORDERS:
        wave = wave * turn
        rounds.append((total(wave.real) + 1j * total(wave.imag)) / area)
    waves = np.stack(rounds, axis=1)
    compact = area / (2 * np.pi * spread)
    return np.column_stack([compact, np.clip(middle, 0, 1.2), np.abs(waves)]), waves


@cache
def _drawn() -> tuple[np.ndarray, np.ndarray]:
    """Five numbers of many drawn silhouettes (N, 5) and the number of each one's shape (N,)."""
    rows, names = [], []
    pixel = torch.arange(40) + 0.5 - 20.0
    across, along = pixel[None, :], pixel[:, None]
    softness = torch.tensor([[0.25, 0.5, 0.25]])
    for number, shape in enumerate(SHAPES):
        for radius in (4.8, 5.2, 5.6, 6.4, 7.2, 8.2, 9.4, 10.6, 11.8):
            for shift, angle in ((0.0, 0.0), (0.3, 0.35), (0.5, 0.8)):
                share = coverage(
                    shape,
                    across - shift,
                    along + 0.6 * shift,
                    torch.tensor(radius),
                    torch.tensor(angle),
                )
                for blurs in range(4):
                    if blurs:
                        kernel = (softness.T @ softness)[None, None]
                        share = torch.conv2d(share[None, None], kernel, padding=1)[0, 0]
                    rows.append(_describe(share.numpy().astype(float)))
                    names.append(number)
    return np.array(rows), np.array(names)


def _describe(share: np.ndarray) -> np.ndarray:
    y, x = np.nonzero(share > 0.1)
    weight = share[y, x]
    dx = x - (x * weight).sum() / weight.sum()
    dy = y - (y * weight).sum() / weight.sum()
    return moments(np.zeros(len(x), dtype=int), 1, dx, dy, weight)[0][0]


def nearest_shape(numbers: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The shape each row of five numbers (N, 5) is nearest to, and the distance (N,)."""
    rows, names = _drawn()
    gaps = (numbers[:, None] - rows[None]) * WEIGHTS
    far = np.sqrt((gaps * gaps).sum(-1))
    best = far.argmin(axis=1)
    return [SHAPES[names[i]] for i in best], far[np.arange(len(best)), best]


@cache
def unit_area(shape: str) -> float:
    """Area in pixels of a shape of radius one."""
    pixel = torch.arange(64) + 0.5 - 32.0
    share = coverage(shape, pixel[None, :], pixel[:, None], torch.tensor(20.0), torch.tensor(0.0))
    return float(share.sum()) / 400.0


def turns(shape: str, waves: np.ndarray) -> np.ndarray:
    """Angle in radians of a shape in each frame, made continuous, from its repetitions (T, 3).

    A shape whose turn cannot be seen has angle 0.
    """
    order = SYMMETRY.get(shape)
    if order is None:
        return np.zeros(len(waves))
    return np.unwrap(np.angle(waves[:, ORDERS.index(order)])) / order
