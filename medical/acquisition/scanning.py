"""Many patches scanned at once: what was acquired of each, and what the scan left out.

Patches of one batch have margins and slices of their own, so they and their matrices are filled
up with zeros to a common size; zeros add nothing to a sum.

Axes: B batch, C channels, D depth (the thick axis), H, W.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.tensors import sent
from medical.acquisition.acquisition import (
    AcquiredGrid,
    AxisGrid,
    back_projection_matrix,
    degradation_matrix,
    evidence,
)
from medical.acquisition.noise import denoised
from medical.acquisition.noise_there import denoised_there
from medical.operations.residual import RESIDUAL_SCALE, condition

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class ScannedPatch:
    """A patch and how it is scanned.

    Attributes:
        truth: (D, H, W) float32 with margins along coarse axes.
        grid: Of the acquisition, laid over the truth.
        inner: The part that is trained on, of one shape in all patches.
        noise: Of the scan's real and imaginary parts, (2, ...) on its grid, on the CPU; None for
            none.
        noise_std: Of it, by which the scan is cleaned.
        told: The acquisition that the network is told, of the same samples; None for ``grid``.
    """

    truth: Tensor
    grid: AcquiredGrid
    inner: Box
    noise: Tensor | None = None
    noise_std: float = 0.0
    told: AcquiredGrid | None = None

    @property
    def taken(self) -> AcquiredGrid:
        """What the scan is taken for."""
        return self.told or self.grid


def training_pairs(patches: Sequence[ScannedPatch]) -> dict[str, Tensor]:
    """What the network sees and should answer, as ``HeadPatches.draw_batch`` says it."""
    device = patches[0].truth.device
    truth = torch.stack([patch.truth[patch.inner] for patch in patches])
    back = torch.empty_like(truth)
    for members in _alike(patches):
        rows = sent(torch.tensor(members), device)
        back[rows] = _back_projections([patches[i] for i in members])
    spacing = [patch.grid.spacing_mm for patch in patches]
    resolution = [patch.taken.resolution_mm() for patch in patches]
    numbers = sent(torch.tensor([spacing, resolution]), device)
    return {
        "target": ((truth - back) / RESIDUAL_SCALE)[:, None],
        "concat": condition(back, _evidence_maps(patches, device)),
        "spacing": numbers[0],
        "resolution": numbers[1],
    }


def _alike(patches: Sequence[ScannedPatch]) -> list[list[int]]:
    """The places of patches that are coarse along the same axes, group by group."""
    groups: dict[tuple[bool, ...], list[int]] = {}
    for place, patch in enumerate(patches):
        coarse = tuple(grid is not None for grid in patch.grid.axes)
        groups.setdefault(coarse, []).append(place)
    return list(groups.values())


def _back_projections(patches: Sequence[ScannedPatch]) -> Tensor:
    """The back-projections of the scans of patches coarse along the same axes."""
    x = _filled([patch.truth for patch in patches])  # (B, D, H, W)
    back: list[Tensor | None] = []
    for axis in range(3):
        grids = [grid for patch in patches if (grid := patch.grid.axes[axis]) is not None]
        if not grids:
            back.append(None)
            continue
        degrade = _matrices([degradation_matrix(grid) for grid in grids], x.device)
        x = _along(x, degrade, axis)  # that axis in slices
        taken = [(p.taken.axes[axis], p.inner[axis]) for p in patches]
        inverse = [back_projection_matrix(grid)[part] for grid, part in taken if grid is not None]
        back.append(_matrices(inverse, x.device))
    for place, patch in enumerate(patches):
        if patch.noise is not None:
            part = tuple(slice(n) for n in patch.noise.shape[1:])
            x[place][part] = _noisy(x[place][part], patch.noise, patch.noise_std)
    for axis, matrices in enumerate(back):
        x = x if matrices is None else _along(x, matrices, axis)  # the inner part alone
    return x


def rician(scan: Tensor, noise: Tensor) -> Tensor:
    """The magnitude of a scan with noise in its real and its imaginary part.

    Args:
        scan: Without noise.
        noise: (2, ...) of the scan's shape: real, imaginary.
    """
    return ((scan + noise[0]).square() + noise[1].square()).sqrt()


def _noisy(scan: Tensor, noise: Tensor, noise_std: float) -> Tensor:
    """A scan with its noise, cleaned as scans of users are."""
    clean = denoised if scan.device.type == "cpu" else denoised_there
    return clean(rician(scan, sent(noise, scan.device)), noise_std)


def _along(x: Tensor, matrices: Tensor, axis: int) -> Tensor:
    """(B, D, H, W) with one axis of each multiplied by a matrix of its own, (B, m, n)."""
    if axis == 0:
        return torch.bmm(matrices, x.flatten(2)).unflatten(2, x.shape[2:])  # (B, m, H, W)
    if axis == 1:
        return matrices[:, None] @ x  # (B, D, m, W)
    return x @ matrices.mT[:, None]  # (B, D, H, m)


def _matrices(matrices: Sequence[Tensor], device: torch.device) -> Tensor:
    """Matrices filled up with zeros to a common shape, (B, m, n) float32."""
    return sent(_filled([matrix.float() for matrix in matrices]), device)


def _filled(parts: Sequence[Tensor]) -> Tensor:
    """Tensors of several shapes in one, zero beyond the ends of each."""
    shapes = {part.shape for part in parts}
    if len(shapes) == 1:
        return torch.stack(list(parts))
    whole = parts[0].new_zeros(len(parts), *(max(sizes) for sizes in zip(*shapes, strict=True)))
    for place, part in enumerate(parts):
        whole[place][tuple(slice(n) for n in part.shape)] = part
    return whole


def _evidence_maps(patches: Sequence[ScannedPatch], device: torch.device) -> Tensor:
    """How well each voxel was measured, (B, D, H, W): 1 at slice centers."""
    maps = torch.ones((), device=device)
    for axis in range(3):
        lines = [_evidence(p.taken.axes[axis], p.inner[axis]) for p in patches]  # (n,) each
        shape = [-1 if a == axis else 1 for a in range(3)]
        maps = maps * sent(torch.stack(lines), device).view(len(patches), *shape)
    return maps


def _evidence(grid: AxisGrid | None, part: slice) -> Tensor:
    return torch.ones(part.stop - part.start) if grid is None else evidence(grid).float()[part]
