"""Results on a scan as derived DICOM beside their files: for commands by name, for runs by choice.

Light: what writes DICOM is imported where it is asked for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from core.operations.operation import AnyOperation
from core.request import Request
from flows.jobs.pipeline import record_path

ResultFormat = Literal["nifti", "dicom"]
FILES = (".nii.gz", ".nii")


def dicom_folder(target: Path) -> Path:
    """The folder for DICOM of a main output: ``OUT`` for ``OUT.nii.gz``."""
    return record_path(target).with_suffix("")


def check_dicom_of(operation: AnyOperation, request: Request, folder: Path) -> None:
    """Refuse DICOM that could not be written of a scan, before any work.

    Raises:
        Refusal: A library lacks, the folder holds something, or the scan's axes are skewed.
    """
    from medical.operations.dicom_results import check_dicom

    check_dicom(operation.inputs(request)["scan"], folder)


def write_dicom(
    operation: AnyOperation,
    request: Request,
    paths: Mapping[str, Path],
    facts: Mapping[str, Any],
    folder: Path,
) -> list[Path]:
    """Write the results of a job as DICOM into a folder of its own; what was written.

    Args:
        operation: What was done.
        request: What was asked.
        paths: Verified files, by role.
        facts: What the record says of them.
        folder: For DICOM.

    Raises:
        Refusal: Something came into the folder meanwhile; it is left as it is.
    """
    from medical.operations.dicom_results import Job, write_results

    scan, draws = operation.inputs(request)["scan"], bool(getattr(operation, "draws", False))
    scans = {role: path for role, path in paths.items() if path.name.endswith(FILES)}
    return write_results(Job(operation.name, scan, draws, facts.get("labels", {})), scans, folder)
