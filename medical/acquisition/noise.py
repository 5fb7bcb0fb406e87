"""The noise of a scan: how strong it is, from the scan alone, and most of it taken away.

Axes: S slices, H and W in plane; intensities in [0, 1].
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from core.arrays import Tensor, like, plain

FOREGROUND = 0.08
SIDE, EVEN_SHARE, FEWEST = 5, 0.1, 250
BLOCK, STRIDE = (4, 8, 8), (2, 4, 4)
THRESHOLD = 2.7  # noise standard deviations below which a wave of a block counts as noise

Array = NDArray[np.float32]
Shift = tuple[int, ...]


def estimate_noise(scan: Tensor) -> float | None:
    """The standard deviation of the noise, by the evenest tissue; None for too little.

    Of all in-plane squares of 5 x 5 voxels of tissue the tenth with the least variance is taken.
    Anatomy leaves some of their principal components empty; noise fills all alike (Pyatykh and
    others 2013, "Image noise level estimation by principal component analysis").

    Args:
        scan: (S, H, W), intensities in [0, 1].
    """
    slices = plain(scan)
    if min(slices.shape[1:]) < SIDE:
        return None
    variances = [_squares(each).var(axis=1) for each in slices]
    variance = np.concatenate(variances)
    if len(variance) * EVEN_SHARE < FEWEST:
        return None
    most = np.quantile(variance, EVEN_SHARE)
    even = [_squares(x)[v <= most] for x, v in zip(slices, variances, strict=True)]
    even = np.concatenate(even)
    least = np.linalg.eigvalsh(np.cov(even.T))[0]
    return float(np.sqrt(max(0.0, least)))


def _squares(image: Array) -> NDArray[np.float64]:
    """The squares (N, 25) of an image (H, W) that hold nothing but tissue."""
    windows = np.lib.stride_tricks.sliding_window_view(image.astype(np.float64), (SIDE, SIDE))
    return windows[windows.min(axis=(2, 3)) > FOREGROUND].reshape(-1, SIDE * SIDE)


def denoised(scan: Tensor, noise_std: float) -> Tensor:
    """The scan without the waves that noise explains, block by overlapping block.

    Blocks are written as cosine waves; weak waves are dropped (Yaroslavsky and others 2001), and
    what is left tells how much of each wave to keep (Wiener). Blocks with few waves count more.

    Args:
        scan: (S, H, W), intensities in [0, 1].
        noise_std: of the noise; 0, or next to it, returns the scan.
    """
    if noise_std <= 0.0 or np.float32(noise_std**2) == 0.0:
        return scan
    noisy = plain(scan).astype(np.float32)
    first = _filtered(noisy, noise_std, None)
    return like(_filtered(noisy, noise_std, first), scan)


def _filtered(noisy: Array, noise_std: float, guide: Array | None) -> Array:
    total, weights = np.zeros_like(noisy), np.zeros_like(noisy)
    ranges = (range(0, size, step) for size, step in zip(BLOCK, STRIDE, strict=True))
    for shift in itertools.product(*ranges):
        waves = _waves(noisy, shift)
        if guide is None:
            share = (np.abs(waves) > THRESHOLD * noise_std).astype(np.float32)
        else:
            power = _waves(guide, shift) ** 2
            share = power / (power + np.float32(noise_std**2))
        share[..., 0, 0, 0] = 1.0
        weight = 1.0 / np.maximum(1.0, (share**2).sum(axis=(3, 4, 5), keepdims=True))
        blocks = fft.idctn(waves * share, axes=(3, 4, 5), norm="ortho") * weight
        total += _joined(blocks, shift, noisy.shape)
        weights += _joined(np.broadcast_to(weight, blocks.shape), shift, noisy.shape)
    return total / weights


def _waves(x: Array, shift: Shift) -> Array:
    """The cosine waves of blocks laid side by side, the first one shifted outward."""
    padded = np.pad(x, ends_of(x.shape, shift), mode="symmetric")
    counts = [size // block for size, block in zip(padded.shape, BLOCK, strict=True)]
    shape = [part for pair in zip(counts, BLOCK, strict=True) for part in pair]
    blocks = padded.reshape(shape).transpose(0, 2, 4, 1, 3, 5)
    return np.asarray(fft.dctn(blocks, axes=(3, 4, 5), norm="ortho"), dtype=np.float32)


def _joined(blocks: Array, shift: Shift, shape: tuple[int, ...]) -> Array:
    """Blocks as the volume that they were cut from."""
    whole = [count * block for count, block in zip(blocks.shape[:3], BLOCK, strict=True)]
    x = blocks.transpose(0, 3, 1, 4, 2, 5).reshape(whole)
    return x[tuple(slice(start, start + n) for start, n in zip(shift, shape, strict=True))]


def ends_of(shape: Shift, shift: Shift) -> list[tuple[int, int]]:
    """What is added before and after each axis so that blocks fill it, the first shifted out."""
    return [
        (start, -(size + start) % block)
        for size, start, block in zip(shape, shift, BLOCK, strict=True)
    ]
