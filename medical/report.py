"""The picture of a restoration: the scan, the result and where the result is unsure."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medical.restoration import Restoration
from medical.volume import Volume

MAX_BYTES = 200_000
COLUMNS = ("scan", "restored", "uncertainty")


def picture(scan: Volume, restoration: Restoration, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return a PNG with three orthogonal cuts of scan, result and uncertainty.

    Rows are cuts across the result's three array axes through the middle of the head, drawn in
    millimeters; the scan is shown as it was acquired, without interpolation.

    Args:
        scan: as given to ``super_resolve``.
        restoration: as returned by it.
        max_bytes: the picture is drawn smaller until it fits.
    """
    for dpi in (110, 90, 70, 50, 35):
        png = _draw(scan, restoration, dpi)
        if len(png) <= max_bytes:
            return png
    raise ValueError(
        f"the picture takes {len(png)} bytes at its smallest: max_bytes={max_bytes} must hold "
        "it; allow more."
    )


def _draw(scan: Volume, restoration: Restoration, dpi: int) -> bytes:
    figure = Figure(figsize=(7.2, 7.6), dpi=dpi, facecolor="black")
    FigureCanvasAgg(figure)
    top = restoration.scale.high
    spread = float(np.percentile(restoration.std.data.numpy(), 99.8)) or 1.0
    styles = ({"cmap": "gray", "vmin": restoration.scale.low, "vmax": top},) * 2
    styles = (*styles, {"cmap": "inferno", "vmin": 0.0, "vmax": spread})
    middle = _middle(restoration.mean)
    for row in range(3):
        for column, volume in enumerate((scan, restoration.mean, restoration.std)):
            axes = figure.add_subplot(3, 3, 3 * row + column + 1)
            image, aspect = cut(volume, row, middle[row])
            axes.imshow(image, aspect=aspect, interpolation="nearest", **styles[column])
            axes.set_axis_off()
            if row == 0:
                axes.set_title(COLUMNS[column], color="white", fontsize=10)
    figure.text(
        0.5,
        0.012,
        f"consistency {restoration.consistency:.1e}   seam {restoration.seam:.3f}   "
        f"uncertainty up to {spread:.3g} of {top:.3g}   research use, not for diagnosis",
        color="0.7",
        fontsize=7,
        ha="center",
    )
    figure.subplots_adjust(left=0.01, right=0.99, top=0.95, bottom=0.035, wspace=0.03, hspace=0.03)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="black")
    return buffer.getvalue()


def cut(volume: Volume, axis: int, share: float) -> tuple[NDArray[np.float32], float]:
    """Return one plane of a volume, ready to draw, and its pixels' aspect.

    Args:
        volume: any.
        axis: of the array, across which to cut.
        share: where along that axis, 0 to 1 of the field of view.
    """
    index = min(volume.shape[axis] - 1, int(share * volume.shape[axis]))
    plane = volume.data.select(axis, index).numpy()
    across, up = (volume.spacing_mm[a] for a in range(3) if a != axis)
    return plane.T[::-1], up / across


def _middle(volume: Volume) -> tuple[float, float, float]:
    """Return the center of the bright voxels as shares of the field of view."""
    bright = volume.data > 0.1 * float(volume.data.max())
    if not bool(bright.any()):
        return 0.5, 0.5, 0.5
    d, h, w = (
        float(bright.any(dim=tuple(o for o in range(3) if o != a)).nonzero().float().mean() + 0.5)
        / volume.shape[a]
        for a in range(3)
    )
    return d, h, w
