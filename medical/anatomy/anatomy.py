"""What is changed of a head before it is scanned: its shape, its contrast, its health."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from medical.anatomy.contrasts import Contrast, ContrastRange, TissueMap
from medical.anatomy.deformations import Deformation, Triple, draw_deformation, reach
from medical.anatomy.lesions import Lesion, LesionRange
from medical.operations.baselines import FOREGROUND

Box = tuple[slice, slice, slice]
Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The changes of one patch; an empty one leaves the head as it is."""

    deformation: Deformation | None = None
    lesions: tuple[Lesion, ...] = ()
    contrast: Contrast | None = None

    def apply(
        self, head: Tensor, box: Box, spacing_mm: Triple, tissues: TissueMap | None
    ) -> Tensor:
        """The changed patch, (D, H, W) float32 on the head's device.

        Args:
            head: The whole head, (D, H, W).
            box: Where the patch lies in it.
            spacing_mm: Of the head's voxels.
            tissues: Of the head, turned as it is; needed where the contrast changes.
        """
        x = self._read(head, box, spacing_mm)
        x = x.to(torch.float32, memory_format=torch.contiguous_format)
        inside = x > FOREGROUND if self.lesions else None
        if self.contrast is not None:
            assert tissues is not None  # whoever draws contrasts has made them
            labels = tissues.labels
            if labels is not None:
                labels = self.labels(labels, box, spacing_mm)
            x = self.contrast.apply(x, tissues.centers, labels)
        if inside is not None:
            x = x.clone()  # the patch may still be the head itself
            for lesion in self.lesions:
                lesion.add_to(x, spacing_mm, inside)
        return x

    def labels(self, head: Tensor, box: Box, spacing_mm: Triple) -> Tensor:
        """The patch (D, H, W) of a label map of the whole head, bent as the head is."""
        return self._read(head, box, spacing_mm, labels=True)

    def _read(self, head: Tensor, box: Box, spacing_mm: Triple, *, labels: bool = False) -> Tensor:
        """The patch, displaced; more of the head is read where displacements reach it."""
        if self.deformation is None:
            return head[box]
        wide, origin = [], []
        for part, size, far in zip(box, head.shape, reach(spacing_mm), strict=True):
            low = max(0, part.start - far)
            wide.append(slice(low, min(size, part.stop + far)))
            origin.append(part.start - low)
        corner = (origin[0], origin[1], origin[2])
        return self.deformation.apply(head[tuple(wide)], corner, labels=labels)


@dataclass(frozen=True)
class AnatomyRange:
    """What changes training may draw, each in a share of the patches.

    Attributes:
        contrast_share: How often each tissue gets a random intensity.
        lesion_share: How often there are lesions.
        deformation_share: How often the head has another shape.
        contrasts: Limits of the intensities.
        lesions: Limits of the lesions.
    """

    contrast_share: float = 0.0
    lesion_share: float = 0.0
    deformation_share: float = 0.0
    contrasts: ContrastRange = field(default_factory=ContrastRange)
    lesions: LesionRange = field(default_factory=LesionRange)

    @property
    def empty(self) -> bool:
        """Whether nothing is ever changed; then nothing is drawn either."""
        return not (self.contrast_share or self.lesion_share or self.deformation_share)

    def draw(
        self,
        generator: torch.Generator,
        levels: Tensor,
        inner: Box,
        spacing_mm: Triple,
        kinds: int,
    ) -> Anatomy:
        """Random changes of a patch.

        Args:
            generator: Decides everything.
            levels: (D, H, W) brightness of the patch on the CPU, 0 outside the head.
            inner: The part of the patch that is trained on, where lesions lie.
            spacing_mm: Of its voxels.
            kinds: Number of labels of the head's tissues, with the background.
        """
        d, h, w = levels.shape
        u = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
        deformation, lesions, contrast = None, (), None
        if u[0] < self.deformation_share:
            deformation = draw_deformation(generator, (d, h, w), spacing_mm)
        if u[1] < self.lesion_share:
            lesions = self.lesions.draw(generator, levels, inner)
        if u[2] < self.contrast_share:
            contrast = self.contrasts.draw(generator, kinds)
        return Anatomy(deformation, lesions, contrast)
