"""Plots of the results: plain, labeled, with intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tests.benchmarks.intervals import student, wilson
from tests.benchmarks.quality.cases import Setting
from tests.benchmarks.quality.detail import CENTERS
from tests.benchmarks.results import Picture

COLORS = {
    "cubic": "#9aa0a6",
    "back-projection": "#e08214",
    "one step": "#1b9e77",
    "mean of 4": "#2166ac",
    "one sample": "#b2182b",
}


def gains(
    setting: Setting, found: Mapping[str, Sequence[float]], targets: Mapping[str, float]
) -> Picture:
    """Gain over back-projection: a dot a head, the mean with its interval, the target."""
    figure, axes = _figure(7.2, 3.2)
    for place, (name, values) in enumerate(found.items()):
        dots = place + np.linspace(-0.12, 0.12, len(values))
        axes.plot(dots, values, "o", ms=3.5, color="#9ecae1", zorder=2)
        reach = student(values)
        if reach:
            axes.plot([place, place], reach, color=COLORS["mean of 4"], lw=2, zorder=3)
        axes.plot(place, fmean(values), "D", ms=6, color=COLORS["mean of 4"], zorder=4)
        if name in targets:
            line = [place - 0.3, place + 0.3]
            axes.plot(line, [targets[name]] * 2, color="#b2182b", lw=1.5, ls="--", zorder=3)
    axes.axhline(0, color="0.4", lw=0.8)
    axes.set_xticks(range(len(found)), [name.replace(" factor ", "\nby ") for name in found])
    axes.set_ylabel("gain in PSNR, dB")
    return _save(
        setting,
        figure,
        "mri-gains.png",
        "PSNR of the mean of 4 beyond that of back-projection. Pale dots: heads; diamond and bar: "
        "mean and 95 % interval; dashed red: target.",
    )


def calibration(setting: Setting, curve: Sequence[tuple[float, float, float]]) -> Picture:
    """Root mean square error by scaled spread."""
    figure, axes = _figure(3.8, 3.4)
    spread, error, share = np.array(curve).T
    ends = [min(spread.min(), error.min()) / 1.3, max(spread.max(), error.max()) * 1.3]
    axes.plot(ends, ends, color="0.6", lw=1, ls="--", label="perfect")
    axes.plot(spread, error, "-", color=COLORS["mean of 4"], lw=1.2)
    axes.scatter(spread, error, s=12 + 900 * share, color=COLORS["mean of 4"], zorder=3)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_xlabel("spread of the samples, scaled")
    axes.set_ylabel("root mean square error")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return _save(
        setting,
        figure,
        "mri-calibration.png",
        "Voxels binned by their scaled spread against their actual error, on the heads that the "
        "factor was not fixed on; intensities in [0, 1], area of a dot = share of voxels.",
    )


def spectrum(
    setting: Setting,
    power: Mapping[str, NDArray[np.float64]],
    error: Mapping[str, NDArray[np.float64]],
) -> Picture:
    """Power and error power as shares of the truth's, by frequency."""
    figure = _blank(7.2, 3.0)
    titles = ("power: how much detail", "error power: how wrong")
    for place, (title, shares) in enumerate(zip(titles, (power, error), strict=True)):
        axes = figure.add_subplot(1, 2, place + 1)
        plain(axes)
        for name, values in shares.items():
            axes.plot(CENTERS, values, color=COLORS[name], lw=1.6, label=name)
        axes.axhline(1, color="0.3", lw=0.9, ls="--")
        axes.axvline(0.125, color="0.6", lw=0.9, ls=":")
        axes.set_yscale("log")
        axes.set_ylim(1e-2, 3)
        axes.set_xlim(0, 0.5)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("cycles per mm along the slice axis")
        if place == 0:
            axes.set_ylabel("share of the truth's power")
            axes.legend(frameon=False, fontsize=7.5, loc="lower left")
    return _save(
        setting,
        figure,
        "mri-detail.png",
        "4 mm slices, mean over heads. Dashed: the truth's own power. Dotted: the Nyquist "
        "frequency of the slices, beyond which a scan says nothing.",
    )


def steps(
    setting: Setting, shares: Mapping[str, Mapping[int, tuple[int, int]]], usual: int
) -> Picture:
    """Shares of correct clips by the number of steps, with intervals.

    Args:
        setting: Where to.
        shares: axis -> steps -> (hits, prompts).
        usual: Number of steps of the other tables.
    """
    figure, axes = _figure(5.2, 3.2)
    colors = ("#2166ac", "#b2182b", "#1b9e77", "#e08214", "#762a83", "#666666")
    for place, (name, found) in enumerate(shares.items()):
        x = np.array(list(found)) * 2 ** (0.05 * (place - len(shares) / 2))
        y = np.array([hits / max(1, number) for hits, number in found.values()])
        reach = np.array([wilson(*pair) for pair in found.values()]).T
        bars = np.abs(reach - y)
        axes.errorbar(x, y, bars, color=colors[place], lw=1.5, capsize=2, label=name)
    axes.axvline(usual, color="0.6", lw=0.9, ls=":")
    axes.set_xscale("log", base=2)
    ticks = list(next(iter(shares.values())))
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("sampling steps")
    axes.set_ylabel("share of clips that are right")
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower right")
    return _save(
        setting,
        figure,
        "video-steps.png",
        "Held-out combinations, one object, the same prompts and noise for every number of steps; "
        "bars are 95 % intervals. Dotted: the usual 4 steps.",
    )


def head_steps(setting: Setting, gained: Mapping[int, Sequence[float]]) -> Picture:
    """Gain over back-projection of one sample, by its number of steps; a dot a head."""
    figure, axes = _figure(5.2, 2.8)
    for steps, values in gained.items():
        axes.plot([steps] * len(values), values, "o", color="#92c5de", ms=3)
    axes.plot(list(gained), [fmean(v) for v in gained.values()], "D-", color="#2166ac", ms=5)
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(gained), [str(n) for n in gained])
    axes.set_xlabel("sampling steps")
    axes.set_ylabel("dB over back-projection")
    return _save(
        setting,
        figure,
        "mri-steps.png",
        "4 mm to 1 mm, one sample, the same noise for every number of steps. Pale dots: heads; "
        "diamonds: their mean.",
    )


def nearest(
    setting: Setting, made: Sequence[float], real: Sequence[float], threshold: float
) -> Picture:
    """Distances to the nearest training clip, of made and of real clips."""
    figure, axes = _figure(5.2, 2.8)
    top = max(*made, *real) * 1.02
    bins = np.linspace(0, top, 50).tolist()
    axes.hist(real, bins, color="#9aa0a6", alpha=0.8, label="real clips of the same prompts")
    axes.hist(
        made, bins, histtype="step", color=COLORS["mean of 4"], lw=1.6, label="generated clips"
    )
    axes.axvline(threshold, color="#b2182b", lw=1.2, ls="--", label="1st percentile of real")
    axes.set_xlabel("distance to the nearest training clip")
    axes.set_ylabel("clips")
    axes.legend(frameon=False, fontsize=8)
    return _save(
        setting,
        figure,
        "video-nearest.png",
        "Root mean square difference of pixels in [0, 1], clips brought to 16 x 16 pixels.",
    )


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = _blank(width, height)
    axes = figure.add_subplot()
    plain(axes)
    return figure, axes


def _blank(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain(axes: Axes) -> None:
    """Axes as all of the pages' plots have them."""
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color="0.9", lw=0.6)
    axes.set_axisbelow(True)


def _save(setting: Setting, figure: Figure, name: str, caption: str) -> Picture:
    options: dict[str, Any] = {"facecolor": "white"}
    figure.savefig(Path(setting.pictures / name), **options)
    return Picture(name=name, caption=caption)
