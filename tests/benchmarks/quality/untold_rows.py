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
from tests.benchmarks.intervals import wilson
from tests.benchmarks.quality.cases import Arrays, Setting
from tests.benchmarks.quality.heads import EDITION, MEAN, SEED, Head, Spacing, network
from tests.benchmarks.quality.mri_rows import between, counted, mean_figure, needed_heads
from tests.benchmarks.quality.other_rows import other_heads
from tests.benchmarks.quality.planes import BASE
from tests.benchmarks.results import Figure, Row, Table

DISTANCES_MM, SHARES = (2.0, 4.0), (0.8, 1.16, 1.3)
GAINS = {2.0: 0.8, 4.0: 2.2}
ELSEWHERE = "Colin27, with skull", "MNI152, without skull", "MS 1, T1"
ELSEWHERE_GAINS, ELSEWHERE_SHARES = {2.0: 0.4, 4.0: 1.1}, (0.8, 1.3)
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
        figures += width_figures(pitch, [n for (p, _), n in cases.items() if p == pitch])
    return Row(
        title="MRI: a slice profile that nobody told",
        protocol=f"{counted(len(heads)).capitalize()} of validation in slices 2 and 4 mm apart "
        "whose Gaussian profile is 0.8 to 1.3 times as wide, without noise; the model is told "
        "nothing and estimates the width. Back-projection is told the truth. Otherwise as above.",
        figures=figures,
        tables=[Table(columns=COLUMNS, lines=[_line(*key, n) for key, n in cases.items()])],
        details={f"{p:g} mm, {s:g}": numbers for (p, s), numbers in cases.items()},
    )


def elsewhere(setting: Setting) -> Row:
    """The same of heads that the model was not trained on."""
    heads = [head for head in other_heads() if head.name in ELSEWHERE]
    cases = {
        (head.name, pitch, share): _width_case(setting, head, pitch, share)
        for head in heads
        for pitch in DISTANCES_MM
        for share in ELSEWHERE_SHARES
    }
    figures = []
    for pitch, least in ELSEWHERE_GAINS.items():
        gains = [n[MEAN] - n[BASE] for (_, p, _), n in cases.items() if p == pitch]
        name = f"{pitch:g} mm apart: gain over back-projection told the truth, the least"
        figures.append(Figure(name=name, value=min(gains), unit="dB", low=least, cases=len(gains)))
    return Row(
        title="MRI: a slice profile that nobody told, of other scanners",
        protocol=f"As above, of {', '.join(head.name for head in heads)} (see the row of other "
        "scanners), in slices 0.8 and 1.3 times as wide as they are far apart. Where the scan "
        "does not show the width, or shows it too vaguely, they are taken for as wide as they "
        "are far apart.",
        figures=figures,
        tables=[
            Table(
                columns=["head", *COLUMNS[:-1]],
                lines=[[head, *_line(p, s, [n])[:-1]] for (head, p, s), n in cases.items()],
            )
        ],
        notes=[
            f"{name}: not on this machine."
            for name in ELSEWHERE
            if name not in {head.name for head in heads}
        ],
    )


def width_figures(pitch: float, found: Sequence[Sequence[Numbers]]) -> list[Figure]:
    """The gain, a case of each head, and how often the width is found, a case of each scan.

    Args:
        pitch: distance of slices.
        found: for each width, the numbers of each head.
    """
    heads = list(zip(*found, strict=True))
    gains = [fmean(n[MEAN] - n[BASE] for n in head) for head in heads]
    hits = [abs(n["found"] / n["share"] - 1) <= OFF for head in heads for n in head]
    of = f"({counted(len(heads))})"
    name = f"{pitch:g} mm apart: gain over back-projection told the truth {of}"
    return [
        mean_figure(name, gains, "dB", low=GAINS[pitch]),
        Figure(
            name=f"{pitch:g} mm apart: scans whose width is found to a tenth {of}",
            value=fmean(hits),
            low=0.9,
            interval=wilson(sum(hits), len(hits)),
            cases=len(hits),
        ),
    ]


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
    case = {"head": head.name, "untold": [pitch, share], "seed": SEED, "edition": EDITION}

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
