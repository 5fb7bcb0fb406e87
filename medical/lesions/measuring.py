"""The lesion atlas, measured from expert masks in MNI space.

``python -m medical.lesions.measuring MASKS FOLDER`` reads ``MASKS/*.nii.gz`` and writes the
atlas. What is kept cannot give a mask back: places are blurred over all people, outlines are
reduced to 15 voxels a side without place, size or direction, and only some of each person's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from core.records import atomic_path
from medical.anatomy.phantom import template_labels
from medical.files.nifti import read_volume
from medical.lesions.atlas import (
    FACTS,
    FILE,
    OUTLINE,
    OUTLINE_REACH,
    LesionAtlas,
    digest_of_mask,
    lesion_atlas,
)
from medical.lesions.fields import (
    Mask,
    boxes_of,
    depth,
    narrower,
    parts_of,
    read_on,
    smooth,
    wider,
)

SPACING = 3.0
SHAPE = (61, 73, 61)
CORNER = (-90.0, -126.0, -72.0)
BLUR_MM = 6.0
OUTLINES_A_PERSON = 6
OUTLINE_VOXELS = (30, 4000)
QUANTILES = np.linspace(0.0, 1.0, 41)


def measure(masks: Iterable[tuple[str, Mask, NDArray[np.float64]]], folder: Path) -> Path:
    """Write the atlas of some masks into a folder; its path.

    Args:
        masks: name, mask (X, Y, Z) and affine to MNI millimeters of each person.
        folder: where ``atlas.safetensors`` and ``facts.json`` go.
    """
    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    affine[:3, 3] = CORNER
    place, outlines, owners, people = np.zeros(SHAPE), [], [], []
    loads, counts, sizes = [], [], []
    for owner, (_, mask, from_voxels) in enumerate(masks):
        voxel = abs(float(np.linalg.det(from_voxels[:3, :3])))
        place += np.minimum(_density(mask, from_voxels, affine), 0.5)
        parts, count = parts_of(mask)
        volumes = np.bincount(parts.ravel())[1:] * voxel
        loads.append(float(volumes.sum()) / 1000)
        counts.append(int(count))
        sizes.append(volumes)
        people.append(digest_of_mask(mask))
        for outline in _outlines(parts, np.asarray(volumes / voxel, np.float64)):
            outlines.append(outline)
            owners.append(owner)
    relative = np.concatenate([np.log(each / each.mean()) for each in sizes])
    facts = {
        "people": people,
        "load_ml": sorted(round(load, 3) for load in loads),
        "load_and_count": [[round(a, 3), b] for a, b in zip(loads, counts, strict=True)],
        "lesion_mm3": np.quantile(np.concatenate(sizes), QUANTILES).round(2).tolist(),
        "log_relative_volume": np.quantile(relative, QUANTILES).round(4).tolist(),
    }
    place = place / place.max()
    arrays = {
        "place": np.round(place * 255).astype(np.uint8),
        "zones": _zones(affine),
        "white": _white(affine),
        "affine": affine,
        "outlines": np.clip(np.round(np.stack(outlines) * 32), -127, 127).astype(np.int8),
        "owners": np.asarray(owners, dtype=np.int16),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / FILE, overwrite=True) as temporary:
        save_file(arrays, temporary)
    with atomic_path(folder / FACTS, overwrite=True) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return folder / FILE


def _density(
    mask: Mask, from_voxels: NDArray[np.float64], affine: NDArray[np.float64]
) -> NDArray[np.float32]:
    sigma = BLUR_MM / np.linalg.norm(from_voxels[:3, :3], axis=0)
    blurred = smooth(mask.astype(np.float32), sigma)
    return read_on(blurred, np.linalg.inv(from_voxels) @ affine, SHAPE)


def _outlines(
    parts: NDArray[np.integer], voxels: NDArray[np.float64]
) -> Iterable[NDArray[np.float32]]:
    """The outlines of some of a person's lesions, spread over their sizes."""
    low, high = OUTLINE_VOXELS
    fit = [i for i in np.argsort(voxels) if low <= voxels[i] <= high]
    chosen = np.unique(np.linspace(0, len(fit) - 1, min(OUTLINES_A_PERSON, len(fit))).round())
    boxes = boxes_of(parts)
    for position in chosen.astype(int):
        index = fit[position]
        box = boxes[index]
        assert box is not None  # it has voxels
        yield _outline(parts[box] == index + 1, float(voxels[index]))


def _outline(lesion: Mask, voxels: float) -> NDArray[np.float32]:
    """Signed distance to a lesion's border around its middle, in radii, on a small grid."""
    padded = np.pad(lesion, 8)
    radius = (3 * voxels / (4 * np.pi)) ** (1 / 3)
    distance = depth(~padded, (1, 1, 1)) - depth(padded, (1, 1, 1))
    step = 2 * OUTLINE_REACH * radius / (OUTLINE - 1)
    smoothed = smooth(distance.astype(np.float32), max(0.5, step / 3))
    middle = np.argwhere(padded).mean(axis=0)
    across = np.diag([step, step, step, 1.0])
    across[:3, 3] = middle - (OUTLINE - 1) / 2 * step
    box = read_on(smoothed, across, (OUTLINE,) * 3, beyond="nearest")
    return np.clip(box / radius, -3.9, 3.9).astype(np.float32)


def _zones(affine: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Where the template's lateral ventricles reach with room to spare (1), and the hindbrain (2).

    The tentorium is taken for two sloping planes; the brain stem joins it from in front.
    """
    template = template_labels()
    labels = template.data.numpy()
    inner = narrower(labels == 1)
    parts, _ = parts_of(inner)
    at = np.linalg.inv(template.affine) @ np.array([[-18.0, -36, 18, 1], [18.0, -36, 18, 1]]).T
    found = {_nearest_part(parts, point) for point in at[:3].T}
    ventricles = wider(np.isin(parts, list(found)), 6)
    across = np.linalg.inv(template.affine) @ affine
    zone = read_on(ventricles.astype(np.float32), across, SHAPE)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(grid * SPACING + np.asarray(CORNER), -1, 0)
    below = (y < -30) & (z < 2 - 0.6 * np.abs(x))
    stem = (np.abs(x) < 18) & (z < -8) & (y < -8)
    return np.where(below | stem, 2, np.where(zone > 0.5, 1, 0)).astype(np.uint8)


def _white(affine: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Share of white matter in the template, 255 for all."""
    template = template_labels()
    white = smooth((template.data.numpy() == 3).astype(np.float32), 1.0)
    return np.round(read_on(white, np.linalg.inv(template.affine) @ affine, SHAPE) * 255).astype(
        np.uint8
    )


def _nearest_part(parts: NDArray[np.integer], point: NDArray[np.float64]) -> int:
    places = np.argwhere(parts > 0)
    sizes = np.bincount(parts.ravel())
    places = places[sizes[parts[tuple(places.T)]] > 1000]
    nearest = places[np.square(places - point).sum(axis=1).argmin()]
    return int(parts[tuple(nearest)])


def atlas_of(masks: Path, without: Sequence[str], folder: Path) -> LesionAtlas:
    """The lesion atlas of a folder of masks, some people left out.

    Args:
        masks: Folder of masks in MNI space.
        without: What the files of those are called who are left out, up to the first dot.
        folder: Where the atlas goes.
    """
    paths = [p for p in sorted(masks.glob("*.nii*")) if p.name.split(".")[0] not in without]
    volumes = ((path, read_volume(path)) for path in paths)
    measure(((path.name, v.data.numpy() > 0, v.affine_mm) for path, v in volumes), folder)
    return lesion_atlas(folder)


def main() -> None:
    """Measure a folder of masks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("masks", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    volumes = ((path, read_volume(path)) for path in sorted(given.masks.glob("*.nii*")))
    measure(
        ((path.name, volume.data.numpy() > 0, volume.affine_mm) for path, volume in volumes),
        given.folder,
    )


if __name__ == "__main__":
    main()
