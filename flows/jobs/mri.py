"""The steps around a restored scan that the flow and the command line take alike."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.records import write_record
from flows.jobs.models import recorded
from medical.files.nifti import read_volume
from medical.files.volume import finer_grid
from medical.operations.problem import prepare, protected_voxels
from medical.request import SuperResolutionRequest

TASK = "super_resolve_mri"


def check_request(request: SuperResolutionRequest) -> Path:
    """The scan's path, after reading it and its mask as far as it takes to refuse them.

    Raises:
        Refusal: The scan or the mask is no volume, the mask lies on another grid, or nothing
            would become finer.
    """
    scan = read_volume(request.scan)
    problem = prepare(scan, request)
    if request.protect:
        protected_voxels(read_volume(request.protect), scan, problem)
    return Path(request.scan).resolve()


def check_result(paths: Mapping[str, Path], request: SuperResolutionRequest) -> dict[str, Any]:
    """What the files hold, after holding them against the scan and the request.

    Raises:
        RuntimeError: A file has another grid than asked for, or an impossible value.
    """
    scan, result = read_volume(request.scan), read_volume(paths["result"])
    grid, std = finer_grid(scan, request.spacing_mm), read_volume(paths["std"])
    for volume, name in ((result, "result"), (std, "std")):
        if volume.shape != grid.shape or not np.allclose(volume.affine, grid.affine, atol=1e-3):
            raise RuntimeError(
                f"{paths[name].name} has shape {volume.shape}: it must lie on the grid asked for, "
                f"{grid.shape}; restore the scan again."
            )
    if float(std.data.min()) < 0:
        raise RuntimeError(
            f"{paths['std'].name} falls to {float(std.data.min()):.3g}: an uncertainty is never "
            "negative; restore the scan again."
        )
    return {
        "shape": " x ".join(map(str, result.shape)),
        "spacing_mm": " x ".join(f"{s:.3g}" for s in result.spacing_mm),
        "scan": " x ".join(f"{s:.3g}" for s in scan.spacing_mm) + " mm",
    }


def record_result(
    paths: Mapping[str, Path],
    request: SuperResolutionRequest,
    model: Mapping[str, Any],
    facts: Mapping[str, Any],
    timings: Mapping[str, float],
    *,
    overwrite: bool,
) -> Path:
    """Write the record beside the result."""
    inputs = {"scan": Path(request.scan)}
    if request.protect:
        inputs["protect"] = Path(request.protect)
    return write_record(
        record_path(paths["result"]),
        task=TASK,
        request=request.model_dump(),
        inputs=inputs,
        outputs=paths,
        model=recorded(model),
        seeds=request.seed,
        timings=timings,
        extra=facts,
        overwrite=overwrite,
    )


def record_path(result: Path) -> Path:
    """``OUT.json`` for ``OUT.nii.gz``."""
    return result.with_name(result.name.removesuffix(".gz").removesuffix(".nii") + ".json")
