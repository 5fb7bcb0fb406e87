"""Drawn anatomies among real ones: ``python -m tests.benchmarks.linkage.plausible FOLDER``.

Run it after ``python -m tests.benchmarks.linkage FOLDER``. Labels of real heads are found on the
grid of their scan, as those were that the pool's maps were made from, put into the pool's space,
and the likeliest tissue taken at 2 mm, as of drawn ones. The audit's alignment, of maps that are
blurred less than the pool's, would make real brains 6 % smaller.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from medical.anatomy.drawn import likeliest
from medical.anatomy.filters import blurred, filled, opened, pieces
from medical.anatomy.head_model import find_pool
from medical.anatomy.pool import CANONICAL, WIDE, WIDE_BLUR_MM
from medical.anatomy.registration import COARSE, aligned, moved, points_of, read_points
from medical.anatomy.tissues import find_tissues
from medical.files.nifti import read_volume
from medical.files.volume import Volume

Labels = NDArray[np.uint8]
MEASURES = (
    "CSF", "gray", "white", "brain ml", "deep CSF ml", "deep CSF in its largest piece",
    "its difference of left and right", "white matter in the middle planes cm2",
)  # fmt: skip
WHOLE = {5: "least", 6: "most", 7: "least"}
"""Measures of ventricles and corpus callosum, and which end of the real range must be kept."""
SOFT_MM = 1.2
"""As the maps that folding was learned from."""
DEEP_MM, MIDDLE_MM = 22.0, 15.0
MIDDLE = slice(38, 42)
EDGE, PATCHES, HEADS = 12, 10, 60


def main() -> int:
    """Read, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the drawings")
    parser.add_argument("--heads", type=Path, required=True, help="BIDS folder of ds002748")
    parser.add_argument("--kind", choices=("anatomy", "image"), default="anatomy")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    drawn = [_kept(path) for path in sorted((asked.folder / "drawn").glob(f"{asked.kind}-*.npz"))]
    if asked.kind == "image":  # both were found at 2 mm
        real = [_kept(path) for path in sorted((asked.folder / "people").glob("*.npz"))]
    else:
        real = real_labels(asked.heads, asked.folder / "real")
    sys.stdout.write(json.dumps(compared(real, drawn), indent=1) + os.linesep)
    return 0


def real_labels(heads: Path, folder: Path) -> list[Labels]:
    """Labels of the people of a BIDS folder at 2 mm, found on their own grids; kept."""
    labels = []
    mean = find_pool().wide.mean(0, dtype=np.float32) / np.float32(255)
    template = torch.from_numpy(WIDE.read(mean, COARSE))
    for path in sorted(heads.glob("sub-*/anat/sub-*_T1w.nii.gz")):
        kept = folder / f"{path.name.split('_')[0]}.npz"
        if not kept.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(kept, labels=_placed(read_volume(path), template))
        labels.append(_kept(kept))
    return labels


def _placed(volume: Volume, template: torch.Tensor) -> Labels:
    """Labels of a head in the pool's space, aligned by maps as blurred as the pool's."""
    x, y, z = volume.spacing_mm
    found = find_tissues(volume.data.numpy(), (x, y, z)).labels
    kinds = [(found == k).astype(np.float32) for k in (1, 2, 3)]

    def soft(by_mm: float) -> torch.Tensor:
        sigma = [by_mm / s for s in (x, y, z)]
        return torch.from_numpy(np.stack([blurred(kind, sigma) for kind in kinds]))

    matrix = aligned(soft(WIDE_BLUR_MM), volume.affine_mm, template)
    points = moved(points_of(CANONICAL), matrix)
    return likeliest(read_points(soft(SOFT_MM), volume.affine_mm, points).numpy())


def compared(real: list[Labels], drawn: list[Labels]) -> dict[str, object]:
    """Ranges of real and drawn heads, how many lie within, and how well patches are told."""
    ours, theirs = (np.array([measured(each) for each in part]) for part in (drawn, real))
    low, high = theirs.min(0), theirs.max(0)
    within = (ours >= low) & (ours <= high)
    ends = {"least": ours >= low, "most": ours <= high}
    whole = np.all([ends[end][:, k] for k, end in WHOLE.items()], 0)
    facts: dict[str, object] = {
        name: {
            "drawn": _range(ours[:, k]),
            "real": _range(theirs[:, k]),
            "within": round(float(within[:, k].mean()), 3),
        }
        for k, name in enumerate(MEASURES)
    }
    centers = np.argwhere(_inner(real))
    told, by = told_apart(patches(real, centers, 7), patches(drawn[:HEADS], centers, 8))
    return {
        "heads": {"drawn": len(drawn), "real": len(real)},
        **facts,
        "volumes of all tissues within": round(float(within[:, :4].all(1).mean()), 3),
        "ventricles and corpus callosum whole": round(float(whole.mean()), 3),
        "label patches told apart": {"patch": told, "head": by, "heads": len(drawn[:HEADS])},
    }


def measured(labels: Labels) -> list[float]:
    """Values of ``MEASURES`` of a head at 2 mm."""
    volumes = np.bincount(labels.ravel(), minlength=4)[1:] * 8 / 1000
    brain = opened(opened(filled(labels > 0)))
    depth = np.asarray(ndimage.distance_transform_edt(brain)) * 2
    deep = (labels == 1) & (depth > DEEP_MM)
    found = ndimage.label(deep, np.ones((3, 3, 3)))
    numbers = cast("tuple[NDArray[np.int32], int]", found)[0]
    sizes = np.bincount(np.ravel(numbers), minlength=2)[1:]
    left = np.argwhere(numbers == sizes.argmax() + 1)[:, 0] < (labels.shape[0] - 1) / 2
    white = [
        max(np.bincount(pieces(plane & (far > MIDDLE_MM))[0].ravel(), minlength=2)[1:])
        for plane, far in zip(labels[MIDDLE] == 3, depth[MIDDLE], strict=True)
    ]
    return [
        *(volumes / volumes.sum()),
        volumes.sum(),
        sizes.sum() * 8 / 1000,
        sizes.max() / max(1, sizes.sum()),
        abs(2 * float(left.mean()) - 1) if left.size else 1.0,
        max(white) * 4 / 100,
    ]


def patches(heads: list[Labels], centers: NDArray[np.intp], seed: int) -> NDArray[np.float64]:
    """(heads, PATCHES, features) of patches of 24 mm within the brain."""
    random = np.random.default_rng(seed)
    half = EDGE // 2
    return np.array(
        [
            [
                features(labels[tuple(slice(c - half, c + half) for c in centers[k])])
                for k in random.integers(len(centers), size=PATCHES)
            ]
            for labels in heads
        ]
    )


def features(patch: Labels) -> list[float]:
    """Shares, runs, borders, pieces, raggedness and thickness of the tissues of a patch."""
    kinds = [patch == k for k in range(4)]
    found = [float(kind.mean()) for kind in kinds]
    found += [_run(kind, lag) for lag in (1, 2, 3) for kind in kinds[1:]]
    found += [_border(kinds[a], kinds[b]) for a in range(4) for b in range(a + 1, 4)]
    smooth = [ndimage.uniform_filter(kind.astype(np.float32), 3) for kind in kinds]
    found.append(float((np.argmax(smooth, 0) != patch).mean()))
    for kind in kinds[1:]:
        numbers, count = pieces(kind)
        largest = np.bincount(numbers.ravel(), minlength=2)[1:].max() / max(1, kind.sum())
        far = np.asarray(ndimage.distance_transform_edt(kind))
        found += [count, float(largest), float(far.max())]
        found.append(float(far[kind].mean()) if kind.any() else 0.0)
    return found


def told_apart(real: NDArray[np.float64], drawn: NDArray[np.float64]) -> tuple[float, float]:
    """Area under the curve of a random forest, left out by head: of patches, of their means."""
    every = np.concatenate([real, drawn])
    rows = every.reshape(-1, every.shape[2])
    truth = np.repeat(np.arange(len(every)) >= len(real), PATCHES)
    head = np.repeat(np.arange(len(every)), PATCHES)
    told = np.zeros(len(rows))
    for learn, ask in GroupKFold(5, shuffle=True, random_state=0).split(rows, truth, head):
        forest = RandomForestClassifier(
            100, min_samples_leaf=3, random_state=0, class_weight="balanced"
        ).fit(rows[learn], truth[learn])
        told[ask] = forest.predict_proba(rows[ask])[:, 1]
    by = told.reshape(-1, PATCHES).mean(1)
    each = roc_auc_score(truth, told), roc_auc_score(truth[::PATCHES], by)
    return round(float(each[0]), 3), round(float(each[1]), 3)


def _inner(real: list[Labels]) -> NDArray[np.bool_]:
    often = np.mean([labels > 0 for labels in real], 0) > 0.9
    return np.asarray(ndimage.binary_erosion(often, iterations=3), bool)


def _run(kind: NDArray[np.bool_], lag: int) -> float:
    """How often what lies so many voxels on is of the same kind."""
    turned = [np.moveaxis(kind, axis, 0) for axis in range(3)]
    return float(np.mean([(each[lag:] & each[:-lag]).mean() for each in turned]))


def _border(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Faces between two kinds, by voxel."""
    faces = 0
    for axis in range(3):
        a, b = np.moveaxis(one, axis, 0), np.moveaxis(other, axis, 0)
        faces += int((a[1:] & b[:-1]).sum() + (b[1:] & a[:-1]).sum())
    return faces / one.size


def _range(values: NDArray[np.float64]) -> list[float]:
    return [round(float(np.quantile(values, q)), 3) for q in (0, 0.5, 1)]


def _kept(path: Path) -> Labels:
    with np.load(path) as file:
        return file["labels"]


if __name__ == "__main__":
    sys.exit(main())
