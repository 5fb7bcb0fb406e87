"""Pictures of the experiments: curves, few heads, detail."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.benchmarks.arms.measures import Result, Values
from tests.benchmarks.intervals import student
from tests.benchmarks.quality.detail import CENTERS
from tests.benchmarks.quality.plots import plain

COLORS = ("#2166ac", "#e08214", "#1b9e77", "#b2182b", "#762a83", "#666666")
NYQUIST = 0.125


def curves(path: Path, arms: Mapping[str, Result], domain: str, level: str) -> None:
    """Held-out error at a level against the share of the run, which no other load changes."""
    figure, axes = _figure(5.2, 3.2)
    for color, (name, result) in zip(_colors(arms), arms.items(), strict=True):
        lines = [line for line in result["curve"] if domain in line]
        x = [100 * line["step"] / sum(result["steps"].values()) for line in lines]
        y = [10 * math.log10(line[domain]["data"] / line[domain][level]) for line in lines]
        axes.plot(x, y, "o-", ms=3, lw=1.5, color=color, label=name)
    axes.set_xlabel("% of the run's steps")
    axes.set_ylabel(f"signal over error at t = {level}, dB")
    axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def few_heads(path: Path, lines: Mapping[str, Mapping[int, Result]], values: Values) -> None:
    """A score by the number of heads, a line each for what came before."""
    figure, axes = _figure(5.2, 3.2)
    for place, (name, found) in enumerate(lines.items()):
        counts = sorted(found)
        x = [n * 2 ** (0.06 * (place - len(lines) / 2)) for n in counts]
        y = [fmean(values(found[n])) for n in counts]
        reach = [student(values(found[n])) or (v, v) for n, v in zip(counts, y, strict=True)]
        bars = np.abs(np.array(reach).T - np.array(y))
        axes.errorbar(x, y, bars, color=COLORS[place], lw=1.5, capsize=2, marker="o", ms=3,
                      label=name)  # fmt: skip
    ticks = sorted({n for found in lines.values() for n in found})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    axes.set_xlabel("heads trained on")
    axes.set_ylabel("signal over error, dB")
    axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def detail(path: Path, power: Mapping[str, Sequence[float]]) -> None:
    """Power along the slice axis as shares of the truth's."""
    figure, axes = _figure(5.2, 3.2)
    for color, (name, shares) in zip(_colors(power), power.items(), strict=True):
        axes.plot(CENTERS, shares, color=color, lw=1.6, label=name)
    axes.axhline(1, color="0.3", lw=0.9, ls="--")
    axes.axvline(NYQUIST, color="0.6", lw=0.9, ls=":")
    axes.set_yscale("log")
    axes.set_xlim(0, 0.5)
    axes.set_ylim(1e-3, 3)
    axes.set_xlabel("cycles per mm along the slice axis")
    axes.set_ylabel("share of the truth's power")
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    _save(figure, path)


def _colors(of: Mapping[str, object]) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(len(of))]


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    plain(axes)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white")
