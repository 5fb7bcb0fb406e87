"""Lesions put into healthy heads: small rough blobs, brighter or darker than what they lie in.

Super-resolution that never saw one takes it for noise. A blob is part of the truth, so leaving
it out costs. Sizes follow the masks of Lesjak et al. 2017: of 4,722 lesions half have a radius
below 1.2 mm, one in a hundred above 6.3 mm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from core.tensors import sent

Triple = tuple[float, float, float]

ROUGH = 5
"""Knots per axis of the field that makes a blob's border rough."""
EXTENT = 1.8
"""Half the side of the box that holds a blob, in radii."""


@dataclass(frozen=True, eq=False)
class Lesion:
    """One blob.

    Attributes:
        center: Its voxel in the patch.
        radii_mm: Along D, H, W.
        change: Of the intensity at its middle, as a share of the way to 1; negative to 0.
        rough: (ROUGH, ROUGH, ROUGH), what is added to the distance from the middle, in radii.
    """

    center: tuple[int, int, int]
    radii_mm: Triple
    change: float
    rough: Tensor

    def add_to(self, x: Tensor, spacing_mm: Triple, inside: Tensor) -> None:
        """Add the blob to a patch (D, H, W) in place, where ``inside`` holds."""
        parts, distance = [], x.new_zeros(())
        for axis, (at, mm) in enumerate(zip(self.center, spacing_mm, strict=True)):
            half = max(1, math.ceil(EXTENT * self.radii_mm[axis] / mm))
            low, high = max(0, at - half), min(x.shape[axis], at + half + 1)
            parts.append(slice(low, high))
            away = (torch.arange(low, high, device=x.device) - at) * (mm / self.radii_mm[axis])
            distance = distance + away.square().view([-1 if a == axis else 1 for a in range(3)])
        box = tuple(parts)
        rough = sent(self.rough, x.device)[None, None]  # (1, 1, ROUGH, ROUGH, ROUGH)
        rough = F.interpolate(rough, distance.shape, mode="trilinear", align_corners=True)[0, 0]
        edge = 0.3 * max(spacing_mm) / min(self.radii_mm)  # about a voxel wide
        blob = torch.sigmoid((1.0 - distance.sqrt() - rough) / edge)  # (d, h, w) of the box
        blob = blob * (distance < EXTENT**2) * inside[box]
        aim = 1.0 if self.change > 0 else 0.0
        x[box] += abs(self.change) * blob * (aim - x[box])


@dataclass(frozen=True)
class LesionRange:
    """What lesions training may draw.

    Attributes:
        most: Largest number of them in a patch.
        radius_mm: Limits of the mean radius; small ones are as frequent as large ones, by ratio.
        change: Limits of the change, a share of the way to 1 or to 0.
        roughness: Standard deviation of the border, in radii.
    """

    most: int = 4
    radius_mm: tuple[float, float] = (1.2, 6.0)
    change: tuple[float, float] = (0.2, 0.8)
    roughness: float = 0.2

    def draw(
        self, generator: torch.Generator, levels: Tensor, inner: tuple[slice, slice, slice]
    ) -> tuple[Lesion, ...]:
        """Random lesions for a patch.

        Args:
            generator: Decides everything.
            levels: (D, H, W) brightness of the patch, 0 where there is no head; lesions lie in
                its brighter half, where the white matter of a T1-weighted head is.
            inner: The part of the patch they lie in.
        """
        coarse = levels[inner][::2, ::2, ::2]
        bright = coarse[coarse > 0]
        if len(bright) == 0:
            return ()
        places = (coarse >= bright.median()).nonzero() * 2  # (N, 3)
        places += torch.tensor([part.start for part in inner])
        count = 1 + int(torch.randint(self.most, (), generator=generator))
        return tuple(self._draw_one(generator, places) for _ in range(count))

    def _draw_one(self, generator: torch.Generator, places: Tensor) -> Lesion:
        at = places[int(torch.randint(len(places), (), generator=generator))].tolist()
        u = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
        low, high = self.radius_mm
        radius = low * (high / low) ** u[0]
        d, h, w = (radius * (0.7 + 0.7 * stretch) for stretch in u[1:4])
        change = self.change[0] + (self.change[1] - self.change[0]) * u[4]
        rough = self.roughness * torch.randn((ROUGH, ROUGH, ROUGH), generator=generator)
        return Lesion((at[0], at[1], at[2]), (d, h, w), change if u[5] < 0.5 else -change, rough)
