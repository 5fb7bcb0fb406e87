"""How scans of training are made: random acquisitions within the limits of clinical ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from medical.acquisition.acquisition import Acquisition, SliceSampling
from medical.acquisition.sampling import Profile

FARTHEST_OFF = 0.3  # of a thickness, that is told


@dataclass(frozen=True)
class AcquisitionRange:
    """What acquisitions training may draw.

    Attributes:
        common_mm: Thicknesses drawn exactly, with equal chance.
        common_share: How often one of them is taken.
        thickness_mm: Limits of the others.
        gap_share: How often slices have a gap, up to 30 % of their thickness.
        box_share: How often the slice profile is a box.
        in_plane_share: How often the other two axes are coarse too, by a factor up to 2: a crop
            of k-space.
        noise_share: How often the scan is noisy, which it is cleaned of as scans of users are.
        noise_std: Largest noise, intensities in [0, 1].
        told_off: Standard deviation of the thickness that is told, as a share of the true one,
            since nobody knows that of a scan.
    """

    common_mm: tuple[float, ...] = (2.0, 3.0, 4.0, 4.0, 4.0, 5.0)
    common_share: float = 0.75
    thickness_mm: tuple[float, float] = (1.5, 6.5)
    gap_share: float = 0.15
    box_share: float = 0.15
    in_plane_share: float = 0.2
    noise_share: float = 0.25
    noise_std: float = 0.03
    told_off: float = 0.1

    def draw(
        self, generator: torch.Generator, spacing_mm: tuple[float, float, float]
    ) -> Acquisition:
        """A random acquisition in slices along D for a grid of this spacing."""
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
            in_plane = SliceSampling(coarse, profile="band")
        noise = self.noise_std * u[9] if u[8] < self.noise_share else 0.0
        return Acquisition((along_d, in_plane, in_plane), noise)

    def told(self, acquisition: Acquisition, generator: torch.Generator) -> Acquisition:
        """The acquisition as it is told of a scan: slices as far apart, not quite as thick."""
        along_d = acquisition.axes[0]
        if along_d is None or not self.told_off:
            return acquisition
        off = float(torch.randn((), generator=generator)) * self.told_off
        pitch = along_d.pitch_mm
        thickness = along_d.thickness_mm * (1.0 + min(max(off, -FARTHEST_OFF), FARTHEST_OFF))
        taken = replace(along_d, thickness_mm=thickness, gap_mm=pitch - thickness)
        return replace(acquisition, axes=(taken, *acquisition.axes[1:]))
