"""The cleaning of ``medical.acquisition.noise`` on a device, where training makes its scans.

What stands there computes in NumPy and decides the bits of users' scans; this agrees with it to
rounding, computes in torch by matrices of cosine waves, and waits for no device.

Axes: S slices, H and W in plane; intensities in [0, 1].
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft
from torch import Tensor

from core.tensors import sent
from medical.acquisition.noise import BLOCK, STRIDE, THRESHOLD, ends_of


def denoised_there(scan: Tensor, noise_std: float) -> Tensor:
    """As ``denoised``, where the scan lies.

    Args:
        scan: (S, H, W), intensities in [0, 1].
        noise_std: Of the noise, above 0.
    """
    return _filtered(scan, noise_std, _filtered(scan, noise_std, None))


def _filtered(noisy: Tensor, noise_std: float, guide: Tensor | None) -> Tensor:
    d, h, w = (sent(torch.from_numpy(_cosines(n)), noisy.device) for n in BLOCK)
    total, weights = torch.zeros_like(noisy), torch.zeros_like(noisy)
    ranges = (range(0, size, step) for size, step in zip(BLOCK, STRIDE, strict=True))
    for shift in itertools.product(*ranges):
        ends = ends_of(tuple(noisy.shape), shift)

        def waves(x: Tensor, ends: Sequence[tuple[int, int]] = ends) -> Tensor:
            for axis, pads in enumerate(ends):
                places = np.pad(np.arange(x.shape[axis]), pads, mode="symmetric")
                x = x.index_select(axis, sent(torch.from_numpy(places), x.device))
            x = x.unfold(0, BLOCK[0], BLOCK[0]).unfold(1, BLOCK[1], BLOCK[1])
            x = x.unfold(2, BLOCK[2], BLOCK[2])  # (blocks along D, H, W; a block's D, H, W)
            return torch.einsum("xyzdhw,ad,bh,cw->xyzabc", x, d, h, w)

        found = waves(noisy)
        if guide is None:
            share = (found.abs() > THRESHOLD * noise_std).to(found.dtype)
        else:
            power = waves(guide).square()
            share = power / (power + noise_std**2)
        share[..., 0, 0, 0] = 1.0
        weight = 1.0 / share.square().sum((3, 4, 5), keepdim=True).clamp(min=1.0)
        blocks = torch.einsum("xyzabc,ad,bh,cw->xyzdhw", found * share, d, h, w) * weight
        part = tuple(slice(low, low + n) for (low, _), n in zip(ends, noisy.shape, strict=True))
        total += _whole(blocks)[part]
        weights += _whole(weight.expand_as(blocks))[part]
    return total / weights


def _whole(blocks: Tensor) -> Tensor:
    """Blocks (x, y, z, D, H, W) side by side."""
    return blocks.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3).flatten(0, 1)


def _cosines(count: int) -> NDArray[np.float32]:
    """The matrix (count, count) of orthonormal cosine waves."""
    return np.asarray(fft.dct(np.eye(count), axis=0, norm="ortho"), dtype=np.float32)
