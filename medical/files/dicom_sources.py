"""Which images of a DICOM series a result was made from, as a derived series refers to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medical.files.dicom import library, open_series

ASKED = ("SOPClassUID", "SOPInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True)
class Sources:
    """What a derived series may say of its source without naming anybody.

    Attributes:
        images: Class and identifier of each image.
        frame: Identifier of the frame of reference in which they lie; empty where it is not told.
    """

    images: tuple[tuple[str, str], ...] = ()
    frame: str = ""


def sources_of(scan: Path) -> Sources:
    """The images of a series; none of a file that is no DICOM.

    Args:
        scan: Folder of the series, or a NIfTI file.

    Raises:
        Refusal: The folder holds no series that can be read.
    """
    if not scan.is_dir():
        return Sources()
    pydicom, found, frames = library(), list[tuple[str, str]](), set[str]()
    for path in open_series(scan).files:
        head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(ASKED))
        kind, image, frame = (str(head.get(name, "")) for name in ASKED)
        if kind and image:
            found.append((kind, image))
        frames.add(frame)
    return Sources(tuple(found), frames.pop() if len(frames) == 1 else "")
