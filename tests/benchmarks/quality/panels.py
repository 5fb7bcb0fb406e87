"""A sheet of gray planes in rows and columns, all in one window, with a bar for scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image

GRAY = ("gray", 0.0, 1.0)
OUTLINE = [withStroke(linewidth=2.5, foreground="black")]
MARGIN, TITLE, LABEL, GAP = 0.05, 0.28, 0.24, 0.03  # inches


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet.

    Attributes:
        plane: (up, right).
        spacing_mm: of its pixels, (up, right).
        window: color map, lowest and highest value.
        note: written into its lower right corner.
    """

    plane: NDArray[np.floating]
    spacing_mm: tuple[float, float]
    window: tuple[str, float, float] = GRAY
    note: str = ""

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width."""
        return (
            self.plane.shape[0] * self.spacing_mm[0],
            self.plane.shape[1] * self.spacing_mm[1],
        )


@dataclass(frozen=True)
class Line:
    """One row of a sheet: its label at the left and its cells."""

    label: str
    cells: Sequence[Cell]


def draw_sheet(
    path: Path,
    titles: Sequence[str],
    lines: Sequence[Line],
    *,
    bar_mm: float = 20.0,
    cell_inches: float = 1.5,
    quality: int = 82,
) -> None:
    """Write a WebP with a row for each line and a column for each title, in true proportions."""
    heights = [cell_inches * max(_ratio(cell) for cell in line.cells) for line in lines]
    width = LABEL + len(titles) * (cell_inches + GAP) + MARGIN
    height = TITLE + sum(heights) + GAP * len(lines) + MARGIN
    figure = Figure(figsize=(width, height), dpi=130, facecolor="black")
    FigureCanvasAgg(figure)
    top = height - TITLE
    for column, title in enumerate(titles):
        x = (LABEL + column * (cell_inches + GAP) + cell_inches / 2) / width
        figure.text(x, 1 - TITLE / height / 2, title, color="white", fontsize=8,
                    ha="center", va="center")  # fmt: skip
    for line, tall in zip(lines, heights, strict=True):
        middle = (top - tall / 2) / height
        figure.text(LABEL / 2 / width, middle, line.label, color="white", fontsize=8,
                    rotation=90, ha="center", va="center")  # fmt: skip
        for column, cell in enumerate(line.cells):
            x = LABEL + column * (cell_inches + GAP)
            box = (x / width, (top - tall) / height, cell_inches / width, tall / height)
            axes = figure.add_axes(box)
            _draw(axes, cell)
            if column == 0:
                _scale_bar(axes, cell, bar_mm)
        top -= tall + GAP
    buffer = BytesIO()
    figure.savefig(buffer, format="png", facecolor="black")
    Image.open(buffer).convert("RGB").save(path, "WEBP", quality=quality, method=6)


def _ratio(cell: Cell) -> float:
    height, width = cell.size_mm
    return height / width


def _draw(axes: Axes, cell: Cell) -> None:
    color, low, high = cell.window
    axes.imshow(
        cell.plane.astype(np.float32),
        cmap=color,
        vmin=low,
        vmax=high,
        aspect=cell.spacing_mm[0] / cell.spacing_mm[1],
        interpolation="nearest",
    )
    axes.set_axis_off()
    if cell.note:
        axes.text(0.97, 0.03, cell.note, transform=axes.transAxes, color="white", fontsize=6.5,
                  ha="right", va="bottom", path_effects=OUTLINE)  # fmt: skip


def _scale_bar(axes: Axes, cell: Cell, bar_mm: float) -> None:
    length = bar_mm / cell.spacing_mm[1]
    rows, columns = cell.plane.shape
    x, y = 0.05 * columns, 0.95 * rows
    axes.plot([x, x + length], [y, y], color="white", lw=1.6, path_effects=OUTLINE)
    axes.text(x + length / 2, y - 0.015 * rows, f"{bar_mm:g} mm", color="white", fontsize=6,
              ha="center", va="bottom", path_effects=OUTLINE)  # fmt: skip
