"""Super-resolution of heads that training never saw, against back-projection with the truth."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from tests.benchmarks.intervals import student
from tests.benchmarks.quality import mri_pictures, plots
from tests.benchmarks.quality.cases import DataMissingError, Setting
from tests.benchmarks.quality.heads import (
    MEAN,
    SAMPLE,
    STEP,
    WAYS,
    Head,
    Scanned,
    find_case,
    validation_heads,
)
from tests.benchmarks.quality.planes import BASE
from tests.benchmarks.results import Figure, Row, Table

Case = tuple[dict[str, Any], dict[str, Any]]
"""Numbers, and the key of the planes."""

FOUR = Scanned()
FEW = 5
"""Heads of the rows that vary something beside the thickness."""
THICKNESSES = (2.0, 3.0, 4.0, 5.0, 6.0)
GAINS = {"2 mm": 1.0, "3 mm": 1.5, "4 mm": 3.3}
SEAM, CONSISTENCY = (0.98, 1.02), 1e-3
AXES = {"sagittal slices": 0, "coronal slices": 1}

HEADS = (
    "Heads are every sixth subject of OpenNeuro ds002748 (T1-weighted, skull-stripped, "
    "0.87 x 0.87 x 1.0 mm), which training never saw."
)
PROTOCOL = (
    "Each head is degraded to contiguous, centered slices with a Gaussian profile (FWHM = "
    "thickness) and restored to its own grid. Intensities in [0, 1] by the 99.9 percentile of "
    "positive voxels; PSNR (peak 1) in the foreground, the binary closing of x > 0.08; SSIM as "
    "the mean over planes through a thick axis inside the foreground's box (Gaussian window 11, "
    "sigma 1.5). Back-projection: 12 steps from cubic B-spline with the true operator, which the "
    "model is told too. Model: mean of K = 4 samples of 2 steps, seed 0. Gain: PSNR of the model "
    f"less that of back-projection on the same head. {HEADS}"
)


def four_mm(setting: Setting) -> list[Case]:
    """The validation heads at 4 mm, all ways of sampling."""
    return [find_case(setting, head, FOUR, tuple(WAYS)) for head in needed_heads(setting)]


def needed_heads(setting: Setting) -> list[Head]:
    """The validation heads.

    Raises:
        ValueError: They are not on this machine.
    """
    heads = validation_heads(setting)
    if not heads:
        raise DataMissingError(
            "there are no validation heads here: this row needs the folder t1-heads; set "
            "LAMINA_DATA to the folder that holds it."
        )
    return heads


def factors(setting: Setting) -> Row:
    """Through-plane 2 to 6 mm, and a factor of 2 in plane."""
    heads = needed_heads(setting)
    cases = {
        f"{mm:g} mm": four_mm(setting)
        if mm == FOUR.thickness_mm
        else [find_case(setting, head, Scanned(mm)) for head in heads]
        for mm in THICKNESSES
    }
    plane = [find_case(setting, head, Scanned(0.0, in_plane=2.0)) for head in heads]
    cases["in-plane factor 2"] = plane
    figures = [
        gain_figure(f"{name}: gain", found, GAINS.get(name)) for name, found in cases.items()
    ]
    figures.append(ssim_figure("4 mm: SSIM above back-projection", cases["4 mm"]))
    return Row(
        title="MRI: slices of 2 to 6 mm to 1 mm, and in plane",
        protocol=PROTOCOL
        + " In plane: both axes of the plane coarser by 2, slices left as they are.",
        figures=figures,
        tables=[score_table(cases)],
        pictures=[
            plots.gains(setting, {name: gains(found) for name, found in cases.items()}, GAINS),
            *mri_pictures.ranked(setting, cases["4 mm"]),
            mri_pictures.by_thickness(setting, {n: c for n, c in cases.items() if "mm" in n}),
        ],
        details={
            name: [numbers["scores"] for numbers, _ in found] for name, found in cases.items()
        },
    )


def ways(setting: Setting) -> Row:
    """The mean of four samples beside one sample and one step, at 4 mm."""
    cases = four_mm(setting)
    lines = []
    for way in ("cubic", BASE, STEP, SAMPLE, MEAN):
        found = [numbers["scores"][way] for numbers, _ in cases]
        psnr = [score["psnr"] for score in found]
        lines.append(
            [
                way,
                f"{fmean(psnr):.2f}{between(psnr)}",
                f"{fmean(s['ssim'] for s in found):.4f}",
                f"{fmean(s['consistency'] for s in found):.1e}",
            ]
        )
    seams = [numbers["seam"] for numbers, _ in cases]
    consistency = [numbers["consistency"] for numbers, _ in cases]
    one = [m - s for m, s in zip(psnrs(cases, MEAN), psnrs(cases, SAMPLE), strict=True)]
    step = [m - s for m, s in zip(psnrs(cases, MEAN), psnrs(cases, STEP), strict=True)]
    return Row(
        title="MRI: what averaging buys",
        protocol="As above, at 4 mm. One step: a single sample of a single step, which is close "
        "to what a regression network does (experiments.md). Consistency: mean absolute "
        "difference of degrade(result) from the scan. Seam energy: jumps at window borders over "
        "those nearby, relative to the same in the back-projection.",
        figures=[
            mean_figure("mean of 4 over one sample", one, "dB"),
            mean_figure("mean of 4 over one step", step, "dB"),
            Figure(
                name="consistency, the worst head",
                value=max(consistency),
                high=CONSISTENCY,
                cases=len(cases),
            ),
            mean_figure("seam energy", seams, low=SEAM[0], high=SEAM[1]),
        ],
        tables=[Table(columns=["method", "PSNR, dB", "SSIM", "consistency"], lines=lines)],
        notes=["A regression network of the same size, trained apart, is not among them."],
    )


def axes(setting: Setting) -> Row:
    """Slices across another axis of the file."""
    heads = needed_heads(setting)[:FEW]
    cases = {
        name: [find_case(setting, head, Scanned(axis=axis)) for head in heads]
        for name, axis in AXES.items()
    }
    return Row(
        title="MRI: other slice axes",
        protocol="As above, slices across the file's first (sagittal) or second (coronal) axis, "
        "five voxels (4.3 mm) thick, restored to the head's own 0.87 mm; the first five heads.",
        figures=[gain_figure(f"{name}: gain", found) for name, found in cases.items()],
        tables=[score_table(cases)],
        details={
            name: [numbers["scores"] for numbers, _ in found] for name, found in cases.items()
        },
    )


def profile(setting: Setting) -> Row:
    """Told a slice thickness that is wrong by a quarter."""
    heads = needed_heads(setting)[:FEW]
    cases = {
        f"told {told * FOUR.thickness_mm:g} mm, true 4 mm": [
            find_case(setting, head, Scanned(told=told)) for head in heads
        ]
        for told in (0.75, 1.25)
    }
    return Row(
        title="MRI: slice profile told wrongly",
        protocol="As above, 4 mm slices 4 mm apart, but model and back-projection are both told a "
        "profile thinner or thicker by 25 %; the first five heads.",
        figures=[gain_figure(f"{name}: gain", found, 0.0) for name, found in cases.items()],
        tables=[score_table({"told the truth": four_mm(setting)[:FEW], **cases})],
    )


def score_table(cases: dict[str, list[Case]]) -> Table:
    """PSNR and SSIM of every method, a line for each group of cases."""
    lines = []
    for name, found in cases.items():
        ssim = [fmean(n["scores"][way]["ssim"] for n, _ in found) for way in (BASE, MEAN)]
        lines.append(
            [
                name,
                *(f"{fmean(psnrs(found, way)):.2f}" for way in ("cubic", BASE, MEAN)),
                f"{fmean(gains(found)):+.2f}{between(gains(found))}",
                *(f"{value:.4f}" for value in ssim),
                str(len(found)),
            ]
        )
    columns = ["case", "cubic, dB", "back-projection, dB", "model, dB", "gain, dB (95 %)"]
    return Table(columns=[*columns, "SSIM, back-projection", "SSIM, model", "heads"], lines=lines)


def psnrs(cases: Sequence[Case], way: str) -> list[float]:
    """PSNR of each head."""
    return [numbers["scores"][way]["psnr"] for numbers, _ in cases]


def gains(cases: Sequence[Case]) -> list[float]:
    """PSNR beyond back-projection of each head."""
    return [m - b for m, b in zip(psnrs(cases, MEAN), psnrs(cases, BASE), strict=True)]


def between(values: Sequence[float]) -> str:
    """The 95 % interval in brackets; nothing for a single value."""
    found = student(values)
    return f" ({found[0]:.2f} to {found[1]:.2f})" if found else ""


def counted(heads: int) -> str:
    """How many heads, in words where it is one."""
    return "one head" if heads == 1 else f"{heads} heads"


def gain_figure(name: str, cases: Sequence[Case], low: float | None = None) -> Figure:
    """Mean gain over back-projection with its interval."""
    return mean_figure(name, gains(cases), "dB", low=low)


def ssim_figure(name: str, cases: Sequence[Case]) -> Figure:
    """Mean SSIM beyond that of back-projection with its interval."""
    found = [n["scores"][MEAN]["ssim"] - n["scores"][BASE]["ssim"] for n, _ in cases]
    return mean_figure(name, found, low=0.0)


def mean_figure(
    name: str,
    values: Sequence[float],
    unit: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
) -> Figure:
    """A mean with its interval by Student's t."""
    return Figure(
        name=name,
        value=fmean(values),
        unit=unit,
        low=low,
        high=high,
        interval=student(values),
        cases=len(values),
    )
