"""Numbers that say how near an estimate is to the truth."""

import torch
from torch import Tensor

from core.refusal import Refusal


def psnr(
    estimate: Tensor, truth: Tensor, *, peak: float = 1.0, mask: Tensor | None = None
) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(peak^2 / mean squared error).

    Args:
        estimate: Any shape.
        truth: The same shape.
        peak: Range of the data; 1 for intensities in [0, 1].
        mask: Where to look, bool; everywhere by default.
    """
    if estimate.shape != truth.shape:
        raise Refusal(
            f"estimate is {tuple(estimate.shape)}, truth is {tuple(truth.shape)}: they are "
            "compared value by value; bring both to one grid."
        )
    error = (estimate.double() - truth.double()).square()
    mean = error[mask].mean() if mask is not None else error.mean()
    return float(10 * torch.log10(peak**2 / mean))
