"""Scans of which nobody told anything: slices of any width, planes too coarse, and noise."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch

from medical.acquisition.acquisition import Acquisition, SliceSampling
from medical.evaluation.evaluate import compare, trimmed
from medical.operations.restoration import Restoration
from medical.operations.super_resolve import super_resolve
from medical.request import SuperResolutionRequest
from tests.benchmarks.quality.cases import Arrays, Setting
from tests.benchmarks.quality.heads import MEAN, SEED, Head, Spacing, network
from tests.benchmarks.quality.mri_rows import between, mean_figure, needed_heads
from tests.benchmarks.quality.planes import BASE
from tests.benchmarks.results import Row, Table

DISTANCES_MM, SHARES = (2.0, 4.0), (0.8, 1.16, 1.3)
GAINS = {2.0: 0.8, 4.0: 2.2}
OFF = 0.1
HEADS = 1
TOLD = "told the truth"

Numbers = dict[str, Any]


def widths(setting: Setting) -> Row:
    """Slices wider or thinner than they are far apart, and nothing told."""
    heads = needed_heads(setting)[:HEADS]
    cases = {
        (pitch, share): [_width_case(setting, head, pitch, share) for head in heads]
        for pitch in DISTANCES_MM
        for share in SHARES
    }
    figures = []
    for pitch in DISTANCES_MM:
        found = [n for (p, _), numbers in cases.items() if p == pitch for n in numbers]
        figures += [
            mean_figure(
                f"{pitch:g} mm apart: gain over back-projection told the truth",
                [n[MEAN] - n[BASE] for n in found],
                "dB",
                low=GAINS[pitch],
            ),
            mean_figure(
                f"{pitch:g} mm apart: scans whose width is found to a tenth",
                [float(abs(n["found"] / n["share"] - 1) <= OFF) for n in found],
                low=0.9,
            ),
        ]
    return Row(
        title="MRI: a slice profile that nobody told",
        protocol=f"The first {len(heads)} validation heads in slices 2 and 4 mm apart whose "
        "Gaussian profile is 0.8 to 1.3 times as wide, without noise; the model is told nothing "
        "and estimates the width. Back-projection is told the truth. Otherwise as above.",
        figures=figures,
        tables=[Table(columns=COLUMNS, lines=[_line(*key, n) for key, n in cases.items()])],
        details={f"{p:g} mm, {s:g}": numbers for (p, s), numbers in cases.items()},
    )


COLUMNS = [
    "slices apart, mm",
    "true width, mm",
    "estimated, mm",
    "cubic, dB",
    "back-projection told the truth, dB",
    "model told nothing, dB",
    "gain, dB (95 %)",
    "heads",
]


def _line(pitch: float, share: float, found: Sequence[Numbers]) -> list[str]:
    gains = [n[MEAN] - n[BASE] for n in found]
    estimated = [pitch * n["found"] for n in found]
    return [
        f"{pitch:g}",
        f"{pitch * share:.2f}",
        f"{min(estimated):.2f} to {max(estimated):.2f}",
        *(f"{fmean(n[way] for n in found):.2f}" for way in ("cubic", BASE, MEAN)),
        f"{fmean(gains):+.2f}{between(gains)}",
        str(len(found)),
    ]


def _width_case(setting: Setting, head: Head, pitch: float, share: float) -> Numbers:
    case = {"head": head.name, "untold": [pitch, share], "seed": SEED, "edition": 3}

    def measure() -> tuple[Numbers, Arrays]:
        sampling = SliceSampling(share * pitch, pitch - share * pitch)
        made: list[Restoration] = []

        def restore(scan: Any, spacing_mm: Spacing) -> torch.Tensor:
            asked = SuperResolutionRequest(scan="in memory", spacing_mm=spacing_mm, seed=SEED)
            made.append(super_resolve(scan, asked, network()))
            return made[0].mean.data

        acquisition = Acquisition.slices(2, sampling)
        truth = trimmed(head.load(), acquisition)
        scores = {n: s.psnr for n, _, s in compare(truth, acquisition, {MEAN: restore})}
        width = made[0].width
        found = width.share if width else math.nan
        return {**scores, "share": share, "found": found}, {}

    return setting.find("mri", case, measure)
