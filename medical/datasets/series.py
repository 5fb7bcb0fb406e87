"""A head of a dataset as DICOM: a derived series for each contrast, labels as segmentations."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medical.datasets.request import MRIDatasetRequest
from medical.datasets.volumes import IMAGE, LABELS, DrawnVolume
from medical.files.dicom_segments import find_highdicom, read_segments, write_segments
from medical.files.dicom_writing import About, planes_of, write_series
from medical.files.scan import read_scan
from medical.files.volume import FileHeader, Volume

FOLDER = "dicom"
TISSUES = ("CSF", "gray_matter", "white_matter")
LESIONS = ("lesion",)
DERIVATION = "Drawn by software from measurements of several people; no scan of a person."


def check_series(request: MRIDatasetRequest) -> None:
    """Refuse DICOM where what writes it is not installed."""
    if FOLDER in request.formats:
        find_highdicom()


def write_subject_series(
    drawn: DrawnVolume, subject: str, request: MRIDatasetRequest, key: str, out: Path
) -> list[Path]:
    """Write a head's images and labels into ``out/dicom/sub-*``; the files.

    Args:
        drawn: The head.
        subject: Its name.
        request: What was asked.
        key: Of the dataset's plan; identifiers follow from it.
        out: Of the dataset.
    """
    root = out / FOLDER / subject
    shutil.rmtree(root, ignore_errors=True)  # what a process that was killed left

    def about(name: str, number: int) -> About:
        sex = str(drawn.head.facts.get("sex") or "").upper()
        return About(
            subject=f"{request.name}-{subject}",
            study=f"{key}/{subject}",
            name=name,
            number=number,
            derivation=DERIVATION,
            software=("Lamina", version("lamina")),
            sex=sex if sex in ("F", "M") else "",
        )

    series: list[Path] = []
    written: list[Path] = []
    for number, (contrast, image) in enumerate(drawn.images.items(), start=1):
        volume = _volume(image, drawn, IMAGE)
        series = write_series(volume, root / contrast, about(contrast, number))
        written += series
    labels: list[tuple[str, NDArray[Any], tuple[str, ...]]] = [
        ("tissues", drawn.head.labels, TISSUES)
    ]
    if drawn.lesions is not None:
        labels.append(("lesions", drawn.mask, LESIONS))
    for number, (name, voxels, names) in enumerate(labels, start=len(drawn.images) + 1):
        planes = planes_of(_volume(voxels, drawn, LABELS)).astype(np.uint8)
        path = root / f"{name}.dcm"
        written.append(write_segments(planes, names, series, path, about(name, number)))
    return written


def read_subject_series(
    subject: str, request: MRIDatasetRequest, out: Path
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.uint8], NDArray[np.uint8]]:
    """Images, tissues and lesions of a head, (X, Y, Z) right, anterior, superior."""
    root = out / FOLDER / subject
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
