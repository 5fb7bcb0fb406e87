"""Pictures of the families' page: curves over evaluations, losses, and what was drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.benchmarks.families.measures import Result, score
from tests.benchmarks.families.scores import EVALUATIONS, Pictures
from tests.benchmarks.quality.plots import plain

STYLES = (
    "#2166ac", "#e08214", "#1b9e77", "#b2182b", "#762a83", "#666666", "#a6761d", "#e7298a",
    "#66a61e", "#1f78b4", "#fb9a99", "#999999",
)  # fmt: skip
SHOWN = (1, 2, 4, 8, 32)


def curves(path: Path, arms: Mapping[str, Result], label: str, floor: float) -> None:
    """Score over evaluations, a line an arm; what lies below ``floor`` is cut off."""
    figure, axes = _figure()
    for color, (name, result) in zip(STYLES, arms.items(), strict=False):
        y = [max(floor, score(result, e)) for e in EVALUATIONS]
        axes.plot(EVALUATIONS, y, "o-", ms=3, lw=1.4, color=color, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(EVALUATIONS, [str(e) for e in EVALUATIONS])
    axes.set_xlabel("evaluations of the network")
    axes.set_ylabel(label)
    axes.legend(frameon=False, fontsize=6.5, loc="center left", bbox_to_anchor=(1, 0.5))
    _save(figure, path)


def losses(path: Path, arms: Mapping[str, Result]) -> None:
    """Error of the lesson over the share of the steps, each as a share of its own first value."""
    figure, axes = _figure()
    for color, (name, result) in zip(STYLES, arms.items(), strict=False):
        x, y = _joined(result["curve"].values())
        axes.plot(x, y / y[0], lw=1.4, color=color, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("% of the steps")
    axes.set_ylabel("error of the lesson, first = 1")
    axes.legend(frameon=False, fontsize=6.5, loc="center left", bbox_to_anchor=(1, 0.5))
    _save(figure, path)


def _joined(stages: Sequence[Sequence[Sequence[float]]]) -> tuple[np.ndarray, np.ndarray]:
    """The stages' curves, one behind the other: percent, errors."""
    places, values, before = [], [], 0.0
    for lines in stages:
        places += [before + line[0] for line in lines]
        values += [line[2] for line in lines]
        before = places[-1]
    return 100 * np.array(places) / before, np.array(values)


def drawn(path: Path, arms: Mapping[str, Pictures], number: int, *, clips: bool) -> None:
    """What one prompt or patch became: a row an arm, a column a number of evaluations."""
    first = [] if clips else ["truth", "beside"]
    columns = first + [str(e) for e in SHOWN]
    figure = Figure(figsize=(1.05 * len(columns) + 1.3, 1.05 * len(arms) + 0.3), dpi=72)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(arms), len(columns), squeeze=False)
    for place, (row, (name, pictures)) in enumerate(zip(grid, arms.items(), strict=True)):
        for axes, column in zip(row, columns, strict=True):
            picture = pictures[f"{column} {number}"]
            axes.imshow(picture, cmap="gray", **({} if clips else {"vmin": -2, "vmax": 2}))
            axes.set_xticks([])
            axes.set_yticks([])
            if place == 0:
                axes.set_title({"beside": "scan"}.get(column, column), fontsize=8)
        row[0].set_ylabel(name, fontsize=7, rotation=0, ha="right", va="center")
    figure.subplots_adjust(left=0.2, right=0.99, top=0.95, bottom=0.01, wspace=0.05, hspace=0.05)
    _save(figure, path)


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 3.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    plain(axes)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white")
