"""A scan wherever it stands: a NIfTI file, or a folder with one DICOM series."""

from __future__ import annotations

from pathlib import Path

from medical.files.dicom import read_series, series_size
from medical.files.nifti import read_size, read_volume
from medical.files.synthetic import as_said_beside
from medical.files.volume import Volume


def read_scan(path: str | Path) -> Volume:
    """The scan in a NIfTI file or in a folder of DICOM files.

    Where a sidecar or table says that no scanner made it, its header says so, too: what is made
    from it leaves those files behind.

    Raises:
        Refusal: It is neither, or its grid has no place in space.
    """
    if Path(path).is_dir():
        return read_series(path)
    return as_said_beside(read_volume(path), path)


def scan_size(path: str | Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Shape and spacing (mm) of a scan, without reading its voxels.

    Raises:
        Refusal: It is none, or its grid has no place in space.
    """
    return series_size(path) if Path(path).is_dir() else read_size(path)
