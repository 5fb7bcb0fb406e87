"""Structures of a scan, whatever its contrast: windows of 2 mm through the segmenter.

The scan is turned upright, read at 2 mm, and shown to the network in windows as large as those of
its training. Its shares are then read at the scan's own voxels, where the scan's intensities
decide (``medical.anatomy.refining``): the label map lies on the scan's grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.conditioning import Conditioning
from core.networks.conditioned import ConditionedNetwork
from core.operations.windows import Window, windows
from core.refusal import Refusal
from medical.acquisition.intensity import measure_scale
from medical.anatomy.filters import Floats, blurred, read_at
from medical.anatomy.refining import learn_look
from medical.files.volume import Volume

Number = TypeVar("Number", int, float)
GRID_MM = 2.0
WINDOW, OVERLAP = (48, 48, 48), (16, 16, 16)
TOP = 0.995
"""Quantile of the head's intensities that is shown as 1."""
HEAD = 0.04
"""Share of it above which a voxel is counted as head for that."""
SOFT = 0.35
"""Blur of a finer scan before it is read, in voxels of the grid."""
BATCH = 2
WIDEST_MM = 600.0
"""Of a scan along each axis: scanners see less."""


@dataclass(frozen=True, eq=False)
class Upright:
    """A scan with axes that point about right, anterior and superior, and its copy at 2 mm.

    Attributes:
        order: axis of the scan for each of these.
        flips: which of these run the other way in the scan.
        spacing_mm: of the scan, in this order.
        shape: of the scan, in this order.
        upright: (X, Y, Z) the scan itself so turned, the head's brightest at about 1.
        image: (X, Y, Z) the same at 2 mm.
    """

    order: tuple[int, int, int]
    flips: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    upright: Floats
    image: Floats

    @classmethod
    def of(cls, scan: Volume) -> Upright:
        """Turn a scan and read it at 2 mm.

        Raises:
            Refusal: Nothing is in it, or it is wider than a head can be.
        """
        order, flips = upright_axes(scan.affine)
        check_extent(scan.shape, scan.spacing_mm)
        data = np.flip(from_zero(scan).transpose(order), flips)
        spacing = _three(scan.spacing_mm[axis] for axis in order)
        top = float(data.max())
        top = float(np.quantile(data[data > HEAD * top], TOP))
        sigma = [SOFT * GRID_MM / s if s < GRID_MM else 0.0 for s in spacing]
        shape = tuple(
            max(1, round(n * s / GRID_MM)) for n, s in zip(data.shape, spacing, strict=True)
        )
        scale = [GRID_MM / s for s in spacing]
        offset = _offsets(data.shape, shape, scale)
        image = read_at(blurred(data, sigma), scale, shape, offset=offset, mode="nearest")
        image, data = (image / top).clip(0.0, 1.5), (data / top).clip(0.0, 1.5)
        return cls(order, flips, spacing, _three(data.shape), data, image)

    def at_voxels(self, coarse: Floats) -> Floats:
        """A map of 2 mm, (X, Y, Z), at the voxels of the upright scan."""
        scale = [s / GRID_MM for s in self.spacing_mm]
        offset = _offsets(coarse.shape, self.shape, scale)
        return read_at(coarse, scale, self.shape, offset=offset, mode="nearest")

    def as_scanned(self, upright: NDArray[np.generic]) -> NDArray[np.generic]:
        """A map of the upright scan with its axes as in the file."""
        turned = np.flip(upright, self.flips).transpose(np.argsort(self.order))
        return np.ascontiguousarray(turned)


def from_zero(scan: Volume) -> Floats:
    """(D, H, W) intensities that begin at 0, a few far from all others held where the rest ends.

    Raises:
        Refusal: Nothing is in the scan.
    """
    data = scan.data
    if not float(data.max()) > min(float(data.min()), 0.0):
        raise Refusal(
            "the scan is 0 everywhere: structures are found in a head; give the scan itself."
        )
    scale = measure_scale(data)
    if scale.held:
        data = data.clamp(scale.least, scale.most)
    return (data - min(float(data.min()), 0.0)).numpy().astype(np.float32)


def check_extent(shape: Sequence[int], spacing_mm: Sequence[float]) -> None:
    """Refuse a scan that no scanner can have made; at 2 mm it may fill any memory.

    Raises:
        Refusal: It is wider than heads and coils are.
    """
    sides = [n * s for n, s in zip(shape, spacing_mm, strict=True)]
    if max(sides) > WIDEST_MM:
        raise Refusal(
            f"the scan is {' x '.join(f'{side:.0f}' for side in sides)} mm wide: structures are "
            f"found in a head, in a scan of at most {WIDEST_MM:.0f} mm along each axis; correct "
            "its voxel size or unit, or crop it."
        )


def coarse_millions(shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """Millions of voxels that a scan has at 2 mm."""
    return math.prod(n * s / GRID_MM for n, s in zip(shape, spacing_mm, strict=True)) / 1e6


def upright_axes(affine: NDArray[np.float64]) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """For right, anterior, superior: the axis nearest to it, and which run the other way."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    left, order = axes.copy(), [0, 0, 0]
    for _ in range(3):
        world, axis = np.unravel_index(int(np.abs(left).argmax()), (3, 3))
        order[int(world)] = int(axis)
        left[world, :], left[:, axis] = 0.0, 0.0
    flips = tuple(k for k in range(3) if axes[k, order[k]] < 0)
    return (order[0], order[1], order[2]), flips


def scores(
    image: Floats,
    network: ConditionedNetwork,
    on_step: Callable[[int, int, object], None] = lambda done, total, estimate: None,
) -> Floats:
    """(structures, X, Y, Z) shares of each structure in the voxels of an upright image of 2 mm.

    Args:
        image: (X, Y, Z).
        network: The segmenter, or another that answers in the same way.
        on_step: Told of windows done and in all.
    """
    size = _three(max(n, w) for n, w in zip(image.shape, WINDOW, strict=True))
    grown = np.zeros(size, np.float32)
    grown[tuple(slice(0, n) for n in image.shape)] = image
    parts = windows(size, WINDOW, OVERLAP)
    count = int(network.config["in_channels"])
    total = torch.zeros(count, *size)
    shown = torch.from_numpy(grown)
    empty = [part for part in parts if not bool((shown[part.slices] > 0).any())]
    for part in empty:
        total[(0, *part.slices)] += part.weight(total)
    parts = [part for part in parts if bool((shown[part.slices] > 0).any())]
    for first in range(0, len(parts), BATCH):
        some = parts[first : first + BATCH]
        for part, found in zip(some, _answers(shown, some, network, count), strict=True):
            total[(slice(None), *part.slices)] += part.weight(total) * found
        on_step(min(first + BATCH, len(parts)), len(parts), None)
    return total[(slice(None), *(slice(0, n) for n in image.shape))].numpy()


def _answers(
    image: Tensor, parts: list[Window], network: ConditionedNetwork, count: int
) -> Tensor:
    """(N, structures, D, H, W) shares in windows."""
    boxes = torch.stack([image[part.slices] for part in parts])[:, None].to(network.device)
    zeros = boxes.new_zeros(len(boxes), count, *boxes.shape[2:])
    level = torch.ones(len(boxes), device=boxes.device)
    with torch.inference_mode():
        said = network(zeros, level, level, Conditioning(concat=boxes))
    return said.float().softmax(1).cpu()


def find_labels(
    scan: Volume,
    network: ConditionedNetwork,
    on_step: Callable[[int, int, object], None] = lambda done, total, estimate: None,
) -> NDArray[np.uint8]:
    """(D, H, W) the structure of every voxel of a scan, on its own grid.

    Args:
        scan: In any contrast, with or without skull.
        network: The segmenter.
        on_step: Told of windows done and in all.

    Raises:
        Refusal: Nothing is in the scan.
    """
    turned = Upright.of(scan)
    look = learn_look(turned.image, scores(turned.image, network, on_step))
    even = turned.upright / turned.at_voxels(look.bias)
    best = np.full(turned.shape, -1.0, np.float32)
    labels = np.zeros(turned.shape, np.uint8)
    for label, expected in enumerate(look.prior):
        fine = turned.at_voxels(expected) * look.likelihood(even, label)
        better = fine > best
        labels[better], best[better] = label, fine[better]
    labels[turned.upright <= 0] = 0
    return turned.as_scanned(labels).astype(np.uint8)


def _offsets(old: tuple[int, ...], new: tuple[int, ...], scale: list[float]) -> list[float]:
    """Where index 0 of a new grid of the same center lies in the old one."""
    return [(a - 1) / 2 - (b - 1) / 2 * s for a, b, s in zip(old, new, scale, strict=True)]


def _three(values: Iterable[Number]) -> tuple[Number, Number, Number]:
    x, y, z = values
    return x, y, z
