"""``lamina mri``: fine volumes, labels, anomalies and changed heads, in this process."""

from pathlib import Path

from flows.commands.options import options_of
from flows.commands.single import run_here
from medical.lesions.request import (
    FillLesionsRequest,
    FindAnomaliesRequest,
    InpaintMRIRequest,
    InsertLesionsRequest,
    StripSkullRequest,
)
from medical.request import SegmentRequest, SuperResolutionRequest


@options_of(SuperResolutionRequest, given=("scan",))
def super_resolve(
    scan: str, output: Path, /, *, request: SuperResolutionRequest,
    overwrite: bool = False, dry_run: bool = False,
) -> None:  # fmt: skip
    """Turn a thick-slice scan into a finer volume.

    The output is the mean of all samples. Beside it stand the uncertainty (_std), the part of
    the scan it does not explain (_consistency), and the record (.json).

    Args:
        scan: NIfTI file (.nii or .nii.gz) with one 3-D image, or folder with one DICOM series.
        output: The NIfTI file to write; a name without ending is a folder for DICOM, too.
        overwrite: Replace files that already stand there.
        dry_run: Only say what it would take, or refuse it.
    """
    run_here(request, output, overwrite=overwrite, dry_run=dry_run)


@options_of(InsertLesionsRequest, given=("scan",))
def insert_lesions(
    scan: str, output: Path, /, *, request: InsertLesionsRequest,
    overwrite: bool = False, dry_run: bool = False,
) -> None:  # fmt: skip
    """Put lesions of multiple sclerosis into a healthy head.

    Beside the output stand the mask (_label-lesion_mask) and the record (.json). Outside the mask
    every byte is the scan's, header and scaling included.

    Args:
        scan: NIfTI file (.nii or .nii.gz) or DICOM folder of one skull-stripped head.
        output: The NIfTI file to write; a name without ending is a folder for DICOM, too.
        overwrite: Replace files that already stand there.
        dry_run: Only say what it would take, or refuse it.
    """
    run_here(request, output, overwrite=overwrite, dry_run=dry_run)


@options_of(FillLesionsRequest, given=("scan", "mask"))
def fill_lesions(
    scan: str, mask: str, output: Path, /, *, request: FillLesionsRequest,
    overwrite: bool = False, dry_run: bool = False,
) -> None:  # fmt: skip
    """Fill lesions with the look of the white matter around them.

    Args:
        scan: NIfTI file (.nii or .nii.gz) or DICOM folder of one head.
        mask: NIfTI mask on the same grid, above 0 in lesions.
        output: The NIfTI file to write; outside the mask every byte is the scan's. A name without
            ending is a folder for DICOM, too.
        overwrite: Replace files that already stand there.
        dry_run: Only say what it would take, or refuse it.
    """
    run_here(request, output, overwrite=overwrite, dry_run=dry_run)


@options_of(InpaintMRIRequest, given=("scan", "mask"))
def inpaint(
    scan: str, mask: str, output: Path, /, *, request: InpaintMRIRequest,
    overwrite: bool = False, dry_run: bool = False,
) -> None:  # fmt: skip
    """Paint a region over from what lies around it; no network takes part.

    Args:
        scan: NIfTI file (.nii or .nii.gz) or DICOM folder of one head.
        mask: NIfTI mask on the same grid, above 0 where to paint.
        output: The NIfTI file to write; outside the mask every byte is the scan's. A name without
            ending is a folder for DICOM, too.
        overwrite: Replace files that already stand there.
        dry_run: Only say what it would take, or refuse it.
    """
    run_here(request, output, overwrite=overwrite, dry_run=dry_run)


@options_of(StripSkullRequest, given=("scan",))
def strip_skull(
    scan: str, output: Path, /, *, request: StripSkullRequest,
    overwrite: bool = False, dry_run: bool = False,
) -> None:  # fmt: skip
    """Take skull and face away from a T1-weighted head.

    Beside the output stand the mask of the brain (_label-brain_mask) and the record (.json).
    Every byte of the brain is the scan's, header and scaling included. It takes the extra skull.

    Args:
        scan: NIfTI file (.nii or .nii.gz) or DICOM folder of one T1-weighted head.
        output: The NIfTI file to write; a name without ending is a folder for DICOM, too.
        overwrite: Replace files that already stand there.
        dry_run: Only say what it would take, or refuse it.
    """
    run_here(request, output, overwrite=overwrite, dry_run=dry_run)


@options_of(SegmentRequest, given=("scan",))
def segment(
    scan: str, output: Path, /, *, request: SegmentRequest,
    overwrite: bool = False, dry_run: bool = False,
) -> None:  # fmt: skip
    """Label every voxel of a head, on its own grid.

    The record (.json) beside the labels says what they mean and how many ml of each there are.

    Args:
        scan: NIfTI file (.nii or .nii.gz) with one head, or folder with one DICOM series.
        output: The NIfTI file to write; a name without ending is a folder for DICOM, too.
        overwrite: Replace files that already stand there.
        dry_run: Only say what it would take, or refuse it.
    """
    import json

    from flows.jobs.pipeline import record_path

    run_here(request, output, overwrite=overwrite, dry_run=dry_run)
    if dry_run:
        return
    told = json.loads(record_path(output).read_text(encoding="utf-8"))["extra"]
    for name, ml in told["volume_ml"].items():
        print(f"{name}: {ml:.0f} ml")


@options_of(FindAnomaliesRequest, given=("scan",))
def anomalies(
    scan: str, output: Path, /, *, request: FindAnomaliesRequest,
    overwrite: bool = False, dry_run: bool = False,
) -> None:  # fmt: skip
    """Map how much each voxel of a FLAIR looks like a lesion.

    Beside the map stand two masks: where the map is above a bound (_mask), and where brightness
    alone is above one (_bright). Each bound is such that a healthy head, painted as the model
    paints them, shows --healthy-ml above it on average.

    Args:
        scan: NIfTI file (.nii or .nii.gz) or DICOM folder of one skull-stripped FLAIR.
        output: The NIfTI file to write; a name without ending is a folder for DICOM, too.
        overwrite: Replace files that already stand there.
        dry_run: Only say what it would take, or refuse it.
    """
    run_here(request, output, overwrite=overwrite, dry_run=dry_run)
