"""A head of a dataset as DICOM: a derived series for each contrast, labels as segmentations."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medical.datasets.request import MRIDatasetRequest
from medical.datasets.sessions import SECOND
from medical.datasets.volumes import DrawnVolume
from medical.datasets.writing import IMAGE, LABELS
from medical.files.dicom_segments import find_highdicom, read_segments, write_segments
from medical.files.dicom_writing import About, planes_of, write_series
from medical.files.scan import read_scan
from medical.files.volume import FileHeader, Volume

FOLDER = "dicom"
TISSUES = ("CSF", "gray_matter", "white_matter")
LESIONS = ("lesion",)
Labels = tuple[str, NDArray[Any], tuple[str, ...]]
DERIVATION = "Drawn by software from measurements of several people; no scan of a person."


def check_series(request: MRIDatasetRequest) -> None:
    """Refuse DICOM where what writes it is not installed."""
    if FOLDER in request.formats:
        find_highdicom()


def write_subject_series(
    drawn: DrawnVolume, subject: str, request: MRIDatasetRequest, key: str, out: Path
) -> list[Path]:
    """Write a head's images and labels into ``out/dicom/sub-*``; the files.

    Each of two sessions is a study of its own, in ``ses-*``; ``change.dcm`` of the second is what
    joined the lesions.

    Args:
        drawn: The head.
        subject: Its name.
        request: What was asked.
        key: Of the dataset's plan; identifiers follow from it.
        out: Of the dataset.
    """
    shutil.rmtree(out / FOLDER / subject, ignore_errors=True)  # what a killed process left
    written: list[Path] = []
    for session, each in drawn.sessions:
        study = f"{key}/{subject}/{session}".rstrip("/")
        labels: list[Labels] = [("tissues", each.head.labels, TISSUES)]
        if each.lesions is not None:
            labels.append(("lesions", each.mask, LESIONS))
        if session == SECOND:
            labels.append(("change", drawn.change, LESIONS))
        root = out / FOLDER / subject / session
        written += _write_study(each, root, _about(request, subject, drawn, study), labels)
    return written


def _about(request: MRIDatasetRequest, subject: str, drawn: DrawnVolume, study: str) -> About:
    """What all series of a study say of themselves."""
    sex = str(drawn.head.facts.get("sex") or "").upper()
    return About(
        subject=f"{request.name}-{subject}",
        study=study,
        name="",
        number=0,
        derivation=DERIVATION,
        software=("Lamina", version("lamina")),
        sex=sex if sex in ("F", "M") else "",
    )


def _write_study(drawn: DrawnVolume, root: Path, about: About, labels: list[Labels]) -> list[Path]:
    """Write the images of one session and its labels into a folder; the files."""
    series: list[Path] = []
    written: list[Path] = []
    for number, (contrast, image) in enumerate(drawn.images.items(), start=1):
        volume = _volume(image, drawn, IMAGE)
        said = replace(about, name=contrast, number=number)
        series = write_series(volume, root / contrast, said)
        written += series
    for number, (name, voxels, names) in enumerate(labels, start=len(drawn.images) + 1):
        planes = planes_of(_volume(voxels, drawn, LABELS)).astype(np.uint8)
        said = replace(about, name=name, number=number)
        written.append(write_segments(planes, names, series, root / f"{name}.dcm", said))
    return written


def read_subject_series(
    subject: str, request: MRIDatasetRequest, out: Path, session: str = ""
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.uint8], NDArray[np.uint8]]:
    """Images, tissues and lesions of a head, (X, Y, Z) right, anterior, superior."""
    root = out / FOLDER / subject / session
    images = {name: read_scan(root / name).data.numpy()[::-1] for name in request.contrasts}
    found = [
        # (slices, rows, columns) from left and back: turned as the images are
        read_segments(root / f"{name}.dcm", len(names)).transpose(2, 1, 0)[::-1, ::-1]
        for name, names in (("tissues", TISSUES), ("lesions", LESIONS))
        if (root / f"{name}.dcm").is_file()
    ]
    lesions = found[1] if len(found) > 1 else np.zeros_like(found[0])
    return images, found[0], lesions


def _volume(voxels: NDArray[Any], drawn: DrawnVolume, header: FileHeader) -> Volume:
    data = torch.from_numpy(np.ascontiguousarray(voxels, dtype=np.float32))
    return Volume(data, drawn.head.affine, header)
