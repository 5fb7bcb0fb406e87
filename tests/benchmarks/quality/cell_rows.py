"""Planes coarser than asked, with noise: against cubic and against a plane left alone."""

import math
from statistics import fmean
from typing import Any

import torch

from core.metrics import psnr
from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
from medical.files.volume import Volume
from medical.operations.baselines import foreground
from medical.operations.super_resolve import super_resolve
from medical.request import SuperResolutionRequest
from tests.benchmarks.quality.cases import Arrays, Setting
from tests.benchmarks.quality.heads import EDITION, MEAN, SEED, Head, network, noisy
from tests.benchmarks.quality.mri_rows import counted, needed_heads
from tests.benchmarks.results import Figure, Row, Table

PLANES_MM, NOISES = (1.05, 1.15, 1.36, 1.6, 2.0), (0.0, 0.01, 0.02, 0.03)
THICK_MM, GAIN = 4.0, 0.5
PART = (96, 112, 96)  # voxels of 1 mm around the middle
HEADS = 3
ALONE = "plane left alone"

Numbers = dict[str, Any]


def cells(setting: Setting) -> Row:
    """Every plane with every noise."""
    heads = needed_heads(setting)[:HEADS]
    found = {
        (plane, noise): [cell(setting, head, plane, noise) for head in heads]
        for plane in PLANES_MM
        for noise in NOISES
    }
    means = {
        key: {way: fmean(n[way] for n in numbers) for way in numbers[0]}
        for key, numbers in found.items()
    }
    over = {key: n[MEAN] - n["cubic"] for key, n in means.items()}
    beside = {key: n[MEAN] - n[ALONE] for key, n in means.items()}
    lines = [
        [
            f"{plane:g} mm",
            *(f"{over[plane, noise]:+.2f} / {beside[plane, noise]:+.2f}" for noise in NOISES),
        ]
        for plane in PLANES_MM
    ]
    return Row(
        title="MRI: planes coarser than asked, with noise",
        protocol=f"The middle {' x '.join(map(str, PART))} mm of {counted(len(heads))} "
        "of validation, brought to 1 mm in plane by a crop of k-space: the truth. Scans: 4 mm "
        "Gaussian slices, the plane another crop of k-space to 1.05 to 2 mm, Rician noise of 0 to "
        "3 % of the brightest tissue. The model is told nothing and asked for 1 mm. Each cell: dB "
        "(foreground, peak 1) above cubic / above the same model that leaves the plane alone, "
        "interpolated by cubic B-splines; means over heads.",
        figures=[
            Figure(
                name=f"the least of all cells above cubic ({counted(len(heads))})",
                value=min(over.values()),
                unit="dB",
                low=GAIN,
                cases=len(heads),
            ),
            Figure(
                name=f"the least of all cells above a plane left alone ({counted(len(heads))})",
                value=min(beside.values()),
                unit="dB",
                low=0.0,
                cases=len(heads),
            ),
        ],
        tables=[
            Table(columns=["plane", *(f"{100 * n:g} % noise" for n in NOISES)], lines=lines),
            Table(columns=["plane, noise", "cubic, dB", ALONE, "model"], lines=_psnrs(means)),
        ],
        details={f"{p:g} mm, {n:g}": numbers for (p, n), numbers in found.items()},
    )


def _psnrs(means: dict[tuple[float, float], dict[str, float]]) -> list[list[str]]:
    return [
        [f"{plane:g} mm, {100 * noise:g} %", *(f"{n[w]:.2f}" for w in ("cubic", ALONE, MEAN))]
        for (plane, noise), n in means.items()
    ]


def cell(setting: Setting, head: Head, plane: float, noise: float) -> Numbers:
    """PSNR of each way on one head."""
    case = {"head": head.name, "cell": [plane, noise], "part": PART, "seed": SEED}
    case["edition"] = EDITION
    return setting.find("mri", case, lambda: (_measured(head, plane, noise), Arrays()))


def _measured(head: Head, plane: float, noise: float) -> Numbers:
    flat = SliceSampling(plane, profile="band")
    thick = SliceSampling(THICK_MM)
    truth = _middle(head.load(), (plane, plane, THICK_MM))
    acquisition = Acquisition((flat, flat, thick))
    scan = noisy(acquire(truth, acquisition), noise)
    grid = acquisition.on_grid(truth.shape, truth.spacing_mm, scan.shape)
    made = _restored(scan, (1.0, 1.0, 1.0))
    part = Acquisition((flat, flat, None)).on_grid(
        truth.shape, truth.spacing_mm, (*scan.shape[:2], truth.shape[2])
    )
    alone = part.cubic().apply(_restored(scan, (plane, plane, 1.0)))
    mask = foreground(truth.data)
    ways = {"cubic": grid.cubic().apply(scan.data), ALONE: alone, MEAN: made}
    return {way: psnr(x[mask], truth.data[mask]) for way, x in ways.items()}


def _restored(scan: Volume, spacing_mm: tuple[float, float, float]) -> torch.Tensor:
    asked = SuperResolutionRequest(scan="in memory", spacing_mm=spacing_mm, seed=SEED)
    return super_resolve(scan, asked, network()).mean.data


def _middle(volume: Volume, coarse_mm: tuple[float, float, float]) -> Volume:
    """The middle of a head at 1 mm, so large that coarser samples fill it to half a voxel."""
    fine = SliceSampling(1.0, profile="band")
    whole = acquire(volume, Acquisition((fine, fine, None)))
    data = whole.data
    for axis, (size, coarse) in enumerate(zip(PART, coarse_mm, strict=True)):
        counts = range(math.floor(min(size, data.shape[axis]) / coarse), 0, -1)
        kept = next(math.ceil(n * coarse) for n in counts if _fills(n * coarse))
        data = data.narrow(axis, (data.shape[axis] - kept) // 2, kept)
    return whole.with_data(data.clone())


def _fills(extent: float) -> bool:
    return extent == round(extent) or extent % 1 > 0.5
