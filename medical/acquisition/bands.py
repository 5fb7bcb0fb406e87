"""Sampling in plane: a scanner reads a part of k-space, so it loses fine waves and no others.

An axis is written as cosine waves (which continue it evenly at its ends). A scan of n samples
holds the first n of them, and the way back to a finer grid neither adds nor strengthens any:
noise stays as strong as it is. That is what stacked slice profiles get wrong, whose exact
inversion strengthens the fine waves that they weakened.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def band_interpolation(positions: Matrix, num_samples: int) -> Matrix:
    """The finer grid's values from the scan's: (num_voxels, num_samples).

    Args:
        positions: of the voxels, counted in samples, 0 at the first.
        num_samples: acquired.
    """
    wave = np.arange(num_samples)
    sampled = _waves(np.arange(num_samples, dtype=np.float64), wave, num_samples)
    held = np.clip(positions, -0.5, num_samples - 0.5)
    return _waves(held, wave, num_samples) @ sampled.T


def band_sampling(positions: Matrix, num_samples: int) -> Matrix:
    """The scan's values from the finer grid's: (num_samples, num_voxels).

    The waves that the scan holds are fitted to the finer grid and read at the samples, so that
    interpolating and sampling again changes nothing.
    """
    return np.asarray(np.linalg.pinv(band_interpolation(positions, num_samples)), np.float64)


def _waves(positions: Matrix, wave: NDArray[np.int64], num_samples: int) -> Matrix:
    """Orthonormal cosine waves (DCT-II) at positions: (num_positions, num_waves)."""
    phase = np.pi / num_samples * (positions[:, None] + 0.5) * wave
    scale = np.where(wave == 0, np.sqrt(1.0 / num_samples), np.sqrt(2.0 / num_samples))
    return np.cos(phase) * scale
