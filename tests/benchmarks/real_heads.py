"""Measures real heads that contribute to nothing, which the release gate holds drawn ones against.

``python -m tests.benchmarks.real_heads BIDS OUT.safetensors``: every fourth head of ds002748 at
1 mm. Prints how each real head fares against the others; five minutes of a core.
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from medical.anatomy.filters import Floats, read_at
from medical.anatomy.tissues import find_tissues
from medical.datasets.quality import contrast_to_noise
from medical.datasets.realism import (
    intensities,
    intensity_distance,
    patch_features,
    regional_distance,
    regions,
    told_apart,
)
from medical.files.nifti import read_volume
from medical.files.volume import Volume

HELD = slice(3, None, 4)


def main() -> int:
    """Measure, print, write."""
    heads, out = Path(sys.argv[1]), Path(sys.argv[2])
    rows: dict[str, list[np.ndarray]] = {}
    for place, path in enumerate(sorted(heads.glob("sub-*/anat/*_T1w.nii.gz"))[HELD]):
        found = find_tissues(at_1mm(read_volume(path)), (1.0, 1.0, 1.0))
        image = found.even / np.float32(0.75)
        none = np.zeros_like(found.labels)
        told = {
            "patches": patch_features(image, found.labels, none, place),
            "intensities": intensities(image, found.labels),
            "regions": regions(found.labels),
            "contrast": np.array(contrast_to_noise(image, found.labels)),
        }
        for name, each in told.items():
            rows.setdefault(name, []).append(each.astype(np.float32))
    real = {name: np.stack(each) for name, each in rows.items()}
    save_file(real, out, {"what": "15 heads of OpenNeuro ds002748 v1.0.5, CC0, at 1 mm"})
    compare(real)
    return 0


def compare(real: dict[str, np.ndarray]) -> None:
    """Print how each head fares against the others."""
    count = len(real["patches"])
    rest = [[k for k in range(count) if k != head] for head in range(count)]
    apart = [
        told_apart(real["patches"][h], real["patches"][r].reshape(-1, real["patches"].shape[-1]))
        for h, r in enumerate(rest)
    ]
    far = [
        intensity_distance(real["intensities"][h], real["intensities"][r])
        for h, r in enumerate(rest)
    ]
    halves = regional_distance(real["regions"][::2], real["regions"][1::2])
    for name, each in {
        "told apart": apart,
        "intensities": far,
        "contrast": real["contrast"],
    }.items():
        sys.stdout.write(f"{name}: {np.round(np.sort(each), 4).tolist()}\n")
    sys.stdout.write(f"regional volume distance of two halves: {halves:.3f}\n")


def at_1mm(volume: Volume) -> Floats:
    """A head on 1 mm voxels, its axes pointing right, anterior, superior."""
    turn = volume.affine_mm[:3, :3]
    order = [int(np.abs(turn[axis]).argmax()) for axis in range(3)]
    data = volume.data.numpy().astype(np.float32).transpose(order)
    flipped = tuple(axis for axis in range(3) if turn[axis, order[axis]] < 0)
    data = np.ascontiguousarray(np.flip(data, flipped))
    spacing = np.array(volume.spacing_mm)[order]
    shape = [int(np.ceil(n * s)) for n, s in zip(data.shape, spacing, strict=True)]
    return read_at(data, 1 / spacing, shape, offset=0.5 / spacing - 0.5, order=3).clip(0)


if __name__ == "__main__":
    sys.exit(main())
