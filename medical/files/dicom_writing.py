"""Volumes as derived DICOM series.

Identifiers are fresh and follow from content, so the same volume gives the same bytes. Nothing of
another file's header is in them; what no scanner made says so in (0008,001C).
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.records import atomic_path
from core.refusal import Refusal
from medical.files.dicom import library
from medical.files.dicom_sources import Sources
from medical.files.series import RAS, oriented
from medical.files.stored import stored_voxels
from medical.files.volume import Volume, is_sheared

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
PLAIN = "1.2.840.10008.1.2.1"  # explicit, little endian, not compressed
STEPS = 32767  # of brightness, for a volume that is not stored in whole numbers


@dataclass(frozen=True)
class About:
    """What a series says of itself.

    Attributes:
        subject: Whom it shows: a pseudonym.
        study: What its identifiers follow from, the same for all series of one head.
        name: Of the series.
        number: Likewise.
        derivation: How it was made, in words.
        software: Name and version of what made it.
        synthetic: Whether no scanner made it.
        scanned: Whether it was made from a scan, in whose voxels a face may be: nothing looks.
        method: How its labels were found; empty where they were drawn with the image.
        sex: ``F`` or ``M``; empty where it is not told.
        sources: The images that it was made from, where it may refer to them.
    """

    subject: str
    study: str
    name: str
    number: int
    derivation: str
    software: tuple[str, str]
    synthetic: bool = True
    scanned: bool = False
    method: str = ""
    sex: str = ""
    sources: Sources = field(default_factory=Sources)

    @property
    def patient(self) -> str:
        """What identifiers follow from that are the same for all series of one patient."""
        return f"{self.study}/{self.subject}"

    @property
    def identity(self) -> str:
        """What identifiers of images follow from: other software, other images."""
        return f"{self.patient}/{' '.join(self.software)}"


def write_series(volume: Volume, folder: Path, about: About) -> list[Path]:
    """Write a volume as a series of axial-most slices, a file each; the files in order.

    Args:
        volume: On a grid without shear. What is not stored in whole numbers of 16 bits or fewer
            is rounded to so many.
        folder: Of the series; made where it lacks.
        about: What it says of itself.

    Raises:
        Refusal: Its grid has shear, or a series stands there.
    """
    if is_sheared(volume.affine_mm):
        raise Refusal(
            f"{folder}: the volume's axes are not at right angles: a DICOM series has no other; "
            "resample it to a regular grid."
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise Refusal(f"{folder} is not empty: a series gets a folder of its own; name another.")
    folder.mkdir(parents=True, exist_ok=True)
    planes, affine, scale = _planes(volume)
    digest = hashlib.sha256(planes.tobytes() + affine.tobytes()).hexdigest()
    files = []
    for k, plane in enumerate(planes):
        ds = _slice(plane, affine, k, scale, about, digest)
        files.append(folder / f"{k + 1:04d}.dcm")
        _save(ds, files[-1])
    return files


def place_of(volume: Volume) -> NDArray[np.float64]:
    """Affine (4, 4) of (column, row, slice) of the series that the volume is written as, mm."""
    return _standing(np.broadcast_to(np.float32(0), volume.shape), volume.affine_mm)[1]


def planes_of(volume: Volume) -> NDArray[np.float32]:
    """Intensities as (slices, rows, columns) of the series that the volume is written as."""
    return _standing(volume.data.numpy(), volume.affine_mm)[0].transpose(2, 1, 0)


def _planes(volume: Volume) -> tuple[NDArray[Any], NDArray[np.float64], tuple[float, float]]:
    """(slices, rows, columns) as stored, the affine of (column, row, slice), slope, intercept."""
    header, data = volume.header, volume.data
    if np.dtype(header.dtype).kind in "iu" and np.dtype(header.dtype).itemsize <= 2:
        stored, scale = stored_voxels(data, header), (header.slope, header.intercept)
    else:
        low, high = float(data.min()), float(data.max())
        slope = (high - low) / STEPS or 1.0
        stored, scale = torch.round((data - low) / slope).numpy(), (slope, low)
    dtype = np.int16 if stored.min() < 0 else np.uint16
    turned, affine = _standing(stored.astype(np.float32), volume.affine_mm)
    return np.ascontiguousarray(turned.transpose(2, 1, 0).astype(dtype)), affine, scale


def _standing(
    voxels: NDArray[np.float32], affine: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Axes turned to the nearest of left, posterior, superior, as radiologists look at them."""
    upright, placed = oriented(voxels, affine, upright=True)
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    turn[:2, 3] = upright.shape[0] - 1, upright.shape[1] - 1
    return np.ascontiguousarray(upright[::-1, ::-1]), placed @ turn


def _slice(
    plane: NDArray[Any],
    affine: NDArray[np.float64],
    k: int,
    scale: tuple[float, float],
    about: About,
    digest: str,
) -> Any:
    pydicom = library()
    world = RAS @ affine[:3]  # (3, 4): column, row, slice, corner
    sizes = np.linalg.norm(world[:, :3], axis=0)
    turned = np.concatenate([world[:, 0] / sizes[0], world[:, 1] / sizes[1]])
    place = world[:, 3] + k * world[:, 2]
    series = f"{about.identity}/{about.name}/{digest}"
    fields = _words(about) | {
        "SOPClassUID": MR_IMAGE,
        "SOPInstanceUID": uid_of(f"{series}/{k}"),
        "SeriesInstanceUID": uid_of(f"{series}/series"),
        "InstanceNumber": k + 1,
        "ImageOrientationPatient": [_number(c) for c in turned],
        "ImagePositionPatient": [_number(p) for p in place],
        "PixelSpacing": [_number(sizes[1]), _number(sizes[0])],
        "SliceThickness": _number(sizes[2]),
        "SpacingBetweenSlices": _number(sizes[2]),
        "Rows": plane.shape[0],
        "Columns": plane.shape[1],
        "PixelRepresentation": int(plane.dtype.kind == "i"),
        "RescaleSlope": _number(scale[0]),
        "RescaleIntercept": _number(scale[1]),
        "RescaleType": "US",
    }
    ds = pydicom.Dataset()
    for name, value in fields.items():
        setattr(ds, name, value)
    if about.sources.images:
        ds.SourceImageSequence = [_reference(*image) for image in about.sources.images]
    ds.add_new("PixelData", "OW", plane.tobytes())
    return ds


def _reference(kind: str, image: str) -> Any:
    """One image of the source."""
    ds = library().Dataset()
    ds.ReferencedSOPClassUID, ds.ReferencedSOPInstanceUID = kind, image
    return ds


def _words(about: About) -> dict[str, Any]:
    """What is the same in all files of a series; empty where the standard asks for a field."""
    synthetic = {"SyntheticData": "YES"} if about.synthetic else {}
    empty = ("PatientBirthDate", "StudyDate", "StudyTime", "AccessionNumber", "StudyID",
             "ReferringPhysicianName", "PositionReferenceIndicator", "ScanOptions", "EchoTime",
             "RepetitionTime", "EchoTrainLength")  # fmt: skip
    kind = ["DERIVED", "SECONDARY", "OTHER", *(["SYNTHETIC"] if about.synthetic else [])]
    return {
        **dict.fromkeys(empty, ""),
        **synthetic,
        "PatientName": about.subject,
        "PatientID": about.subject,
        "PatientSex": about.sex,
        **_privacy(about),
        "StudyInstanceUID": uid_of(f"{about.patient}/study"),
        "FrameOfReferenceUID": about.sources.frame or uid_of(f"{about.patient}/frame"),
        "Modality": "MR",
        "ImageType": kind,
        "SeriesNumber": about.number,
        "SeriesDescription": about.name,
        "DerivationDescription": about.derivation,
        "Manufacturer": about.software[0],
        "SoftwareVersions": about.software[1],
        "ContentQualification": "RESEARCH",
        "BurnedInAnnotation": "NO",
        "ScanningSequence": "RM",
        "SequenceVariant": "NONE",
        "MRAcquisitionType": "3D",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
    }


def _privacy(about: About) -> dict[str, Any]:
    """What is said of identity: removed only where no person's voxels came in."""
    if not about.scanned:
        return {
            "PatientIdentityRemoved": "YES",
            "DeidentificationMethod": "Lamina: of a source, voxels, grid and scale alone",
        }
    kept = ["voxels", "grid", "scale"]
    kept += ["image UIDs"] if about.sources.images else []
    kept += ["frame UID"] if about.sources.frame else []
    return {
        "PatientIdentityRemoved": "NO",
        "RecognizableVisualFeatures": "YES",
        "DeidentificationMethod": [
            f"Lamina: kept {', '.join(kept)} alone",
            "Lamina: not defaced, a face may be in the voxels",
        ],
    }


def _save(ds: Any, path: Path) -> None:
    meta = library().dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MR_IMAGE, ds.SOPInstanceUID
    meta.TransferSyntaxUID = PLAIN
    ds.file_meta = meta
    with atomic_path(path) as temporary:
        ds.save_as(temporary, enforce_file_format=True)


def uid_of(text: str) -> str:
    """An identifier of the form of a UUID's (PS3.5 B.2) that follows from words."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def _number(value: float) -> str:
    """A number in the 16 signs that DICOM has for it."""
    written = (f"{value:.{digits}g}" for digits in range(15, 5, -1))
    return next(text for text in written if len(text) <= 16)
