"""Labels of a derived DICOM series as a segmentation. The only door to highdicom."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.records import atomic_path
from core.refusal import Refusal
from medical.files.dicom import library
from medical.files.dicom_writing import About, uid_of

CODES = {
    "lesion": (("49755003", "SCT", "Morphologically abnormal structure"),
               ("52988006", "SCT", "Lesion")),
}  # fmt: skip
OWN = "99LAMINA"  # coding scheme for what has no code here
SETTLED = {"DA": "19000101", "TM": "000000", "DT": "19000101000000"}
"""Times that the standard asks for: the same at every writing."""


def write_segments(
    labels: NDArray[np.uint8], names: Sequence[str], series: Sequence[Path], path: Path,
    about: About,
) -> Path:  # fmt: skip
    """Write labels as a segmentation of a series; its path.

    Args:
        labels: (slices, rows, columns) of the series, 0 for nothing, 1 for the first name.
        names: Of the labels.
        series: The files of the series, in order.
        path: To write.
        about: What it says of itself.
    """
    hd, pydicom = find_highdicom(), library()
    images = [pydicom.dcmread(file, stop_before_pixels=True) for file in series]
    masks = np.stack([labels == k + 1 for k in range(len(names))], axis=-1)  # (N, R, C, S)
    digest = hashlib.sha256(labels.tobytes()).hexdigest()
    key = f"{about.identity}/{about.name}/{digest}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = hd.seg.Segmentation(
            images,
            masks.astype(np.uint8),
            "BINARY",
            [_segment(hd, k + 1, name, about) for k, name in enumerate(names)],
            uid_of(f"{key}/series"),
            about.number,
            uid_of(key),
            1,
            about.software[0],
            about.software[0],
            about.software[1],
            "1",
            omit_empty_frames=False,
            content_label="LABELS",
        )
    made.SeriesDescription = about.name
    if about.synthetic:
        made.SyntheticData = "YES"
    _settle(made, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, overwrite=True) as temporary:
        made.save_as(temporary, enforce_file_format=True)
    return path


def read_segments(path: Path, count: int) -> NDArray[np.uint8]:
    """Labels (slices, rows, columns) of a segmentation that was written here.

    Args:
        path: Of the segmentation.
        count: Of its labels.
    """
    ds = library().dcmread(path)
    turned = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    row, column = np.array(turned.ImageOrientationPatient, dtype=float).reshape(2, 3)
    pixels, found = np.asarray(ds.pixel_array), list[tuple[float, int, int]]()
    for k, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        told = frame.get("SegmentIdentificationSequence")  # shared where there is one segment
        number = int(told[0].ReferencedSegmentNumber) if told else 1
        found.append((float(np.cross(row, column) @ place), number, k))
    order = [k for _, _, k in sorted((round(along, 3), number, k) for along, number, k in found)]
    masks = pixels[order].reshape(-1, count, *pixels.shape[-2:])  # (N, S, R, C)
    return (masks * np.arange(1, count + 1, dtype=np.uint8)[:, None, None]).sum(1, np.uint8)


def _segment(hd: Any, number: int, name: str, about: About) -> Any:
    own = ((OWN.lower(), OWN, "Tissue"), (name, OWN, name.replace("_", " ")))
    category, kind = CODES.get(name, own)
    concept = hd.sr.CodedConcept
    how = ("found", OWN, about.method) if about.method else ("drawn", OWN, "Drawn with its image")
    algorithm = hd.AlgorithmIdentificationSequence(
        about.software[0], concept(*how), about.software[1]
    )
    return hd.seg.SegmentDescription(
        number, name, concept(*category), concept(*kind), "AUTOMATIC", algorithm
    )


def _settle(made: Any, key: str) -> None:
    """Times and identifiers that would be others at every writing."""
    for element in made.iterall():
        if element.keyword == "DimensionOrganizationUID":
            element.value = uid_of(f"{key}/dimensions")
        elif element.VR in SETTLED and element.value:
            element.value = SETTLED[element.VR]


def find_highdicom() -> Any:
    """Highdicom.

    Raises:
        Refusal: It is not installed.
    """
    try:
        import highdicom  # noqa: PLC0415  an extra
    except ImportError as error:
        raise Refusal(
            "highdicom is not installed: masks are written as DICOM segmentations, which takes "
            "the extra dicom; install it (pip install 'lamina[dicom]')."
        ) from error
    return highdicom
