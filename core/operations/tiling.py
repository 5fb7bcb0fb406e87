"""Whole volumes through a network that sees windows, blended inside every sampling step.

There is one noise field for the whole volume and one estimate after every step: windows agree
before the next step begins, so no seam is frozen in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from core.operations.windows import Window
from core.sampling.path import Denoise
from core.tensors import Volumes

logger = logging.getLogger(__name__)


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
                whole[(0, slice(None), *part.slices)] += part.weight(z) * answer
        return whole

    return denoise
