"""A person's own head as lesions need it: where it lies in MNI space, what is white matter.

The head is laid over the template box on box, and white matter is where the template has it and
the intensity is that of its middle. Good to a centimeter; a head that says it lies in MNI space is
taken at its word.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.refusal import Refusal
from medical.files.volume import Volume
from medical.lesions.atlas import LesionAtlas
from medical.lesions.fields import narrower, wider
from medical.lesions.regions import CSF, GRAY, WHITE

MNI = 4
BOX = ((-61.0, -92.0, -51.0), (61.0, 59.0, 69.0))
"""Percentiles 2 and 98 of the template's brain along x, y, z, mm."""
CONTRASTS = ("T1w", "T2w", "FLAIR")
SPREADS = 2.5  # of white matter's intensity, up to which a voxel is taken for it


def contrast_of(scan: Path, asked: str) -> str:
    """The contrast of a scan: as asked, else as its name ends in BIDS.

    Raises:
        Refusal: Neither says it.
    """
    if asked:
        return asked
    found = re.search(r"_(T1w|T2w|FLAIR)(\.nii|$)", scan.name, re.IGNORECASE)
    if not found:
        raise Refusal(
            f"{scan.name} does not say its contrast: lesions are bright or dark by it; name it "
            "with --contrast T1w, T2w or FLAIR, or end the file's name with _T1w.nii.gz."
        )
    return next(name for name in CONTRASTS if name.lower() == found[1].lower())


def to_mni(volume: Volume) -> NDArray[np.float64]:
    """From a head's voxels to millimeters of MNI space.

    Raises:
        Refusal: It holds no head.
    """
    affine = volume.affine_mm
    if MNI in (volume.header.sform_code, volume.header.qform_code):
        return affine
    data = volume.data.numpy()
    places = np.argwhere(data[::2, ::2, ::2] > tissue_above(data)) * 2.0
    if len(places) < 100:
        raise Refusal(
            "the scan holds no head: lesions lie in the white matter of one; give a "
            "skull-stripped head."
        )
    world = places @ affine[:3, :3].T + affine[:3, 3]
    low, high = np.percentile(world, [2, 98], axis=0)
    scale = (np.array(BOX[1]) - np.array(BOX[0])) / (high - low)
    across = np.diag([*scale, 1.0])
    across[:3, 3] = np.array(BOX[0]) - low * scale
    return across @ affine


def labels_of(
    volume: Volume, in_mni: NDArray[np.float64], atlas: LesionAtlas
) -> NDArray[np.uint8]:
    """Fluid, gray and white matter of a head: (D, H, W), 0 outside.

    Args:
        volume: the head.
        in_mni: from its voxels to MNI millimeters.
        atlas: with the template's white matter.

    Raises:
        Refusal: No white matter is found.
    """
    data = volume.data.numpy()
    head = data > tissue_above(data)
    share = atlas.at(atlas.white, volume.shape, in_mni)
    sure = data[(share > 0.9) & head]
    if len(sure) < 100:
        raise Refusal(
            "no white matter was found in the scan: its head must be skull-stripped and upright "
            "in its own axes; strip it, or correct its affine."
        )
    middle = float(np.median(sure))
    spread = 1.48 * float(np.median(np.abs(sure - middle))) + 1e-6
    like = np.abs(data - middle) <= SPREADS * spread
    white = narrower(wider((share > 0.4) & like & head) & (share > 0.4) & like)
    ventricle = (atlas.at(atlas.ventricles, volume.shape, in_mni) > 0.5) & ~like
    labels = np.where(white, WHITE, np.where(ventricle, CSF, GRAY))
    return (labels * (head | ventricle)).astype(np.uint8)


def check_load(volume: Volume, load_ml: float) -> None:
    """Refuse more than a head can hold, whatever its voxels' size, before anything is drawn.

    Raises:
        Refusal: The lesions asked for are larger than the head.
    """
    data = volume.data.numpy()
    found = float((data > tissue_above(data)).sum()) * volume.voxel_ml
    if load_ml > found:
        raise Refusal(
            f"{load_ml:g} ml of lesions in a head of {found:.3g} ml: they lie inside it; "
            "ask for a smaller load, or correct the scan's voxel size or unit of length."
        )


def tissue_above(data: NDArray[np.float32]) -> float:
    """An intensity between air and tissue."""
    bright = data[data > data.min()]
    top = float(np.percentile(bright, 99)) if len(bright) else 0.0
    return max(0.1 * top, float(data.min()))
