"""Training pairs from high-resolution heads: what was scanned, and what the scan left out.

Everything drawn follows from one ``torch.Generator``: the same state gives the same batch, bit
for bit. The network sees the thick axis as D, so patches are turned that way explicitly.

Axes: B batch, C channels, D depth (the thick axis), H, W.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from core.operators import AxisOperator
from medical.acquisition import AcquiredGrid, Acquisition, Profile, SliceSampling
from medical.augmentation import Augmentation
from medical.baselines import FOREGROUND
from medical.intensity import measure_scale
from medical.nifti import read_volume
from medical.residual import RESIDUAL_SCALE, condition
from medical.volume import Volume

VALIDATION_EVERY = 6
MAX_DRAWS = 50

Triple = tuple[float, float, float]


def load_heads(folder: str | Path) -> list[tuple[str, Volume]]:
    """Return (subject id, volume) of every T1w head in a BIDS folder, intensities in [0, 1].

    Args:
        folder: BIDS root with ``sub-*/anat/sub-*_T1w.nii.gz``.
    """
    paths = sorted(Path(folder).glob("sub-*/anat/sub-*_T1w.nii.gz"))
    if not paths:
        raise ValueError(
            f"{folder} holds no sub-*/anat/sub-*_T1w.nii.gz: heads are read from a BIDS folder; "
            "point to its root."
        )
    heads = []
    for path in paths:
        volume = read_volume(path)
        scaled = measure_scale(volume.data).apply(volume.data)
        heads.append((path.name.split("_")[0], volume.with_data(scaled, dtype="float32")))
    return heads


def split_heads(
    heads: Sequence[tuple[str, Volume]], split: Literal["train", "validation"]
) -> list[tuple[str, Volume]]:
    """Return one side of the fixed split: every sixth subject, by id, is for validation."""
    ordered = sorted(heads, key=lambda head: head[0])
    held_out = {i for i in range(len(ordered)) if i % VALIDATION_EVERY == VALIDATION_EVERY - 1}
    return [h for i, h in enumerate(ordered) if (i in held_out) == (split == "validation")]


@dataclass(frozen=True)
class AcquisitionRange:
    """What acquisitions training may draw.

    Attributes:
        common_mm: thicknesses drawn exactly, with equal chance.
        common_share: how often one of them is taken.
        thickness_mm: limits of the others.
        gap_share: how often slices have a gap, up to 30 % of their thickness.
        box_share: how often the slice profile is a box.
        in_plane_share: how often the other two axes are coarse too, by a factor up to 2.
        noise_share: how often the scan is noisy.
        noise_std: largest noise, intensities in [0, 1].
    """

    common_mm: tuple[float, ...] = (2.0, 3.0, 4.0, 4.0, 4.0, 5.0)
    common_share: float = 0.75
    thickness_mm: tuple[float, float] = (1.5, 6.5)
    gap_share: float = 0.15
    box_share: float = 0.15
    in_plane_share: float = 0.08
    noise_share: float = 0.1
    noise_std: float = 0.02

    def draw(self, generator: torch.Generator, spacing_mm: Triple) -> Acquisition:
        """Return a random acquisition in slices along D for a grid of this spacing."""
        u = torch.rand(12, generator=generator, dtype=torch.float64).tolist()
        low, high = self.thickness_mm
        thickness = low + (high - low) * u[1]
        if u[0] < self.common_share:
            thickness = self.common_mm[int(u[1] * len(self.common_mm))]
        thickness = max(thickness, spacing_mm[0])
        gap = 0.3 * thickness * u[3] if u[2] < self.gap_share else 0.0
        profile: Profile = "box" if u[4] < self.box_share else "gaussian"
        phase = (u[5] - 0.5) * (thickness + gap)
        along_d = SliceSampling(thickness, gap, profile, phase)
        in_plane: SliceSampling | None = None
        if u[6] < self.in_plane_share:
            coarse = max(spacing_mm[1], spacing_mm[2]) * (1.0 + u[7])
            in_plane = SliceSampling(coarse)
        noise = self.noise_std * u[9] if u[8] < self.noise_share else 0.0
        return Acquisition((along_d, in_plane, in_plane), noise)


class HeadPatches:
    """Random patches of heads, degraded by random acquisitions, with what was lost as target.

    Args:
        volumes: heads (D, H, W), intensities in [0, 1].
        spacing_mm: grid spacing of each head; None for 1 mm.
        size: of a patch along the thick axis and the other two.
        slice_axis: array axis of the heads that is taken as the thick one most of the time.
        other_axis_share: how often one of the other two is taken instead.
        acquisitions: what may be drawn.
        augment: whether intensities are varied (contrast, bias field) and axes flipped.
        min_foreground: share of a patch that must be head.
    """

    def __init__(
        self,
        volumes: Sequence[Tensor],
        spacing_mm: Sequence[Triple] | None = None,
        *,
        size: tuple[int, int, int] = (32, 32, 32),
        slice_axis: int = 2,
        other_axis_share: float = 0.2,
        acquisitions: AcquisitionRange | None = None,
        augment: bool = True,
        min_foreground: float = 0.3,
    ) -> None:
        if not volumes:
            raise ValueError("volumes is empty: patches are cut from at least one head; pass one.")
        self.volumes = [volume.to(torch.float16).contiguous() for volume in volumes]
        self.spacing_mm = list(spacing_mm or [(1.0, 1.0, 1.0)] * len(self.volumes))
        self.size = size
        self.slice_axis = slice_axis
        self.other_axis_share = other_axis_share
        self.acquisitions = acquisitions or AcquisitionRange()
        self.augmentation = Augmentation() if augment else None
        self.min_foreground = min_foreground
        too_small = [tuple(v.shape) for v in self.volumes if min(v.shape) < max(size)]
        if too_small:
            raise ValueError(
                f"a head has shape {too_small[0]}: patches of {size} must fit along every axis; "
                "take smaller patches or leave the head out."
            )

    @classmethod
    def from_heads(cls, heads: Sequence[tuple[str, Volume]], **options: object) -> HeadPatches:
        """Return patches of loaded heads, each with its own spacing."""
        volumes = [volume.data for _, volume in heads]
        return cls(volumes, [volume.spacing_mm for _, volume in heads], **options)  # type: ignore[arg-type]

    def draw_batch(self, batch_size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return ``batch_size`` random training pairs.

        Args:
            batch_size: number of patches.
            generator: CPU generator that decides everything.

        Returns:
            target: (B, 1, D, H, W) float32, (truth - back-projection) / RESIDUAL_SCALE.
            concat: (B, 2, D, H, W), back-projection scaled to about [-1, 1] and how well each
                voxel was measured (1 at slice centers).
            spacing: (B, 3) grid spacing in mm.
            resolution: (B, 3) acquired resolution in mm.
        """
        pairs = [self._draw_pair(generator) for _ in range(batch_size)]
        return {name: torch.stack([pair[name] for pair in pairs]) for name in pairs[0]}

    def _draw_pair(self, generator: torch.Generator) -> dict[str, Tensor]:
        volume, spacing = self._draw_view(generator)
        acquisition = self.acquisitions.draw(generator, spacing)
        start = self._draw_corner(volume, generator)
        crop, inner = self._with_margin(volume, start, spacing, acquisition)
        truth = crop.to(torch.float32)
        if self.augmentation is not None:
            truth = self.augmentation.apply(truth, generator)
        grid = acquisition.on_grid(_shape(truth), spacing)
        scan = grid.operator().apply(truth)
        if acquisition.noise_std > 0:
            scan = scan + acquisition.noise_std * torch.randn(scan.shape, generator=generator)
        return _pair(truth, scan, grid, inner)

    def _draw_view(self, generator: torch.Generator) -> tuple[Tensor, Triple]:
        """Return a random head with a random thick axis first, flipped at random."""
        index = _randint(len(self.volumes), generator)
        chosen = self.slice_axis
        if float(torch.rand((), generator=generator)) < self.other_axis_share:
            chosen = (self.slice_axis + 1 + _randint(2, generator)) % 3
        others = [axis for axis in range(3) if axis != chosen]
        if _randint(2, generator):
            others.reverse()
        order = [chosen, *others]
        view = self.volumes[index].permute(order)
        spacing = [self.spacing_mm[index][axis] for axis in order]
        return view, (spacing[0], spacing[1], spacing[2])

    def _draw_corner(self, volume: Tensor, generator: torch.Generator) -> list[int]:
        """Return the corner of a random patch that holds enough head.

        Corners are drawn anywhere first, then around bright voxels.
        """
        room = [n - s for n, s in zip(volume.shape, self.size, strict=True)]
        start = [0, 0, 0]
        for attempt in range(MAX_DRAWS):
            start = [_randint(n + 1, generator) for n in room]
            if attempt >= MAX_DRAWS // 2:
                start = self._around_bright(volume, room, generator)
            d, h, w = (slice(a, a + s, 4) for a, s in zip(start, self.size, strict=True))
            if float((volume[d, h, w] > FOREGROUND).float().mean()) >= self.min_foreground:
                break
        return start

    def _around_bright(
        self, volume: Tensor, room: list[int], generator: torch.Generator
    ) -> list[int]:
        """Return the corner of a patch around a random voxel of the head."""
        bright = (volume[::8, ::8, ::8] > FOREGROUND).nonzero() * 8
        if len(bright) == 0:
            raise ValueError(
                f"a head of shape {tuple(volume.shape)} has no voxel above {FOREGROUND}: heads "
                "have intensities in [0, 1]; normalize it or leave it out."
            )
        center = bright[_randint(len(bright), generator)].tolist()
        sizes = zip(center, self.size, room, strict=True)
        return [min(max(c - s // 2, 0), most) for c, s, most in sizes]

    def _with_margin(
        self, volume: Tensor, start: list[int], spacing: Triple, acquisition: Acquisition
    ) -> tuple[Tensor, tuple[slice, slice, slice]]:
        """Return the patch with a margin along coarse axes, and where the patch lies in it."""
        outer, inner = [], []
        for axis, sampling in enumerate(acquisition.axes):
            margin = 0 if sampling is None else round(3 * sampling.pitch_mm / spacing[axis]) + 1
            low = max(0, start[axis] - margin)
            high = min(volume.shape[axis], start[axis] + self.size[axis] + margin)
            outer.append(slice(low, high))
            inner.append(slice(start[axis] - low, start[axis] - low + self.size[axis]))
        return volume[outer[0], outer[1], outer[2]], (inner[0], inner[1], inner[2])


def _pair(
    truth: Tensor, scan: Tensor, grid: AcquiredGrid, inner: tuple[slice, slice, slice]
) -> dict[str, Tensor]:
    back = grid.back_projection()
    d, h, w = (
        None if m is None else m[part] for m, part in zip(back.matrices, inner, strict=True)
    )
    back_projection = AxisOperator((d, h, w)).apply(scan)
    residual = (truth[inner] - back_projection) / RESIDUAL_SCALE
    return {
        "target": residual[None],
        "concat": condition(back_projection, grid.evidence_map()[inner]),
        "spacing": torch.tensor(grid.spacing_mm, dtype=torch.float32),
        "resolution": torch.tensor(grid.resolution_mm(), dtype=torch.float32),
    }


def _randint(high: int, generator: torch.Generator) -> int:
    return int(torch.randint(high, (), generator=generator))


def _shape(x: Tensor) -> tuple[int, int, int]:
    d, h, w = x.shape
    return d, h, w
