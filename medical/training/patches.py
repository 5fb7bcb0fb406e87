"""Random patches of heads as training pairs: what was scanned, and what the scan left out.

Heads lie on the device of the training, and everything that takes time is done there. What is
drawn follows from one CPU generator, whatever the device: the same state gives the same batch,
bit for bit on the same device. The network sees the thick axis as D, so patches are turned that
way explicitly.

Axes: B batch, C channels, D depth (the thick axis), H, W.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from core.refusal import Refusal
from medical.acquisition.acquisition import AcquiredGrid, Acquisition
from medical.acquisition.protocols import AcquisitionRange
from medical.acquisition.scanning import ScannedPatch, training_pairs
from medical.anatomy.anatomy import Anatomy, AnatomyRange, Box
from medical.anatomy.augmentation import Augmentation, Variation
from medical.anatomy.contrasts import TissueMap, tissue_map
from medical.files.volume import Volume
from medical.operations.baselines import FOREGROUND

MAX_DRAWS = 50
LEVELS = 200
"""Steps of brightness from 0 to 1 by which patches and lesions are placed."""

Triple = tuple[float, float, float]
Order = tuple[int, int, int]


@dataclass(frozen=True)
class PatchRecipe:
    """What patches are, and how they come about.

    Attributes:
        size: Of a patch along the thick axis and the other two.
        slice_axis: Array axis of the heads that is taken as the thick one most of the time.
        other_axis_share: How often one of the other two is taken instead.
        min_foreground: Share of a patch that must be head.
        acquisitions: What may be drawn.
        anatomies: What may be changed of the heads before; nothing by default.
        augmentation: How intensities are varied and axes flipped; None for not at all.
    """

    size: tuple[int, int, int] = (32, 32, 32)
    slice_axis: int = 2
    other_axis_share: float = 0.2
    min_foreground: float = 0.3
    acquisitions: AcquisitionRange = field(default_factory=AcquisitionRange)
    anatomies: AnatomyRange = field(default_factory=AnatomyRange)
    augmentation: Augmentation | None = field(default_factory=Augmentation)


@dataclass(frozen=True, eq=False)
class PatchDraw:
    """All that was drawn of one patch.

    Attributes:
        head: Which one.
        order: The head's axes as the patch has them, the thick one first.
        outer: The patch with its margins in the head so turned.
        inner: The part without margins, in the patch.
        grid: Of the acquisition, laid over the outer patch.
        anatomy: What is changed before the scan.
        variation: Of its intensities and its direction.
        noise: Of the scan's real and imaginary parts; None for none.
        noise_std: Of it.
        told: The acquisition that the network is told, laid over the outer patch.
    """

    head: int
    order: Order
    outer: Box
    inner: Box
    grid: AcquiredGrid
    anatomy: Anatomy
    variation: Variation
    noise: Tensor | None
    noise_std: float
    told: AcquiredGrid


class HeadPatches:
    """Random patches of heads, degraded by random acquisitions, with what was lost as target.

    Args:
        volumes: Heads (D, H, W), intensities in [0, 1].
        spacing_mm: Grid spacing of each head; None for 1 mm.
        recipe: How they are cut, changed and scanned.
        labels: Label map of each head on its grid, None for a head without one; used where
            contrasts are changed, and made from the intensities where missing.
        maps: Tissues of each head on its grid, whole numbers from 0; None where batches tell none.
        device: Where the heads lie and batches are made.
    """

    def __init__(
        self,
        volumes: Sequence[Tensor],
        spacing_mm: Sequence[Triple] | None = None,
        recipe: PatchRecipe | None = None,
        *,
        labels: Sequence[Tensor | None] | None = None,
        maps: Sequence[Tensor] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        if not volumes:
            raise Refusal("volumes is empty: patches are cut from at least one head; pass one.")
        self.recipe = recipe or PatchRecipe()
        size = self.recipe.size
        too_small = [tuple(v.shape) for v in volumes if min(v.shape) < max(size)]
        if too_small:
            raise Refusal(
                f"a head has shape {too_small[0]}: patches of {size} must fit along every axis; "
                "take smaller patches or leave the head out."
            )
        self.device = torch.device(device)
        self.volumes = [v.to(torch.float16).contiguous().to(self.device) for v in volumes]
        self.spacing_mm = list(spacing_mm or [(1.0, 1.0, 1.0)] * len(self.volumes))
        self.maps = [labels.to(torch.uint8).to(self.device) for labels in maps]
        # A decision that asked the device would wait for all that the device has to do.
        on_cpu = self.device.type == "cpu"
        self.levels = None if on_cpu else [_levels(volume).cpu() for volume in self.volumes]
        self.tissues: list[TissueMap] = []
        if self.recipe.anatomies.contrast_share:
            given = labels or [None] * len(self.volumes)
            self.tissues = [
                tissue_map(head, None if label is None else label.to(self.device))
                for head, label in zip(self.volumes, given, strict=True)
            ]

    @classmethod
    def from_heads(
        cls,
        heads: Sequence[tuple[str, Volume]],
        recipe: PatchRecipe | None = None,
        *,
        labels: Mapping[str, Tensor] | None = None,
        maps: Sequence[Tensor] = (),
        device: torch.device | str = "cpu",
    ) -> HeadPatches:
        """Patches of loaded heads, each with its spacing and its labels if it has any."""
        volumes = [volume.data for _, volume in heads]
        spacing = [volume.spacing_mm for _, volume in heads]
        known = [(labels or {}).get(name) for name, _ in heads]
        return cls(volumes, spacing, recipe, labels=known, maps=maps, device=device)

    def draw_batch(self, batch_size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """``batch_size`` random training pairs on the device.

        Args:
            batch_size: Number of patches.
            generator: CPU generator that decides everything.

        Returns:
            target: (B, 1, D, H, W) float32, (truth - back-projection) / RESIDUAL_SCALE.
            concat: (B, 2, D, H, W), back-projection scaled to about [-1, 1] and how well each
                voxel was measured (1 at slice centers).
            spacing: (B, 3) grid spacing in mm.
            resolution: (B, 3) acquired resolution in mm.
            maps: (B, 1, D, H, W) tissues of the truth, where heads have maps.
        """
        draws = [self.draw(generator) for _ in range(batch_size)]
        pairs = training_pairs([self.obey(draw) for draw in draws])
        if self.maps:
            pairs["maps"] = torch.stack([self._map(draw) for draw in draws])[:, None]
        return pairs

    def _map(self, draw: PatchDraw) -> Tensor:
        """(D, H, W) tissues of the patch that was drawn."""
        view = self.maps[draw.head].permute(draw.order)
        found = draw.anatomy.labels(view, draw.outer, draw.grid.spacing_mm)
        return found.flip(draw.variation.flips)[draw.inner]

    def draw(self, generator: torch.Generator) -> PatchDraw:
        """All that is random of one patch."""
        recipe = self.recipe
        head = _randint(len(self.volumes), generator)
        order = self._draw_order(generator)
        spacing = self._spacing(head, order)
        acquisition = recipe.acquisitions.draw(generator, spacing)
        start = self._draw_corner(head, order, generator)
        outer, inner = self._boxes(head, order, start, spacing, acquisition)
        anatomy = Anatomy()
        if not recipe.anatomies.empty:
            kinds = len(self.tissues[head].centers) if self.tissues else 0
            levels = self._levels(head, order, outer)
            anatomy = recipe.anatomies.draw(generator, levels, inner, spacing, kinds)
        variation = recipe.augmentation.draw(generator) if recipe.augmentation else Variation()
        d, h, w = (part.stop - part.start for part in outer)
        grid = acquisition.on_grid((d, h, w), spacing)
        noise = None
        if acquisition.noise_std > 0:
            shape = (2, *grid.scan_shape())
            noise = acquisition.noise_std * torch.randn(shape, generator=generator)
        told = recipe.acquisitions.told(acquisition, generator)
        taken = told.on_grid((d, h, w), spacing, grid.scan_shape())
        std = acquisition.noise_std
        return PatchDraw(head, order, outer, inner, grid, anatomy, variation, noise, std, taken)

    def obey(self, draw: PatchDraw) -> ScannedPatch:
        """The patch that was drawn, on the device, ready to be scanned."""
        tissues = None
        if draw.anatomy.contrast is not None:
            tissues = self.tissues[draw.head].turned(draw.order)
        view = self.volumes[draw.head].permute(draw.order)  # the head, thick axis first
        truth = draw.anatomy.apply(view, draw.outer, draw.grid.spacing_mm, tissues)
        truth = draw.variation.apply(truth)
        noise = draw.noise, draw.noise_std
        return ScannedPatch(truth, draw.grid, draw.inner, *noise, draw.told)

    def _draw_order(self, generator: torch.Generator) -> Order:
        """A random thick axis and the other two in random order."""
        chosen = self.recipe.slice_axis
        if float(torch.rand((), generator=generator)) < self.recipe.other_axis_share:
            chosen = (self.recipe.slice_axis + 1 + _randint(2, generator)) % 3
        others = [axis for axis in range(3) if axis != chosen]
        if _randint(2, generator):
            others.reverse()
        return chosen, others[0], others[1]

    def _spacing(self, head: int, order: Order) -> Triple:
        d, h, w = (self.spacing_mm[head][axis] for axis in order)
        return d, h, w

    def _levels(self, head: int, order: Order, box: tuple[slice, ...]) -> Tensor:
        """The brightness of a part of a turned head, on the CPU; 0 outside the head."""
        if self.levels is None:
            return _levels(self.volumes[head].permute(order)[box])
        return self.levels[head].permute(order)[box]

    def _draw_corner(self, head: int, order: Order, generator: torch.Generator) -> list[int]:
        """The corner of a random patch that holds enough head.

        Corners are drawn anywhere first, then around bright voxels.
        """
        shape = [self.volumes[head].shape[axis] for axis in order]
        room = [n - s for n, s in zip(shape, self.recipe.size, strict=True)]
        start = [0, 0, 0]
        for attempt in range(MAX_DRAWS):
            start = [_randint(n + 1, generator) for n in room]
            if attempt >= MAX_DRAWS // 2:
                start = self._around_bright(head, order, room, generator)
            box = tuple(slice(a, a + s, 4) for a, s in zip(start, self.recipe.size, strict=True))
            if (
                float((self._levels(head, order, box) > 0).float().mean())
                >= self.recipe.min_foreground
            ):
                break
        return start

    def _around_bright(
        self, head: int, order: Order, room: list[int], generator: torch.Generator
    ) -> list[int]:
        """The corner of a patch around a random voxel of the head."""
        every = (slice(None, None, 8),) * 3
        bright = self._levels(head, order, every).nonzero() * 8  # (N, 3)
        if len(bright) == 0:
            raise Refusal(
                f"a head of shape {tuple(self.volumes[head].shape)} has no voxel above "
                f"{FOREGROUND}: heads have intensities in [0, 1]; normalize it or leave it out."
            )
        center = bright[_randint(len(bright), generator)].tolist()
        sizes = zip(center, self.recipe.size, room, strict=True)
        return [min(max(c - s // 2, 0), most) for c, s, most in sizes]

    def _boxes(
        self, head: int, order: Order, start: list[int], spacing: Triple, acquisition: Acquisition
    ) -> tuple[Box, Box]:
        """The patch with a margin along coarse axes, and where the patch lies in it."""
        outer, inner = [], []
        for axis, sampling in enumerate(acquisition.axes):
            margin = 0 if sampling is None else round(3 * sampling.pitch_mm / spacing[axis]) + 1
            low = max(0, start[axis] - margin)
            size = self.volumes[head].shape[order[axis]]
            high = min(size, start[axis] + self.recipe.size[axis] + margin)
            outer.append(slice(low, high))
            inner.append(slice(start[axis] - low, start[axis] - low + self.recipe.size[axis]))
        return (outer[0], outer[1], outer[2]), (inner[0], inner[1], inner[2])


def _levels(x: Tensor) -> Tensor:
    """Brightness in whole steps, uint8; 0 where there is no head."""
    steps = (LEVELS * x.float()).clamp(1, 255).to(torch.uint8)  # (D, H, W)
    return torch.where(x > FOREGROUND, steps, 0)


def _randint(high: int, generator: torch.Generator) -> int:
    return int(torch.randint(high, (), generator=generator))
