"""Patches of heads in any contrast, painted from label maps: SynthSeg's way (Billot et al. 2023).

The labels are turned, scaled and bent, and read at twice the grid's fineness, so that voxels hold
mixtures. Every label has an intensity of its own; for a part of the heads it is near that of
a usual contrast. Then come the skull strip, a bias field, thick slices, noise and gamma.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from core.tensors import Triple
from medical.anatomy.contrasts import smoothed
from medical.anatomy.structures import (
    FREESURFER,
    OUTSIDE,
    kinds_of,
    painted_labels,
    structure_of_kinds,
)

GRID_MM = 2.0
FINE = 2
"""Labels read along each axis of a voxel."""
USUAL = {
    "T1w": (0.10, 0.55, 0.85, 0.75, 0.15),
    "T2w": (0.90, 0.50, 0.30, 0.35, 0.60),
    "FLAIR": (0.08, 0.62, 0.48, 0.50, 0.35),
}
"""Intensities of fluid, gray matter, white matter, brainstem, and of all else."""
USUAL_SHARE = 0.5
STRIPPED_SHARE = 0.55
RIM, RIM_SHARE = 24, 0.5
"""Of the stripped heads, how many lose the fluid around the brain too."""
KNOTS = 5


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A person's labels at 1 mm, axes to the right, anterior and superior, cut to the head.

    Attributes:
        kinds: (X, Y, Z) uint8, indices of ``painted_labels``.
    """

    kinds: NDArray[np.uint8]

    @classmethod
    def of(cls, labels: NDArray[np.integer]) -> LabelMap:
        """From FreeSurfer's labels.

        Raises:
            Refusal: One is unknown.
        """
        kinds = kinds_of(labels)
        where = np.argwhere(kinds > 0)
        box = tuple(
            slice(int(a), int(b) + 1) for a, b in zip(where.min(0), where.max(0), strict=True)
        )
        return cls(np.ascontiguousarray(kinds[box]))

    def around_brain(self, margin: int = 6) -> LabelMap:
        """The box of the brain and so many voxels around it."""
        low, high = self.brain
        box = tuple(
            slice(max(0, int(a) - margin), int(b) + 4 + margin)
            for a, b in zip(low, high, strict=True)
        )
        return LabelMap(np.ascontiguousarray(self.kinds[box]))

    @cached_property
    def brain(self) -> NDArray[np.int64]:
        """(2, 3) first and last voxel of the brain along each axis."""
        within = ~(outer_kinds() | rim_kinds())
        inside = np.argwhere(within[self.kinds[::4, ::4, ::4]]) * 4
        return np.stack([inside.min(0), inside.max(0)])


def outer_kinds() -> NDArray[np.bool_]:
    """(kinds,) which lie outside the brain."""
    outer = (0, *FREESURFER[OUTSIDE])
    return np.array([group[0] in outer for group in painted_labels()])


def rim_kinds() -> NDArray[np.bool_]:
    """(kinds,) which is the fluid around the brain."""
    return np.array([group[0] == RIM for group in painted_labels()])


@dataclass(frozen=True, eq=False)
class Cut:
    """A bent patch of a map: what every voxel is made of.

    Attributes:
        shares: (kinds, D, H, W) float32, they add up to 1.
    """

    shares: Tensor


def draw_cut(head: LabelMap, size: Triple, random: torch.Generator) -> Cut:
    """A patch of ``size`` voxels of ``GRID_MM``, turned by up to 15 degrees, scaled and bent.

    Args:
        head: Whose.
        size: Voxels along each axis.
        random: Decides.
    """
    u = torch.rand(13, generator=random).numpy().astype(np.float64)
    low, high = head.brain
    center = low + (0.15 + 0.7 * u[:3]) * (high - low)
    turn = _turned((2 * u[3:6] - 1) * np.deg2rad(15))
    scale = 0.85 + 0.3 * u[6] + 0.16 * (u[7:10] - 0.5)
    step = turn @ np.diag(scale) @ np.diag([-1.0 if u[10] < 0.5 else 1.0, 1, 1])
    knots = (2 * torch.rand((1, 3, *(KNOTS,) * 3), generator=random) - 1) * float(6 * u[11])
    fine = [FINE * n for n in size]
    bend = F.interpolate(knots, fine, mode="trilinear", align_corners=True)[0].numpy()
    return _read(head, size, center, step, bend)


def whole_cut(head: LabelMap) -> Cut:
    """All of a head, as it is."""
    x, y, z = (int(np.ceil(n / FINE)) for n in head.kinds.shape)
    center = (np.array((x, y, z)) * FINE - 1) / 2
    still = np.zeros((3, *(FINE * n for n in (x, y, z))), np.float32)
    return _read(head, (x, y, z), center, np.eye(3), still)


def _read(
    head: LabelMap,
    size: Triple,
    center: NDArray[np.float64],
    step: NDArray[np.float64],
    bend: NDArray[np.float32],
) -> Cut:
    """What lies at ``step @ fine voxel + center + bend``, in voxels of the map."""
    fine = [FINE * n for n in size]
    step = GRID_MM / FINE * step
    index, inside = np.zeros(fine, np.int64), np.ones(fine, bool)
    places = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in fine]
    for axis, length in enumerate(head.kinds.shape):
        x, y, z = (step[axis, k].astype(np.float32) * places[k] for k in range(3))
        found = x[:, None, None] + y[:, None] + z + bend[axis]
        found = np.rint(found + np.float32(center[axis])).astype(np.int64)
        inside &= (found >= 0) & (found < length)
        index = index * length + found.clip(0, length - 1)
    kinds = np.where(inside, head.kinds.reshape(-1)[index], 0)
    return Cut(_shares(kinds, size))


def _shares(kinds: NDArray[np.uint8], size: Triple) -> Tensor:
    """(kinds, D, H, W): of the fine voxels in each voxel, the share of every kind."""
    count, voxels = len(painted_labels()), int(np.prod(size))
    d, h, w = size
    blocks = kinds.reshape(d, FINE, h, FINE, w, FINE).transpose(0, 2, 4, 1, 3, 5)
    blocks = blocks.reshape(voxels, FINE**3).astype(np.int64)
    flat = np.bincount(
        (np.arange(voxels)[:, None] + blocks * voxels).ravel(), None, voxels * count
    )
    return torch.from_numpy(flat.astype(np.float32) / FINE**3).view(count, d, h, w)


def paint(cut: Cut, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """An image of a patch and its truth: (1, D, H, W), (structures, D, H, W).

    The truth of a voxel is zero throughout where nothing is taught.
    """
    shares = cut.shares
    u = torch.rand(8, generator=random).tolist()
    gone = torch.zeros(len(shares), dtype=torch.bool)
    if u[0] < STRIPPED_SHARE:
        gone = torch.from_numpy(outer_kinds())
        if u[1] < RIM_SHARE:
            gone |= torch.from_numpy(rim_kinds())
    means, stds = intensities(random)
    means[gone], stds[gone] = 0.0, 0.0
    mean, std = torch.einsum("ck,kdhw->cdhw", torch.stack([means, stds]), shares)
    taught = torch.from_numpy(structure_of_kinds())
    taught[gone] = F.one_hot(torch.tensor(0), taught.shape[1]).float()
    truth = torch.einsum("ks,kdhw->sdhw", taught, shares)
    image = scanned(mean + std * torch.randn(mean.shape, generator=random), u[2:], random)
    return torch.where(mean > 0, image, 0.0)[None] if gone.any() else image[None], truth


def intensities(random: torch.Generator, contrast: str = "") -> tuple[Tensor, Tensor]:
    """(kinds,) means and standard deviations.

    Args:
        random: Decides.
        contrast: One of ``USUAL``; empty to draw that, too.
    """
    groups = painted_labels()
    u = torch.rand(4, len(groups), generator=random)
    means, stds = 0.02 + u[0], 0.08 * u[1]
    pick = torch.rand(2, generator=random).tolist()
    if contrast or pick[0] < USUAL_SHARE:
        drawn = "T1w" if pick[1] < 0.6 else "T2w" if pick[1] < 0.75 else "FLAIR"
        name = contrast or drawn
        usual = torch.tensor([USUAL[name][_place_of(group[0])] for group in groups])
        shared = 0.12 * (torch.rand(5, generator=random) - 0.5)
        shared = torch.stack([shared[_place_of(group[0])] for group in groups])
        spread = torch.tensor([0.5 if _place_of(group[0]) == 4 else 0.12 for group in groups])
        means = (usual + shared + spread * (u[2] - 0.5)).clamp(0.02, 1.2)
        stds = 0.05 * u[1]
    means[0] = 0.0 if u[3, 0] < 0.7 else 0.1 * u[3, 1]
    stds[0] = 0.02 * u[3, 2]
    return means, stds


def _place_of(label: int) -> int:
    if label in (24, 4, 5, 72, 14, 15):
        return 0
    if label in (3, 8, 10, 11, 12, 17, 18, 26):
        return 1
    if label in (2, 7, 85, 13):
        return 2
    return 3 if label in (16, 28) else 4


def scanned(image: Tensor, u: Sequence[float], random: torch.Generator) -> Tensor:
    """Bias, blur, thick slices, noise, gamma."""
    knots = torch.randn((1, 1, 4, 4, 4), generator=random) * (0.35 * u[0])
    image = (
        image.clamp(min=0)
        * F.interpolate(knots, image.shape, mode="trilinear", align_corners=True)[0, 0].exp()
    )
    image = smoothed(image[None], 0.25 + 0.5 * u[1])[0]
    if u[2] < 0.4:
        axis, width = int(u[2] / 0.4 * 3) % 3, 0.5 + 1.0 * u[3]
        image = _thick(image, axis, width)
    noise = torch.randn((2, *image.shape), generator=random) * (0.06 * u[4] ** 2)
    image = torch.hypot(image + noise[0], noise[1])
    top = image.flatten().kthvalue(int(0.995 * image.numel())).values.clamp(min=1e-3)
    image = (image / top).clamp(max=1.5) ** (0.7 + 0.7 * u[5])
    return image * (0.8 + 0.4 * float(torch.rand((), generator=random)))


def _thick(image: Tensor, axis: int, width: float) -> Tensor:
    place = torch.arange(-4.0, 5.0)
    kernel = torch.exp(-0.5 * (place / width) ** 2)
    shape = [9 if a == axis else 1 for a in range(3)]
    padding = [4 if a // 2 == 2 - axis else 0 for a in range(6)]
    grown = F.pad(image[None, None], padding, mode="replicate")
    return F.conv3d(grown, (kernel / kernel.sum()).view(1, 1, *shape))[0, 0]


def _turned(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [k for k in range(3) if k != axis]
        one = np.eye(3)
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    return turn
