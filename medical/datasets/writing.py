"""A head of a dataset as files: BIDS, and a case of nnU-Net.

A head of two sessions is one case of nnU-Net: its channels are the contrasts of the first session
and then those of the second, and its labels tell lesions of both from what joined them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medical.datasets.request import MRIDatasetRequest
from medical.datasets.sessions import COLUMNS, SECOND, session_rows, sessions_of
from medical.datasets.volumes import DrawnVolume
from medical.files import bids, nnunet
from medical.files.nifti import write_volume
from medical.files.privacy import DRAWN_HEAD
from medical.files.volume import FileHeader, Volume

MNI = 4
IMAGE = FileHeader(dtype="int16", sform_code=MNI, qform_code=MNI, units=2)
LABELS = FileHeader(dtype="uint8", sform_code=MNI, qform_code=MNI, units=2)
TISSUES = {"background": 0, "CSF": 1, "gray_matter": 2, "white_matter": 3}
LESIONS = {"background": 0, "lesion": 1}
GROWN = {**LESIONS, "joined": 2}


def write_images(drawn: DrawnVolume, subject: str, root: Path) -> list[Path]:
    """Write images and labels as BIDS into a folder; the files."""
    files = list[Path]()
    for session, each in drawn.sessions:
        for contrast, image in each.images.items():
            path = root / bids.image_path(subject, contrast, session)
            about = {"Modality": "MR", "ImageType": ["DERIVED", "SECONDARY", "SYNTHETIC"]}
            files.append(_write(image, drawn.head.affine, IMAGE, path))
            files.append(bids.write_json(_sidecar(path), about))
        labels = {
            bids.mask_path(subject, session): each.mask,
            bids.tissue_path(subject, session): each.head.labels,
        }
        if session == SECOND:
            labels[bids.change_path(subject, session)] = drawn.change
        for name, voxels in labels.items():
            files.append(_write(voxels, drawn.head.affine, LABELS, root / name))
            files.append(bids.write_json(_sidecar(root / name), {"Manual": False}))
    if drawn.later is not None:
        path = root / subject / f"{subject}_sessions.tsv"
        rows = session_rows(drawn.facts["longitudinal"])
        files += bids.write_table(path, "session_id", rows, COLUMNS)
    return files


def channels_of(request: MRIDatasetRequest) -> tuple[str, ...]:
    """The names of nnU-Net's channels: contrasts, of two sessions those of the first before."""
    return tuple(
        f"{contrast} {session}".rstrip()
        for session in sessions_of(request)
        for contrast in request.contrasts
    )


def labels_of(request: MRIDatasetRequest) -> dict[str, int]:
    """The labels of nnU-Net: tissues of healthy heads, else lesions, and what joined them."""
    if request.lesions.healthy:
        return TISSUES
    return GROWN if request.longitudinal.asked else LESIONS


def write_case(
    drawn: DrawnVolume, subject: str, root: Path, folder: Path, request: MRIDatasetRequest
) -> list[Path]:
    """Write a head into an nnU-Net dataset; the files.

    Args:
        drawn: The head.
        subject: Its name.
        root: Of the BIDS dataset its files stand in.
        folder: ``DatasetNNN_NAME``.
        request: What was asked.
    """
    case = case_of(subject)
    sessions, label = sessions_of(request), folder / nnunet.label_name(case)
    images = [bids.image_path(subject, c, s) for s in sessions for c in request.contrasts]
    copies = {folder / nnunet.image_name(case, k): root / name for k, name in enumerate(images)}
    if drawn.later is None:
        healthy = request.lesions.healthy
        copies[label] = root / (bids.tissue_path if healthy else bids.mask_path)(subject)
    for target, source in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".part-{target.name}")
        shutil.copyfile(source, part)
        part.replace(target)
    if drawn.later is not None:
        grown = drawn.mask + 2 * drawn.change
        _write(grown, drawn.head.affine, LABELS, label)
    return [*copies, label] if drawn.later is not None else list(copies)


def case_of(subject: str) -> str:
    """The name of a subject among nnU-Net's cases."""
    return subject.replace("-", "")


def _write(
    voxels: NDArray[np.generic], affine: NDArray[np.float64], header: FileHeader, path: Path
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = torch.from_numpy(np.ascontiguousarray(voxels, dtype=np.float32))
    return write_volume(Volume(data, affine, header), path, description=DRAWN_HEAD, overwrite=True)


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name.replace(".nii.gz", ".json"))
