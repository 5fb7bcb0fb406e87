"""Planes of a case worth looking at: through the middle, and where the model does worst."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medical.files.volume import Volume

ACROSS = 1
"""File axis at right angles to the planes: coronal planes of heads in LAS or RAS order."""
BLOCK_MM, WINDOW_MM = 16.0, 48.0
BASE, PRODUCT = "back-projection", "mean of 4"

Spacing = tuple[float, float, float]


def planes(
    layers: Mapping[str, Tensor], scan: Volume, mask: Tensor, spacing_mm: Spacing
) -> dict[str, NDArray[np.float16]]:
    """``place/layer`` -> plane (up, right), with ``place/spacing`` in mm (up, right).

    Places: ``middle`` of the head; ``behind``, a window of 48 mm around the block of 16 mm in
    which the model is farthest behind back-projection; ``wrong``, around that in which it is
    farthest from the truth. Beside the layers stands ``scan``, each voxel repeated.

    Args:
        layers: name -> (D, H, W) along the file's axes; among them the truth.
        scan: as acquired.
        mask: foreground of the truth.
        spacing_mm: of the layers.
    """
    layers = {**layers, "scan": repeated(scan.data, mask.shape)}
    found = torch.where(mask)
    low = [int(f.min()) for f in found]
    high = [int(f.max()) + 1 for f in found]
    middle = (low[ACROSS] + high[ACROSS]) // 2
    kept = cut("middle", layers, middle, (low, high), spacing_mm)
    for place, center in _blocks(layers, mask, spacing_mm).items():
        corners = [
            _window(c, n, s) for c, n, s in zip(center, mask.shape, spacing_mm, strict=True)
        ]
        box = [first for first, _ in corners], [last for _, last in corners]
        kept |= cut(place, layers, center[ACROSS], box, spacing_mm)
    return kept


def cut(
    place: str,
    layers: Mapping[str, Tensor],
    index: int,
    box: tuple[list[int], list[int]],
    spacing_mm: Spacing,
) -> dict[str, NDArray[np.float16]]:
    """``place/layer`` -> the part of the layer's plane inside the box (lowest, highest corner)."""
    right, up = (axis for axis in range(3) if axis != ACROSS)
    low, high = box
    kept = {}
    for name, volume in layers.items():
        plane = volume.select(ACROSS, index)
        plane = plane[low[right] : high[right], low[up] : high[up]].numpy()
        kept[f"{place}/{name}"] = plane.T[::-1].astype(np.float16)
    kept[f"{place}/spacing"] = np.array([spacing_mm[up], spacing_mm[right]], dtype=np.float16)
    return kept


def _blocks(
    layers: Mapping[str, Tensor], mask: Tensor, spacing_mm: Spacing
) -> dict[str, tuple[int, int, int]]:
    """Center of the block where the model is most behind, and of that where it is most wrong."""
    truth = layers["truth"]
    wrong = (layers[PRODUCT] - truth).square() * mask
    behind = wrong - (layers[BASE] - truth).square() * mask
    size = [max(1, round(BLOCK_MM / s)) for s in spacing_mm]
    step = [max(1, n // 2) for n in size]
    centers = {}
    for place, volume in {"behind": behind, "wrong": wrong}.items():
        pooled = F.avg_pool3d(volume[None, None], size, step)[0, 0]
        at = np.unravel_index(int(pooled.argmax()), pooled.shape)
        d, h, w = (int(i) * n + m // 2 for i, n, m in zip(at, step, size, strict=True))
        centers[place] = (d, h, w)
    return centers


def _window(center: int, length: int, spacing_mm: float) -> tuple[int, int]:
    size = min(length, round(WINDOW_MM / spacing_mm))
    first = min(max(0, center - size // 2), length - size)
    return first, first + size


def repeated(scan: Tensor, shape: torch.Size) -> Tensor:
    """The scan on the fine grid, each voxel taking the value of the slice it lies in."""
    for axis, size in enumerate(shape):
        number = scan.shape[axis]
        place = ((torch.arange(size) + 0.5) * number / size).long().clamp(max=number - 1)
        scan = scan.index_select(axis, place)
    return scan
