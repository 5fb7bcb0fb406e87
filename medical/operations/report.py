"""The picture of a restoration: the scan, the result and where the result is unsure."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from core.refusal import Refusal
from medical.files.volume import Volume
from medical.operations.restoration import Restoration

MAX_BYTES = 200_000
Box = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
EXPECTED, SPREAD = "error to expect, in the scan's units", "spread of samples, in the scan's units"
COLUMNS = ("scan", "restored", "uncertainty")


def picture(scan: Volume, restoration: Restoration, *, max_bytes: int = MAX_BYTES) -> bytes:
    """A PNG with three orthogonal cuts of scan, result and uncertainty.

    Rows are cuts across the result's three array axes through the middle of the head, drawn in
    millimeters; the scan is shown as it was acquired, without interpolation.

    Args:
        scan: As given to ``super_resolve``.
        restoration: As returned by it.
        max_bytes: The picture is drawn smaller until it fits.
    """
    for dpi in (110, 90, 70, 50, 35):
        png = _draw(scan, restoration, dpi)
        if len(png) <= max_bytes:
            return png
    raise Refusal(
        f"the picture takes {len(png)} bytes at its smallest: max_bytes={max_bytes} must hold "
        "it; allow more."
    )


def _draw(scan: Volume, restoration: Restoration, dpi: int) -> bytes:
    box = _box(restoration.mean)
    sizes = [s * n * (high - low) for s, n, (low, high) in _extents(restoration.mean, box)]
    heights = [sizes[2], sizes[2], sizes[1]]
    widest = max(sizes[0], sizes[1])
    figure = Figure(figsize=(7.2, 7.2 / 3 * sum(heights) / widest + 0.5), dpi=dpi)
    FigureCanvasAgg(figure)
    figure.set_facecolor("black")
    grid = figure.add_gridspec(3, 3, height_ratios=heights)
    top, low = restoration.scale.high, restoration.scale.low
    spread = max(float(np.percentile(restoration.std.data.numpy(), 99.8)), 1e-3 * (top - low))
    for row in range(3):
        for column, volume in enumerate((scan, restoration.mean, restoration.std)):
            axes = figure.add_subplot(grid[row, column])
            image, aspect = cut(volume, row, box)
            color = ("inferno", 0.0, spread) if column == 2 else ("gray", low, top)
            axes.imshow(
                image,
                aspect=aspect,
                interpolation="nearest",
                cmap=color[0],
                vmin=color[1],
                vmax=color[2],
            )
            axes.set_axis_off()
            if row == 0:
                axes.set_title(COLUMNS[column], color="white", fontsize=10)
    note = (
        f"consistency {restoration.consistency:.1e}   seam {restoration.seam:.3f}   "
        f"brightest tissue {top:.4g}   research use, not for diagnosis"
    )
    figure.text(0.34, 0.012, note, color="0.7", fontsize=7, ha="center")
    figure.subplots_adjust(left=0.01, right=0.99, top=0.95, bottom=0.07, wspace=0.03, hspace=0.03)
    _color_bar(figure, spread, restoration.calibrated)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="black")
    return buffer.getvalue()


def _color_bar(figure: Figure, most: float, calibrated: bool) -> None:
    """What the colors of the uncertainty mean, in the scan's units."""
    axes = figure.add_axes((0.70, 0.045, 0.26, 0.012))
    shown = ScalarMappable(Normalize(0.0, most), "inferno")
    figure.colorbar(shown, cax=axes, orientation="horizontal")
    axes.tick_params(colors="0.7", labelsize=6, length=2, pad=1)
    axes.set_title(EXPECTED if calibrated else SPREAD, color="0.7", fontsize=6, pad=2)


def cut(volume: Volume, axis: int, box: Box) -> tuple[NDArray[np.float32], float]:
    """One plane of a volume, ready to draw, and its pixels' aspect.

    Args:
        volume: Any.
        axis: Of the array, across which to cut, through the middle of the box.
        box: Part of the field of view to show, as shares of each axis.
    """
    middle = (box[axis][0] + box[axis][1]) / 2
    plane = volume.data.select(axis, min(volume.shape[axis] - 1, int(middle * volume.shape[axis])))
    across, up = (a for a in range(3) if a != axis)
    for position, a in enumerate((across, up)):
        low = int(box[a][0] * volume.shape[a])
        high = max(low + 1, round(box[a][1] * volume.shape[a]))
        plane = plane.narrow(position, low, min(high, volume.shape[a]) - low)
    return plane.numpy().T[::-1], volume.spacing_mm[up] / volume.spacing_mm[across]


def _box(volume: Volume, margin: float = 0.03) -> Box:
    """Where the bright voxels are, as shares of the field of view, with a margin."""
    bright = volume.data > 0.1 * float(volume.data.max())
    if not bool(bright.any()):
        return (0.0, 1.0), (0.0, 1.0), (0.0, 1.0)
    shares = []
    for axis in range(3):
        found = bright.any(dim=tuple(o for o in range(3) if o != axis)).nonzero()
        low, high = float(found.min()), float(found.max()) + 1
        size = volume.shape[axis]
        shares.append((max(0.0, low / size - margin), min(1.0, high / size + margin)))
    return shares[0], shares[1], shares[2]


def _extents(volume: Volume, box: Box) -> list[tuple[float, int, tuple[float, float]]]:
    return list(zip(volume.spacing_mm, volume.shape, box, strict=True))
