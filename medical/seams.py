"""Seam energy: whether a volume shows where its windows met."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Window = tuple[slice, slice, slice]


def seam_energy(
    x: Tensor, windows: Sequence[Window], periods: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> float:
    """Return the energy of voxel-to-voxel changes at window borders over that elsewhere.

    Each border plane is compared with planes nearby along the same axis that are no border, a
    whole number of slice periods away, so that neither anatomy nor the rhythm of the slices is
    taken for a seam. 1 is seamless; without inner borders the answer is 1.

    Args:
        x: (D, H, W).
        windows: slices along D, H, W that were blended.
        periods: slice distance in voxels along D, H, W; 1 where the grid is the scan's own.
    """
    at_border, elsewhere = 0.0, 0.0
    for axis in range(3):
        ends = {w[axis].start for w in windows} | {w[axis].stop for w in windows}
        borders = sorted(e for e in ends if 0 < e < x.shape[axis])
        # energy[i] belongs to the step from plane i to plane i + 1; border b is the step b - 1
        others = tuple(a for a in range(3) if a != axis)
        energy = x.diff(dim=axis).double().square().mean(dim=others)
        taken = {b - 1 for b in borders}
        for border in borders:
            steps = [round(k * max(2.0, periods[axis])) for k in (-2, -1, 1, 2)]
            near = [border - 1 + s for s in steps]
            near = [i for i in near if 0 <= i < len(energy) and i not in taken]
            if near:
                at_border += float(energy[border - 1])
                elsewhere += float(energy[torch.tensor(near)].mean())
    return at_border / elsewhere if elsewhere > 0 else 1.0
