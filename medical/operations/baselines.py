"""What a learned method must beat: cubic interpolation and iterated back-projection.

Protocol: slices with a Gaussian profile (FWHM = slice thickness), contiguous and centered;
intensities in [0, 1] by the 99.9 percentile of positive voxels; foreground = binary closing of
x > 0.08; back-projection = 12 steps from cubic B-spline with the true operator.
"""

from __future__ import annotations

import torch
from scipy import ndimage
from torch import Tensor

from medical.acquisition.acquisition import AcquiredGrid

FOREGROUND = 0.08


def foreground(x: Tensor, threshold: float = FOREGROUND) -> Tensor:
    """The binary closing of x > threshold, (D, H, W) bool, for intensities in [0, 1]."""
    structure = ndimage.generate_binary_structure(3, 1)
    closed = ndimage.binary_closing((x > threshold).cpu().numpy(), structure, iterations=1)
    return torch.from_numpy(closed).to(x.device)


def cubic(scan: Tensor, grid: AcquiredGrid) -> Tensor:
    """The scan (D, H, W) brought to the fine grid by cubic B-splines."""
    return grid.cubic().apply(scan)


def back_projection(scan: Tensor, grid: AcquiredGrid) -> Tensor:
    """The scan (D, H, W) brought to the fine grid by 12 steps of back-projection."""
    return grid.back_projection().apply(scan)
