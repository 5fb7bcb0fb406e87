"""Whole volumes through a network that sees windows, blended inside every sampling step.

There is one noise field for the whole volume and one estimate after every step: windows agree
before the next step begins, so no seam is frozen in. The weights of the windows are a partition
of unity, separable along D, H and W, so no volume of weights is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from core.refusal import Refusal
from core.sampling.path import Denoise
from core.tensors import Volumes, sent

logger = logging.getLogger(__name__)

Slices = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Window:
    """A box of the volume and its share of every voxel in it.

    >>> one = windows((4, 8, 8), (4, 8, 8), (0, 0, 0))[0]
    >>> one.slices[1], one.weights[1].sum().item()
    (slice(0, 8, None), 8.0)

    Attributes:
        slices: Along D, H, W.
        weights: One vector per axis; their outer product over all windows sums to 1 everywhere.
    """

    slices: Slices
    weights: tuple[Tensor, Tensor, Tensor]

    def weight(self, device: torch.device | str = "cpu") -> Tensor:
        """The outer product, (d, h, w), made on a device."""
        d, h, w = (sent(share, device) for share in self.weights)
        return d[:, None, None] * h[:, None] * w


def _axis(length: int, size: int, overlap: int) -> list[tuple[slice, Tensor]]:
    """Intervals that cover an axis evenly, with ramps that sum to 1."""
    if not 0 <= overlap < size:
        raise Refusal(
            f"overlap={overlap}: windows of {size} voxels can share 0 to {size - 1} of them; "
            "a quarter of the window is usual."
        )
    size = min(size, length)
    stride = max(1, size - overlap)
    count = 1 if length == size else -(-(length - size) // stride) + 1
    starts = torch.linspace(0, length - size, count).round().long().tolist()
    position = torch.arange(size, dtype=torch.float64) + 0.5
    ramp = torch.minimum(position, size - position).clamp(max=max(overlap, 1))
    ramp = torch.sin(ramp / ramp.max() * torch.pi / 2).square()  # a window fades in without a step
    rows = torch.zeros(count, length, dtype=torch.float64)
    for row, start in zip(rows, starts, strict=True):
        row[start : start + size] = ramp
    rows /= rows.sum(0)
    return [
        (slice(start, start + size), row[start : start + size].float())
        for row, start in zip(rows, starts, strict=True)
    ]


def windows(
    shape: tuple[int, int, int], size: tuple[int, int, int], overlap: tuple[int, int, int]
) -> list[Window]:
    """Windows of at most ``size`` that cover a (D, H, W) volume.

    Args:
        shape: Of the volume.
        size: Of a window; an axis shorter than it gets one window.
        overlap: Least number of voxels neighbors share along each axis.
    """
    along_d, along_h, along_w = (_axis(*axis) for axis in zip(shape, size, overlap, strict=True))
    return [
        Window((d, h, w), (share_d, share_h, share_w))
        for (d, share_d), (h, share_h), (w, share_w) in product(along_d, along_h, along_w)
    ]


def _out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on a GPU or on the CPU, whose allocator says so in words alone."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "allocate memory" in str(error)


WindowDenoise = Callable[[Tensor, Tensor, Tensor, list[Window]], Tensor]
"""(z (N, C, d, h, w), t, r, the N windows) -> x_hat of each."""


def tiled(denoise_windows: WindowDenoise, parts: list[Window], *, batch_size: int = 4) -> Denoise:
    """A ``Denoise`` over whole volumes (1, C, D, H, W) from one over windows.

    Args:
        denoise_windows: Answers for several windows of one shape at once.
        parts: The windows worth computing; where none lies, the estimate is 0. Voxels that
            only left-out windows share keep the share of the present ones.
        batch_size: Windows per call; memory grows with it, not with the volume.
    """
    groups: dict[tuple[int, ...], list[Window]] = {}
    for part in parts:
        groups.setdefault(tuple(len(w) for w in part.weights), []).append(part)
    batches = [
        group[i : i + batch_size]
        for group in groups.values()
        for i in range(0, len(group), batch_size)
    ]

    def answers_of(z: Volumes, t: Tensor, r: Tensor, batch: list[Window]) -> list[Tensor]:
        boxes = torch.cat([z[(..., *part.slices)] for part in batch])
        try:
            return list(denoise_windows(boxes, t, r, batch))
        except (MemoryError, RuntimeError) as error:
            if len(batch) == 1 or not _out_of_memory(error):
                raise
        logger.warning("memory is short: %d windows are computed one by one", len(batch))
        return [answer for part in batch for answer in answers_of(z, t, r, [part])]

    def denoise(z: Volumes, t: Tensor, r: Tensor) -> Volumes:
        whole = torch.zeros_like(z)
        for batch in batches:
            answers = answers_of(z, t, r, batch)
            for part, answer in zip(batch, answers, strict=True):
                whole[(0, slice(None), *part.slices)] += part.weight(z.device).to(z) * answer
        return whole

    return denoise
