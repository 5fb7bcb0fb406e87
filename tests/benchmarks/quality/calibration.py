"""Whether the spread of the samples says how large the error is."""

import math
from typing import Any

import torch
from torch import Tensor

from medical.operations.restoration import Restoration

OCTAVES, PER_OCTAVE = 8, 64
"""The histogram of |error| / spread covers 2^-8 to 2^8."""
FINEST, PER_STEP = 2.0**-12, 2
"""Spreads are binned from 2^-12 to 1, two bins an octave."""
WANTED, REACH = 0.95, 2.0


def spread_against_error(product: Restoration, truth: Tensor, mask: Tensor) -> dict[str, Any]:
    """Counts of |error| / spread, and the squared error by spread, over the foreground.

    Returns:
        ``ratios``: counts per bin; ``counts`` and ``squares``: voxels and their summed squared
        error per bin of spread.
    """
    error = (product.mean.data - truth)[mask].abs().double()
    spread = product.std.data[mask].double().clamp(min=1e-9)
    place = (torch.log2(error.clamp(min=1e-12) / spread) + OCTAVES) * PER_OCTAVE
    bins = 2 * OCTAVES * PER_OCTAVE
    ratios = torch.bincount(place.floor().clamp(0, bins - 1).long(), minlength=bins)
    steps = round(-math.log2(FINEST) * PER_STEP)
    step = (torch.log2(spread / FINEST) * PER_STEP).floor().clamp(0, steps - 1).long()
    counts = torch.bincount(step, minlength=steps)
    squares = torch.bincount(step, weights=error**2, minlength=steps)
    return {
        "ratios": ratios.tolist(),
        "counts": counts.tolist(),
        "squares": [round(value, 8) for value in squares.tolist()],
    }


def scale_for(ratios: list[list[int]], wanted: float = WANTED) -> float:
    """The one factor on the spread with which the wanted share lies within two spreads."""
    total = torch.tensor(ratios, dtype=torch.float64).sum(dim=0)
    share = total.cumsum(0) / total.sum()
    place = int(torch.searchsorted(share, torch.tensor(wanted, dtype=torch.float64)))
    return 2.0 ** ((place + 1) / PER_OCTAVE - OCTAVES) / REACH


def coverage(ratios: list[int], scale: float) -> float:
    """Share of voxels whose error is at most two scaled spreads."""
    edge = round((math.log2(REACH * scale) + OCTAVES) * PER_OCTAVE)
    edge = min(max(edge, 0), len(ratios))
    return sum(ratios[:edge]) / sum(ratios)


def reliability(
    counts: list[list[int]], squares: list[list[float]], scale: float, least: float = 2e-3
) -> list[tuple[float, float, float]]:
    """(scaled spread, root mean square error, share of voxels) of each bin that is not rare."""
    number = torch.tensor(counts, dtype=torch.float64).sum(dim=0)
    summed = torch.tensor(squares, dtype=torch.float64).sum(dim=0)
    shares = number / number.sum()
    return [
        (
            scale * FINEST * 2.0 ** ((i + 0.5) / PER_STEP),
            math.sqrt(float(summed[i] / number[i])),
            float(shares[i]),
        )
        for i in range(len(number))
        if shares[i] > least
    ]
