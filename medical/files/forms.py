"""What a NIfTI header tells of its grid: how many voxels, and what its two affines mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from medical.files.volume import same_corners


def shape_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the axes beyond the third that hold one volume."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return tuple(map(int, shape))


def form_codes(image: Any) -> tuple[int, int]:
    """What the sform and the qform of an image of nibabel's mean, 0 for nothing.

    A qform that lies elsewhere than the sform is not read, so what it means is said of nothing.
    """
    sform, qform = int(image.header["sform_code"]), int(image.header["qform_code"])
    if sform <= 0 or qform <= 0:
        return max(sform, qform), max(sform, qform)
    try:
        with np.errstate(all="ignore"):
            same = same_corners(shape_of(image.shape), image.get_qform(), image.affine)
    except Exception:  # of numbers that turn nothing
        same = False
    return sform, qform if same else sform
