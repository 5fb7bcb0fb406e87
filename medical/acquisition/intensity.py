"""The intensity scale: from what the scanner stored to [0, 1], and back by the same record."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from core.refusal import Refusal

PERCENTILE = 99.9
MOST_FILLS = 4  # different numbers that stand for no tissue


@dataclass(frozen=True)
class IntensityScale:
    """A linear map of intensities and its inverse; nothing is clipped.

    Attributes:
        low: intensity that becomes 0.
        high: intensity that becomes 1.
        percentile: of the voxels above ``low`` that gave ``high``.
    """

    low: float
    high: float
    percentile: float = PERCENTILE

    def apply(self, x: Tensor) -> Tensor:
        """Return float32 intensities with low at 0 and high at 1."""
        return ((x.double() - self.low) / (self.high - self.low)).to(torch.float32)

    def invert(self, x: Tensor) -> Tensor:
        """Return intensities on the scanner's scale, to float32 precision."""
        return (x.double() * (self.high - self.low) + self.low).to(torch.float32)

    def stretch(self, x: Tensor) -> Tensor:
        """Return differences or deviations on the scanner's scale (no offset)."""
        return x * (self.high - self.low)

    def record(self) -> dict[str, float]:
        """Return the numbers that undo this scale, for the sidecar."""
        return asdict(self)


def measure_scale(x: Tensor, percentile: float = PERCENTILE) -> IntensityScale:
    """Return the scale that puts the 99.9 percentile of positive voxels at 1.

    Zero stays zero, so background stays background; only a volume with negative intensities
    has its minimum moved to 0.

    Args:
        x: intensities, any shape.
        percentile: of the voxels above the low end.
    """
    low = min(0.0, float(x.min()))
    above = x[x > low].flatten().double() - low
    if above.numel() == 0:
        raise Refusal(
            f"every voxel is {float(x.min()):g}: a scan needs some contrast to set its intensity "
            "scale; check that the right file was given."
        )
    rank = max(1, min(above.numel(), round(percentile / 100.0 * above.numel())))
    high = low + float(above.kthvalue(rank).values)
    return IntensityScale(low, high, percentile)


def without_fill(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the intensities with fill raised to zero or the lowest real one, and where it was.

    Fill is what stands where nothing was measured, such as -1024 or -32768: the only number below
    zero, or the lowest, further from the next than all others are from each other.

    Args:
        x: intensities, any shape.
    """
    low, lowest = float(x.min()), None
    rest = x[x > low] if low < 0 else x[:0]
    for number in range(MOST_FILLS):
        if rest.numel() == 0:
            break
        real = float(rest.min())
        spread = measure_scale(rest - real).high if float(rest.max()) > real else 0.0
        if 0 < spread < real - low or (number == 0 and real >= 0 < spread):
            lowest = min(real, 0.0)
        low, rest = real, rest[rest > real]
    if lowest is None:
        return x, torch.zeros_like(x, dtype=torch.bool)
    return x.clamp(min=lowest), x < lowest
