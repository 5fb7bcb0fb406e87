"""Results of one job on a scan as derived DICOM: a series for each image, labels as segmentations.

They are written from the verified NIfTI files, so whatever makes those needs to know nothing of
DICOM, and are read back. Nothing of the source's header is in them but the identifiers of its
images and of their frame of reference. Voxels of a person's scan stay as they are, a face too, so
no result says that identity is removed.

A segmentation shows a series of its own patient and study. Where a job gives labels alone, the
scan is written as such a series: the source has another patient, or is no DICOM.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.records import atomic_path, sha256_file, sha256_path
from core.refusal import Refusal
from medical.files.dicom_segments import find_highdicom, read_segments, write_segments
from medical.files.dicom_sources import Sources, sources_of
from medical.files.dicom_writing import STEPS, About, place_of, planes_of, write_series
from medical.files.scan import read_scan
from medical.files.volume import Volume, is_sheared, same_corners

SCAN = "scan"


@dataclass(frozen=True)
class Job:
    """What was done.

    Attributes:
        name: Of the operation.
        scan: File or folder that it was done to.
        drawn: Whether voxels of its images are made up rather than measured.
        labels: What the numbers of a label map mean, by number; empty where there is none.
    """

    name: str
    scan: Path
    drawn: bool
    labels: Mapping[str, str]


def check_dicom(scan: Path, folder: Path) -> None:
    """Refuse DICOM that could not be written, before any work.

    Args:
        scan: File or folder that something shall be done to.
        folder: That results shall go to.

    Raises:
        Refusal: A library lacks, the folder has no name of its own or holds something, or the
            scan's axes are skewed.
    """
    find_highdicom()
    if folder.name in ("", ".."):
        raise Refusal(
            f"{folder} is no name of a result: files and a folder for DICOM are named alike; give "
            f"a name in it, such as {folder / 'result'}."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refusal(
            f"{folder} holds something: DICOM goes into a folder of its own, and nothing there "
            "is replaced; name another, or end the name with .nii.gz for a file."
        )
    if is_sheared(read_scan(scan).affine_mm):
        raise Refusal(
            f"{scan} has axes that are not at right angles: a DICOM series has no other; end the "
            "result's name with .nii.gz, or resample the scan to a regular grid."
        )


def write_results(job: Job, paths: Mapping[str, Path], folder: Path) -> list[Path]:
    """Write the files of a job as DICOM; what was written, a folder or a file each.

    Args:
        job: What was done.
        paths: NIfTI files by role.
        folder: To write into; it is there once all of it was read back.

    Raises:
        Refusal: Something came into the folder meanwhile; it is left as it is.
        RuntimeError: What was written reads back as something else.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unread = folder.with_name(f".part-{secrets.token_hex(6)}")
    try:
        written = _write(job, paths, unread)
        _into_place(unread, folder)
    finally:
        shutil.rmtree(unread, ignore_errors=True)
    return [folder / path.relative_to(unread) for path in written]


def _into_place(unread: Path, folder: Path) -> None:
    try:
        os.replace(unread, folder)
    except OSError as error:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            raise
        raise Refusal(
            f"{folder} was given other files while the scan was worked on: nothing there is "
            "replaced, and results stand as NIfTI files alone; ask again with another name."
        ) from error


def note_results(record: Path, folder: Path) -> None:
    """Add the digests of a job's DICOM files to its record.

    Args:
        record: Beside the folder.
        folder: That they were written into.
    """
    told = json.loads(record.read_text(encoding="utf-8"))
    told["extra"]["dicom"] = digests_of(folder)
    with atomic_path(record, overwrite=True) as temporary:
        text = json.dumps(told, indent=2, allow_nan=False, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def digests_of(folder: Path) -> dict[str, str]:
    """SHA-256 of a job's DICOM files, by their place beside the record."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder.parent).as_posix(): sha256_file(path) for path in files}


def _write(job: Job, paths: Mapping[str, Path], folder: Path) -> list[Path]:
    """Write and read back the files of a job; what was written."""
    sources, scan = sources_of(job.scan), read_scan(job.scan)
    volumes = {role: read_scan(path) for role, path in paths.items()}
    labels = {role: found for role in volumes if (found := _labels_of(role, job))}
    images = {role: volume for role, volume in volumes.items() if role not in labels}
    if not images:
        images = {SCAN: scan}
    abouts = _abouts(job, scan, sources, [*images, *labels])
    written, first = list[Path](), list[Path]()
    for role, volume in images.items():
        about = replace(abouts[role], synthetic=_is_drawn(job, volume, scan))
        files = write_series(volume, folder / role, about)
        _check_series(volume, folder / role)
        first, written = first or files, [*written, folder / role]
    for role, names in labels.items():
        planes = planes_of(volumes[role]).astype(np.uint8)
        about = replace(abouts[role], synthetic=_is_drawn(job, volumes[role], scan))
        path = write_segments(planes, names, first, folder / f"{role}.dcm", about)
        _check_segments(planes, path, len(names))
        written.append(path)
    return written


def _is_drawn(job: Job, volume: Volume, scan: Volume) -> bool:
    """Whether a result of a job has what no scanner measured."""
    return job.drawn or volume.header.synthetic or scan.header.synthetic


def _labels_of(role: str, job: Job) -> tuple[str, ...]:
    """What the numbers of a file mean, from 1; nothing for an image."""
    if role == "result":
        names = [job.labels[number] for number in sorted(job.labels, key=int) if number != "0"]
        return tuple(name.replace(" ", "_") for name in names)
    if role == "mask":
        return ("lesion",) if job.drawn else ("anomaly",)
    return (role,) if role in ("bright", "brain") else ()


def _abouts(job: Job, scan: Volume, sources: Sources, roles: list[str]) -> dict[str, About]:
    """What each series says of itself."""
    study = sha256_path(job.scan)
    words = job.name.replace("_", " ").replace("mri", "MRI")
    return {
        role: About(
            subject=f"lamina-{study[:12]}",
            study=f"{study}/{job.name}",
            name=role if role == SCAN else f"{job.name}-{role}",
            number=number,
            derivation=f"{words}: {role}; research, not diagnosis.",
            software=("Lamina", version("lamina")),
            synthetic=scan.header.synthetic,
            scanned=True,
            method="" if job.drawn else f"Found in its image: {words}",
            sources=sources,
        )
        for number, role in enumerate(roles, start=1)
    }


def _check_series(volume: Volume, folder: Path) -> None:
    """Hold a series against the volume that it was written of, voxel by voxel, in space."""
    back = read_scan(folder)
    before, after = planes_of(volume), planes_of(back)
    span = float(volume.data.max() - volume.data.min())
    step = max(abs(volume.header.slope), span / STEPS)
    same = before.shape == after.shape and float(np.abs(before - after).max()) <= 0.51 * step
    if not (same and same_corners(before.shape[::-1], place_of(back), place_of(volume))):
        raise RuntimeError(
            f"{folder.name} reads back as another volume than was written: a series holds the "
            "result itself; make it again."
        )


def _check_segments(planes: NDArray[Any], path: Path, count: int) -> None:
    if not np.array_equal(read_segments(path, count), planes):
        raise RuntimeError(
            f"{path.name} reads back as other labels than were written: make it again."
        )
