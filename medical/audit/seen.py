"""A head as the attacks see it: tissue on one lattice, and its intensities in its brain's box.

Position, size and turning are taken away by an affine, so what is left to compare is anatomy.
Everything is read at 2 mm: folds are wider than that, and a head takes two seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from core.models.checkpoints import find_model
from core.refusal import Refusal
from medical.anatomy.filters import Floats, blurred, read_at
from medical.anatomy.head_model import KIND, SHIPPED
from medical.anatomy.pool import CANONICAL, WIDE, read_pool
from medical.anatomy.registration import COARSE, aligned, points_of, read_points, size_of
from medical.anatomy.registration import moved as moved_points
from medical.anatomy.segmenting import upright_axes
from medical.anatomy.tissues import TISSUES, find_tissues
from medical.files.nifti import read_volume
from medical.files.volume import Volume

READ_MM = 2.0
SOFT_MM = 3.0
"""Blur of the fractions that are aligned."""
BOX = (40, 48, 40)
MOST_ML = 2200.0
"""Of a brain; a larger bright piece is a head with its skull."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A head.

    Attributes:
        name: For people.
        labels: CANONICAL.shape uint8: 0 background, 1 CSF, 2 gray, 3 white matter.
        box: (40, 48, 40) intensities without bias, white matter at 0.75, stretched to the box of
            the brain.
    """

    name: str
    labels: NDArray[np.uint8]
    box: Floats


def see(path: Path, name: str) -> Seen:
    """A head of a T1-weighted, skull-stripped file.

    Raises:
        Refusal: No brain is found in it, or it has a skull.
    """
    return seen_in(read_volume(path), name)


def seen_in(volume: Volume, name: str) -> Seen:
    """The same of a volume in memory."""
    return mapped(upright(volume), name)[0]


def mapped(volume: Volume, name: str) -> tuple[Seen, tuple[float, float, float]]:
    """The same, and its extent along x, y, z as a share of the space's.

    Raises:
        Refusal: No brain is found in it, or it has a skull.
    """
    data, affine = coarse(volume)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    x, y, z = spacing.tolist()
    try:
        found = find_tissues(data, (x, y, z))
    except Refusal as error:
        raise Refusal(f"{name}: {error}") from error
    milliliters = float((found.labels > 0).sum()) * float(np.prod(spacing)) / 1000
    if milliliters > MOST_ML:
        raise Refusal(
            f"{name}: the brain would have {milliliters:.0f} ml: heads are audited without their "
            "skull, as tissues are found in the brain alone; strip it first."
        )
    labels, matrix = _placed(found.labels, affine)
    return Seen(name, labels, box_of(found.even)), size_of(matrix)


def seen_labels(volume: Volume, name: str) -> Seen:
    """A head of which only the tissue labels are at hand; its intensities are class means.

    Raises:
        Refusal: A label is no tissue.
    """
    volume = upright(volume)
    found = np.unique(volume.data.numpy())
    if not set(found.tolist()) <= set(map(float, TISSUES)):
        raise Refusal(
            f"{name}: labels {found[:8].tolist()} are not 0 to 3: tissues are background, CSF, "
            "gray and white matter; give such a label map."
        )
    labels = np.stack([coarse(volume.with_data((volume.data == k).float()))[0] for k in TISSUES])
    affine = _coarse_affine(volume)
    hard = labels.argmax(0).astype(np.uint8)
    return Seen(name, _placed(hard, affine)[0], box_of(painted(hard)))


def painted(labels: NDArray[np.uint8]) -> Floats:
    """Labels as the mean intensities of their tissues, T1-weighted, white matter at 0.75."""
    return np.array([0.0, 0.235, 0.49, 0.75], np.float32)[labels]


def box_of(image: Floats) -> Floats:
    """An image stretched to the box of what is bright in it: position and size are gone."""
    found = np.argwhere(image > 0.1)
    low, high = found.min(0), found.max(0) + 1
    inside = image[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    scale = [n / m for n, m in zip(inside.shape, BOX, strict=True)]
    offset = [(s - 1) / 2 for s in scale]
    return read_at(blurred(inside, 0.8), scale, BOX, offset=offset, mode="nearest")


def coarse(volume: Volume) -> tuple[Floats, NDArray[np.float64]]:
    """Voxels of about 2 mm and their affine in millimeters."""
    data: Floats = volume.data.numpy().astype(np.float32)
    factors = [max(1.0, READ_MM / s) for s in volume.spacing_mm]
    if max(factors) < 1.25:
        return data, volume.affine_mm
    shape = [max(1, int(n / f)) for n, f in zip(data.shape, factors, strict=True)]
    soft = blurred(data, [0.4 * np.sqrt(f * f - 1) for f in factors])
    offset = [(f - 1) / 2 for f in factors]
    return read_at(soft, factors, shape, offset=offset), _coarse_affine(volume)


def upright(volume: Volume) -> Volume:
    """A volume whose axes are the nearest to right, anterior, superior, however a file has them.

    What is found in a head would otherwise depend on it: boxes are compared axis by axis, and a
    descent of so many steps ends elsewhere when sums are rounded in another order.
    """
    order, flips = upright_axes(volume.affine)
    if order == (0, 1, 2) and not flips:
        return volume
    turned = np.eye(4)[[*order, 3]].T
    for axis in flips:
        turned[order[axis], [axis, 3]] = -1.0, volume.data.shape[order[axis]] - 1
    return replace(
        volume,
        data=volume.data.permute(order).flip(flips).contiguous(),
        affine=volume.affine @ turned,
    )


def _coarse_affine(volume: Volume) -> NDArray[np.float64]:
    factors = [max(1.0, READ_MM / s) for s in volume.spacing_mm]
    if max(factors) < 1.25:
        return volume.affine_mm
    step = np.diag([*factors, 1.0])
    step[:3, 3] = [(f - 1) / 2 for f in factors]
    return volume.affine_mm @ step


def _placed(
    labels: NDArray[np.uint8], affine: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Labels on the lattice that all heads share, and the affine that aligned them."""
    kinds = np.stack([(labels == k).astype(np.float32) for k in (1, 2, 3)])
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    soft = np.stack([blurred(k, [SOFT_MM / float(s) for s in spacing]) for k in kinds])
    matrix = aligned(torch.from_numpy(soft), affine, _template())
    points = moved_points(points_of(CANONICAL), matrix)
    read = read_points(torch.from_numpy(kinds), affine, points).numpy()
    rest = 1 - read.sum(0)
    return np.where(rest > read.max(0), 0, read.argmax(0) + 1).astype(np.uint8), matrix


@lru_cache(maxsize=1)
def _template() -> torch.Tensor:
    """(3, *COARSE.shape) mean tissue of the shipped model's people."""
    mean = read_pool(find_model(SHIPPED, KIND)).wide.mean(0, dtype=np.float32) / 255
    return torch.from_numpy(WIDE.read(mean.astype(np.float32), COARSE))
