"""Where in an anatomy lesions may lie: beside the ventricles, below the cortex, in the hindbrain.

The regions are those of the criteria for multiple sclerosis (Thompson et al. 2018). They follow
from an anatomy's own tissues; the atlas says only which of its fluid may be ventricle and what
lies below the tentorium.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.refusal import Refusal
from medical.lesions.atlas import REGIONS, LesionAtlas
from medical.lesions.fields import parts_of

CSF, GRAY, WHITE = 1, 2, 3
NEAR_VENTRICLE_MM = 4.0
NEAR_CORTEX_MM = 2.5


@dataclass(frozen=True, eq=False)
class Places:
    """Where lesions may grow and begin.

    Attributes:
        region: (X, Y, Z) 0 where no lesion lies, else 1 + the index into ``REGIONS``.
        frequency: (X, Y, Z) how often lesions were found there, above 0 wherever they may lie.
        voxel_mm3: volume of a voxel.
        spacing_mm: distance of voxels along the axes.
    """

    region: NDArray[np.uint8]
    frequency: NDArray[np.float32]
    voxel_mm3: float
    spacing_mm: tuple[float, float, float]

    def of(self, names: tuple[str, ...]) -> NDArray[np.bool_]:
        """Whether a voxel lies in one of the regions named."""
        return np.isin(self.region, [1 + REGIONS.index(name) for name in names])


def places_of(
    labels: NDArray[np.uint8],
    affine: NDArray[np.float64],
    atlas: LesionAtlas,
    *,
    spacing_mm: tuple[float, float, float] | None = None,
) -> Places:
    """The places for lesions in an anatomy.

    Args:
        labels: (X, Y, Z), 0 background, 1 CSF, 2 gray, 3 white matter.
        affine: (4, 4), from voxels to MNI-like millimeters.
        atlas: of lesions.
        spacing_mm: of the voxels in the head; None for that of the affine.

    Raises:
        Refusal: There is no white matter, or a label that is no tissue.
    """
    if unknown := sorted(set(np.unique(labels).tolist()) - {0, CSF, GRAY, WHITE}):
        raise Refusal(
            f"an anatomy has the label {unknown[0]}: its labels are 0 background, 1 CSF, 2 gray "
            "and 3 white matter; map the others to these first."
        )
    white = labels == WHITE
    if not white.any():
        raise Refusal(
            "an anatomy has no white matter (label 3): lesions lie in it; give labels of a brain."
        )
    own = np.linalg.norm(affine[:3, :3], axis=0)
    spacing = own if spacing_mm is None else np.asarray(spacing_mm)
    fluid = (labels == CSF) & (atlas.at(atlas.ventricles, labels.shape, affine) > 0.5)
    hindbrain = atlas.at(atlas.infratentorial, labels.shape, affine) > 0.5
    cortex = (labels == GRAY) & ~hindbrain & ~_core(labels.shape, affine)
    region = np.where(white, 1 + REGIONS.index("deep"), 0)
    below = white & near(cortex, spacing, NEAR_CORTEX_MM)
    region[below] = 1 + REGIONS.index("juxtacortical")
    beside = white & near(_large(fluid), spacing, NEAR_VENTRICLE_MM)
    region[beside] = 1 + REGIONS.index("periventricular")
    region[white & hindbrain] = 1 + REGIONS.index("infratentorial")
    frequency = np.maximum(atlas.at(atlas.place, labels.shape, affine), 0.004)
    voxel = float(abs(np.linalg.det(affine[:3, :3] / own)) * spacing.prod())
    x, y, z = spacing.tolist()
    return Places(region.astype(np.uint8), frequency, voxel, (x, y, z))


def near(
    there: NDArray[np.bool_], spacing: NDArray[np.float64], distance_mm: float
) -> NDArray[np.bool_]:
    """Whether a voxel lies within a distance of one that is there."""
    reach = np.floor(distance_mm / spacing).astype(int)
    wide = np.pad(there, [(int(n), int(n)) for n in reach])
    found = np.zeros_like(there)
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1)
    for step in steps.reshape(-1, 3):
        if np.linalg.norm(step * spacing) <= distance_mm + 1e-6:
            at = step + reach
            found |= wide[tuple(slice(a, a + n) for a, n in zip(at, there.shape, strict=True))]
    return found


def _core(shape: tuple[int, ...], affine: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The box around basal ganglia and thalamus, whose gray matter is no cortex."""
    steps = [np.arange(n) for n in shape]
    x, y, z = (
        affine[a, 0] * steps[0][:, None, None]
        + affine[a, 1] * steps[1][None, :, None]
        + affine[a, 2] * steps[2][None, None, :]
        + affine[a, 3]
        for a in range(3)
    )
    return (np.abs(x) < 34) & (y > -36) & (y < 24) & (z > -12) & (z < 20)


def _large(fluid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The parts of the fluid that are no speck."""
    parts, count = parts_of(fluid)
    if not count:
        return fluid
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return (sizes >= 0.05 * sizes.max())[parts]
