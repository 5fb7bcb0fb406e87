"""Scores of super-resolution under the written protocol (see ``medical.operations.baselines``).

A head with fine slices is the truth; its own acquisition makes the scan; every method gets the
scan and gives back the head. PSNR is taken in the foreground, SSIM in planes through the thick
axis inside the box around it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

import torch
from monai.metrics.regression import SSIMMetric
from torch import Tensor

from core.metrics import psnr
from core.refusal import Refusal
from medical.acquisition.acquisition import AcquiredGrid, Acquisition, acquire
from medical.files.volume import Volume
from medical.operations.baselines import back_projection, cubic, foreground

SSIM_SETTINGS = {"kernel_type": "gaussian", "win_size": 11, "kernel_sigma": 1.5, "data_range": 1.0}

Restore = Callable[[Volume, tuple[float, float, float]], Tensor]
"""``restore(scan, spacing_mm) -> (D, H, W)`` on the truth's grid, intensities in [0, 1]."""


@dataclass(frozen=True)
class Score:
    """One method on one head, or the mean over heads.

    Attributes:
        psnr: dB in the foreground, peak 1.
        ssim: Mean over planes through the thick axis (``SSIM_SETTINGS``).
        consistency: Mean absolute difference of degrade(result) from the scan.
        seconds: Wall time.
    """

    psnr: float
    ssim: float
    consistency: float
    seconds: float


def trimmed(volume: Volume, acquisition: Acquisition) -> Volume:
    """The volume cut, evenly at both ends, to a whole number of slices.

    Only then do the corners of scan and head agree and every method can answer on the truth's
    own grid.
    """
    data, affine = volume.data, volume.affine.copy()
    acquired = acquisition.on_grid(volume.shape, volume.spacing_mm)
    for axis, grid in enumerate(acquired.axes):
        if grid is None:
            continue
        kept = round(grid.num_slices * grid.sampling.pitch_mm / grid.spacing_mm)
        start = (grid.num_voxels - kept) // 2
        data = data.narrow(axis, start, kept)
        affine[:3, 3] += volume.affine[:3, axis] * start
    return volume.with_data(data.contiguous(), affine)


def evaluate(
    heads: Iterable[Volume],
    acquisition: Acquisition,
    methods: Mapping[str, Restore] | None = None,
    *,
    on_score: Callable[[int, str, Score], None] | None = None,
) -> dict[str, Score]:
    """The mean score of cubic, back-projection and every other method over heads.

    Args:
        heads: Truths, intensities in [0, 1]; trimmed to whole slices here.
        acquisition: Makes the scans, along the heads' own axes.
        methods: Name and restoration of what is compared with the two baselines.
        on_score: Called after each score with (head, method, score).
    """
    scores: dict[str, list[Score]] = {}
    for index, head in enumerate(heads):
        truth = trimmed(head, acquisition)
        for name, _, score in compare(truth, acquisition, methods):
            scores.setdefault(name, []).append(score)
            if on_score is not None:
                on_score(index, name, score)
    return {name: _mean(found) for name, found in scores.items()}


def compare(
    truth: Volume,
    acquisition: Acquisition,
    methods: Mapping[str, Restore] | None = None,
    *,
    told: Acquisition | None = None,
) -> Iterator[tuple[str, Tensor, Score]]:
    """Yield name, estimate and score of cubic, back-projection and every other method.

    Args:
        truth: One head, trimmed to whole slices, intensities in [0, 1].
        acquisition: Makes the scan.
        methods: Name and restoration of what is compared with the two baselines.
        told: What back-projection is told of the acquisition; None tells it the truth. It has
            the true distance between slices.
    """
    acquired = acquisition.on_grid(truth.shape, truth.spacing_mm)
    scan = acquire(truth, acquisition)
    known = (told or acquisition).on_grid(truth.shape, truth.spacing_mm, scan.shape)
    for name, restore in {**_baselines(known), **(methods or {})}.items():
        start = time.perf_counter()
        estimate = restore(scan, truth.spacing_mm)
        seconds = time.perf_counter() - start
        yield name, estimate, _score(estimate, scan, truth, acquired, seconds)


def ssim(estimate: Tensor, truth: Tensor, *, across: int = 0) -> float:
    """The mean structural similarity of the planes of two volumes in [0, 1].

    Args:
        estimate: (D, H, W).
        truth: (D, H, W).
        across: Axis at right angles to the planes; one that is not the thick one.
    """
    metric = SSIMMetric(spatial_dims=2, **SSIM_SETTINGS)
    planes = (x.movedim(across, 0)[:, None].contiguous() for x in (estimate, truth))
    return float(torch.as_tensor(metric(*planes)).mean())


def _baselines(acquired: AcquiredGrid) -> dict[str, Restore]:
    return {
        "cubic": lambda scan, _: cubic(scan.data, acquired),
        "back-projection": lambda scan, _: back_projection(scan.data, acquired),
    }


def _score(
    estimate: Tensor, scan: Volume, truth: Volume, acquired: AcquiredGrid, seconds: float
) -> Score:
    if estimate.shape != truth.data.shape:
        raise Refusal(
            f"a method returned {tuple(estimate.shape)} for a head of {truth.shape}: results are "
            "compared voxel by voxel; return them on the truth's grid."
        )
    mask = foreground(truth.data)  # (D, H, W)
    box = _box(mask)
    across = 1 if acquired.axes[0] is not None else 0
    return Score(
        psnr=psnr(estimate, truth.data, mask=mask),
        ssim=ssim(estimate[box], truth.data[box], across=across),
        consistency=float((acquired.operator().apply(estimate) - scan.data).abs().mean()),
        seconds=seconds,
    )


def _box(mask: Tensor) -> tuple[slice, slice, slice]:
    d, h, w = (slice(int(found.min()), int(found.max()) + 1) for found in torch.where(mask))
    return d, h, w


def _mean(scores: list[Score]) -> Score:
    return Score(
        psnr=fmean(s.psnr for s in scores),
        ssim=fmean(s.ssim for s in scores),
        consistency=fmean(s.consistency for s in scores),
        seconds=fmean(s.seconds for s in scores),
    )
