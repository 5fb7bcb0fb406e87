"""How much detail there is along the thick axis, by spatial frequency, and how much is right."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

BINS = 25
HIGHEST = 0.5
"""Cycles per millimeter; of 1 mm voxels the Nyquist frequency."""
CENTERS = (np.arange(BINS) + 0.5) * HIGHEST / BINS


def spectra(
    volumes: Mapping[str, Tensor], mask: Tensor, axis: int, spacing_mm: float
) -> dict[str, dict[str, list[float]]]:
    """Power by frequency along an axis of every volume, and of its difference from the truth.

    Columns inside the box around the mask, under a Hann window, each without its mean.

    Returns:
        name -> ``power`` and ``error``, a value for each of ``CENTERS``; 0 where there is none.
    """
    found = torch.where(mask)
    box = tuple(slice(int(f.min()), int(f.max()) + 1) for f in found)
    truth = volumes["truth"][box]
    return {
        name: {
            "power": _power(volume[box], axis, spacing_mm),
            "error": _power(volume[box] - truth, axis, spacing_mm),
        }
        for name, volume in volumes.items()
    }


def _power(volume: Tensor, axis: int, spacing_mm: float) -> list[float]:
    columns = volume.movedim(axis, -1).flatten(0, 1).double()
    length = columns.shape[1]
    columns = columns - columns.mean(dim=1, keepdim=True)
    columns = columns * torch.hann_window(length, periodic=False, dtype=torch.float64)
    power = torch.fft.rfft(columns).abs().square().mean(dim=0).numpy()
    frequency = np.fft.rfftfreq(length, spacing_mm)
    inside = (frequency > 0) & (frequency <= HIGHEST)
    place = np.minimum((frequency[inside] / HIGHEST * BINS).astype(int), BINS - 1)
    number = np.bincount(place, minlength=BINS)
    summed = np.bincount(place, weights=power[inside], minlength=BINS)
    return [float(f"{value:.6g}") for value in summed / np.maximum(number, 1)]
