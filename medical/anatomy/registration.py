"""Affine alignment of tissue maps: which point of a head lies at a point of the pool's space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medical.anatomy.pool import CANONICAL, Lattice

STEP_MM = 4.0
ROUNDS = (60, 40)
COARSE = Lattice((40, 48, 40), STEP_MM, (-78.0, -110.0, -74.0))


def points_of(lattice: Lattice) -> Tensor:
    """(X, Y, Z, 3) mm of a lattice's voxels."""
    axes = [
        torch.arange(n, dtype=torch.float32) * lattice.spacing_mm + corner
        for n, corner in zip(lattice.shape, lattice.corner, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def read_points(volumes: Tensor, affine: NDArray[np.float64], points: Tensor) -> Tensor:
    """Volumes (C, X, Y, Z) at world points (..., 3), linear between voxels, 0 outside.

    Args:
        volumes: On the grid of ``affine``.
        affine: (4, 4) voxel to world.
        points: In the world.
    """
    back = torch.from_numpy(np.linalg.inv(affine)).float()
    voxels = points @ back[:3, :3].T + back[:3, 3]
    sizes = volumes.shape[1:]
    grid = torch.stack([voxels[..., i] / (sizes[i] - 1) * 2 - 1 for i in (2, 1, 0)], -1)
    read = F.grid_sample(volumes[None], grid[None], align_corners=True, padding_mode="zeros")
    return read[0]


def align(
    heads: Sequence[tuple[Tensor, NDArray[np.float64]]], template: Tensor
) -> list[NDArray[np.float64]]:
    """For every head, (4, 4) from mm of the pool's space to its own world.

    The mean of the aligned heads takes the template's place for the second round.

    Args:
        heads: Blurred fractions (3, X, Y, Z) and the affine of each.
        template: (3, *COARSE.shape), what the first round is aligned with.
    """
    points = points_of(COARSE)
    found = [_begin(volumes, affine, template) for volumes, affine in heads]
    for turn, steps in enumerate(ROUNDS):
        if turn:
            read = [
                read_points(v, a, moved(points, m)) for (v, a), m in zip(heads, found, strict=True)
            ]
            template = torch.stack(read).mean(0)
        found = [
            _descended(v, a, m, template, points, steps)
            for (v, a), m in zip(heads, found, strict=True)
        ]
    return found


def aligned(
    volumes: Tensor, affine: NDArray[np.float64], template: Tensor, *, steps: int = 80
) -> NDArray[np.float64]:
    """For one head, (4, 4) from mm of the pool's space to its own world.

    Args:
        volumes: Blurred fractions (3, X, Y, Z).
        affine: Of them, (4, 4) voxel to world.
        template: (3, *COARSE.shape), what the head is aligned with.
        steps: Of the descent.
    """
    start = _begin(volumes, affine, template)
    return _descended(volumes, affine, start, template, points_of(COARSE), steps)


def moved(points: Tensor, matrix: NDArray[np.float64]) -> Tensor:
    """Points (..., 3) under a (4, 4) matrix."""
    m = torch.from_numpy(matrix).float()
    return points @ m[:3, :3].T + m[:3, 3]


def fractions_in_space(
    volumes: Tensor, affine: NDArray[np.float64], matrix: NDArray[np.float64]
) -> Tensor:
    """A head's fractions on the pool's lattice."""
    return read_points(volumes, affine, moved(points_of(CANONICAL), matrix))


def size_of(matrix: NDArray[np.float64]) -> tuple[float, float, float]:
    """Extent along x, y, z of a head as a share of the space's."""
    x, y, z = np.linalg.norm(matrix[:3, :3], axis=0).tolist()
    return x, y, z


def _begin(volumes: Tensor, affine: NDArray[np.float64], template: Tensor) -> NDArray[np.float64]:
    """Middle on middle, white on white, without turning."""
    weight = volumes[2]
    index = torch.stack(torch.meshgrid(*map(torch.arange, weight.shape), indexing="ij"), -1)
    own = (index * weight[..., None]).sum((0, 1, 2)) / weight.sum()
    world = affine[:3, :3] @ own.double().numpy() + affine[:3, 3]
    there = (points_of(COARSE) * template[2][..., None]).sum((0, 1, 2)) / template[2].sum()
    start = np.eye(4)
    start[:3, 3] = world - there.double().numpy()
    return start


def _descended(
    volumes: Tensor,
    affine: NDArray[np.float64],
    start: NDArray[np.float64],
    template: Tensor,
    points: Tensor,
    steps: int,
) -> NDArray[np.float64]:
    """Least squares of fractions over twelve numbers, by Adam."""
    turn = torch.from_numpy(start[:3, :3]).float().requires_grad_()
    shift = (torch.from_numpy(start[:3, 3]).float() / 40).requires_grad_()
    optimizer = torch.optim.Adam([turn, shift], lr=0.015, betas=(0.8, 0.99))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.015 * (1 - step / steps)
        optimizer.zero_grad()
        read = read_points(volumes, affine, points @ turn.T + shift * 40)
        (read - template).square().mean().backward()
        optimizer.step()
    found = np.eye(4)
    found[:3, :3] = turn.detach().double().numpy()
    found[:3, 3] = shift.detach().double().numpy() * 40
    return found
