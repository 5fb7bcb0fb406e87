"""The picture of a head that was changed or mapped: one axial cut, where most of it happened.

The nose is up and the right of the head on the left, as radiologists look at it. An axial cut
shows no face.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion

from medical.audit.seen import upright
from medical.datasets.pictures import COLORS, HEIGHT, LESION, box_of, shown
from medical.files.volume import Volume

AIR = 0.1  # of the brightest, below which there is none of the head
BRIGHT = 99.5  # percentile of the head that is shown white
GOLDEN = 0.618034  # of a turn of hue from one label to the next, so that neighbors differ
OPAQUE = 0.55

Pixels = NDArray[np.uint8]


def picture_of_change(scan: Volume, after: NDArray[np.generic], mask: NDArray[np.bool_]) -> bytes:
    """A PNG of a head before, after, and after with its mask's outline in red.

    Args:
        scan: As it was.
        after: (D, H, W) as it is, on the same grid.
        mask: (D, H, W) where it may differ.
    """
    views = _Views(scan, mask)
    old, new = views.gray(scan), views.gray(scan.with_data(_tensor(after)))
    inside, outlined = views.plane(_tensor(mask), smooth=False) > 0, new.copy()
    outlined[inside & ~np.asarray(binary_erosion(inside), bool)] = LESION
    return _png([old, new, outlined])


def picture_of_labels(scan: Volume, labels: NDArray[Any]) -> bytes:
    """A PNG of a head, and of it under its labels in colors.

    Args:
        scan: The head.
        labels: (D, H, W) on its grid, 0 for none.
    """
    views = _Views(scan, labels > 0)
    plain, found = views.gray(scan), views.plane(_tensor(labels), smooth=False)
    colored = plain.copy()
    for label in np.unique(found[found > 0]).astype(int).tolist():
        there = found == label
        colored[there] = (1 - OPAQUE) * plain[there] + OPAQUE * np.array(color_of(label))
    return _png([plain, colored])


def picture_of_map(scan: Volume, values: NDArray[Any]) -> bytes:
    """A PNG of a head, and of a map from black for 0 to yellow for the most in the cut.

    Args:
        scan: The head.
        values: (D, H, W) on its grid, 0 and more.
    """
    views = _Views(scan, values > 0.5 * float(values.max()))
    found = views.plane(_tensor(values), smooth=True)
    share = found / max(float(found.max()), 1e-9)
    hot = (colormaps["inferno"](share.clip(0, 1))[..., :3] * 255).astype(np.uint8)
    return _png([views.gray(scan), hot])


def color_of(label: int) -> tuple[int, int, int]:
    """Red, green and blue of a label: tissues have those of reports."""
    if label in COLORS:
        return COLORS[label]
    r, g, b = colorsys.hsv_to_rgb(label * GOLDEN % 1, 0.75, 1.0)
    return round(255 * r), round(255 * g), round(255 * b)


class _Views:
    """The axial cut of a head that shows most of a mask, or its middle.

    Args:
        scan: The head.
        mask: (D, H, W) on its grid.
    """

    def __init__(self, scan: Volume, mask: NDArray[np.bool_]) -> None:
        self.scan = scan
        head = upright(scan)
        data = head.data.numpy()
        bright = data > AIR * float(data.max())
        box = box_of(bright.astype(np.uint8))
        there = upright(scan.with_data(_tensor(mask))).data.numpy() * bright
        inside = there[box].sum((0, 1))
        level = int(inside.argmax()) if inside.any() else len(inside) // 2
        self.place = (*box[:2], (box[2].start or 0) + level)
        tissue = data[bright]
        self.top = float(np.percentile(tissue, BRIGHT)) if len(tissue) else 1.0
        wide, high = (n * s for n, s in zip(data[self.place].shape, head.spacing_mm, strict=False))
        self.size = (max(1, round(HEIGHT * wide / high)), HEIGHT)

    def plane(self, data: torch.Tensor, *, smooth: bool) -> NDArray[np.float32]:
        """(H, W) of voxels (D, H, W) on the scan's grid, in square pixels."""
        turned = upright(self.scan.with_data(data)).data.numpy()[self.place]
        image = Image.fromarray(np.ascontiguousarray(turned[::-1, ::-1].T))
        kind = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
        return np.array(image.resize(self.size, kind))

    def gray(self, volume: Volume) -> Pixels:
        """The cut in gray, (H, W, 3), with a letter for its left."""
        return shown([self.plane(volume.data, smooth=True)], self.top)


def _tensor(values: NDArray[np.generic]) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _png(pictures: Sequence[Pixels]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(pictures, axis=1)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
