"""Tissue labels of a head as a file: the same grid, and how many ml of each tissue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.records import atomic_path
from core.refusal import Refusal
from medical.anatomy.tissues import TISSUES, find_tissues
from medical.files.nifti import SUFFIXES, write_volume
from medical.files.scan import read_scan


def segment(head: str | Path, output: str | Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Write the tissue labels of a head and a record beside them; what the record says.

    Args:
        head: NIfTI file with a T1-weighted, skull-stripped head.
        output: The label map to write: 0 background, 1 CSF, 2 gray, 3 white matter.
        overwrite: Replace files that already stand there.

    Raises:
        Refusal: The head is none, or files stand there.
    """
    output = Path(output)
    record = _record_path(output)
    for path in (output, record):
        if path.exists() and not overwrite:
            raise Refusal(
                f"{path} exists: a result never replaces a file unasked; choose another name or "
                "overwrite it."
            )
    volume = read_scan(head)
    found = find_tissues(volume.data.numpy(), volume.spacing_mm)
    voxel_ml = abs(float(np.linalg.det(volume.affine_mm[:3, :3]))) / 1000
    counts = np.bincount(found.labels.ravel(), minlength=len(TISSUES))
    facts = {
        "task": "segment",
        "head": Path(head).name,
        "labels": {str(k): name for k, name in TISSUES.items()},
        "volume_ml": {TISSUES[k]: round(float(counts[k]) * voxel_ml, 2) for k in (1, 2, 3)},
        "method": "three classes of intensities under a smooth bias, neighbors that agree",
        "use": "research, not diagnosis",
    }
    labels = volume.with_data(torch.from_numpy(found.labels), dtype="uint8")
    write_volume(labels, output, description="Lamina tissues; research use", overwrite=overwrite)
    with atomic_path(record, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n")
    return facts


def _record_path(output: Path) -> Path:
    for suffix in reversed(SUFFIXES):
        if output.name.endswith(suffix):
            return output.with_name(output.name.removesuffix(suffix) + ".json")
    raise Refusal(
        f"{output} is not a NIfTI name: labels are written as .nii or .nii.gz; rename it."
    )
