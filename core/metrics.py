"""Numbers that say how near an estimate is to the truth."""

import torch
from torch import Tensor


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
    error = (estimate.double() - truth.double()).square()
    mean = error[mask].mean() if mask is not None else error.mean()
    return float(10 * torch.log10(peak**2 / mean))


def seam_energy(volume: Tensor, borders: tuple[list[int], list[int], list[int]]) -> float:
    """Mean squared difference across window borders, relative to elsewhere; 1 is seamless.

    Args:
        volume: (D, H, W).
        borders: Along each axis, the indices at which a window begins or ends, inside the axis.
    """
    across, total, weight = 0.0, 0.0, 0
    for axis, places in enumerate(borders):
        inside = [p for p in places if 0 < p < volume.shape[axis]]
        if not inside:
            continue
        steps = volume.double().diff(dim=axis).square()
        seam = torch.zeros(steps.shape[axis], dtype=torch.bool)
        seam[torch.tensor(inside) - 1] = True
        at = steps.index_select(axis, seam.nonzero()[:, 0]).mean()
        elsewhere = steps.index_select(axis, (~seam).nonzero()[:, 0]).mean()
        across, total = across + len(inside) * float(at / elsewhere), total + len(inside)
        weight += 1
    return across / total if weight else 1.0
