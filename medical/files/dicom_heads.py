"""What one DICOM header must say before its file is taken for slices of a scan.

Nothing here reads a file or needs pydicom; ``medical.files.dicom`` does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.progress import counted
from core.refusal import Refusal
from medical.files.container import HIGHEST_RATIO, check_memory, check_size
from medical.files.privacy import marks_synthetic

COLORS = ("MONOCHROME2",)
LOCALIZERS = ("LOCALIZER", "SCOUT", "SURVEY")
NO_MAGNITUDE = {
    **dict.fromkeys(("P", "PHASE", "PHASE MAP"), "phase"),
    **dict.fromkeys(("R", "REAL"), "real part"),
    **dict.fromkeys(("I", "IMAGINARY"), "imaginary part"),
}
"""Third or fourth part of ImageType, or ComplexImageComponent, of what is no magnitude."""
VOXEL_BYTES = 4  # in memory


def check_heads(place: Path, files: Sequence[Path], heads: Sequence[Any]) -> None:
    """Refuse files that are no images of gray values, or cannot hold the pixels they tell of.

    Args:
        place: The folder.
        files: Its images.
        heads: Their headers.

    Raises:
        Refusal: One of them is so, or all together are more than memory here can hold.
    """
    needed = packed = 0
    for path, head in zip(files, heads, strict=True):
        _check_kind(path, head)
        pixels = _pixels(path, head)
        needed += pixels * VOXEL_BYTES
        size = pixels * _count(head.get("BitsAllocated")) // 8
        if is_packed(head):
            packed += size
        else:
            check_size(path, size)
    most = HIGHEST_RATIO * sum(path.stat().st_size for path in files)
    if packed > most:
        raise Refusal(
            f"{place} unpacks to {packed / 1e9:.1f} GB, from files of {most // HIGHEST_RATIO} "
            "bytes: no packing is that tight, so rows, columns or frames are wrong; export the "
            "series again."
        )
    check_memory(place, needed)


def is_packed(head: Any) -> bool:
    """Whether pixels, or the whole file, are compressed."""
    syntax = getattr(getattr(head, "file_meta", None), "TransferSyntaxUID", None)
    try:
        return syntax is not None and bool(syntax.is_compressed or syntax.is_deflated)
    except (AttributeError, ValueError):  # no syntax at all, or one that nobody knows
        return False


def says_synthetic(head: Any) -> bool:
    """Whether a header says that no scanner made the image."""
    return marks_synthetic(head.get("SyntheticData"), listed(head.get("ImageType")))


def single(path: Path, name: str, said: Any, otherwise: float) -> float:
    """A number of a header, rounded to the float32 in which a NIfTI header holds it.

    Raises:
        Refusal: It is no one finite number.
    """
    value = said.get(name)
    try:
        with np.errstate(over="ignore"):
            number = float(np.float32(otherwise if value in (None, "") else value))
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise Refusal(
            f"{path} has a {name} that is no number: it is one finite number where it is told; "
            "export the series again."
        )
    return number


def listed(value: Any) -> Sequence[Any]:
    """The parts of a value that may be one, several or none; none of what has no words."""
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, Sequence) and not isinstance(value, bytes) else []


def items(value: Any) -> Sequence[Any]:
    """The items of a sequence; none of what is stored as anything else."""
    found = listed(value)
    return found if all(hasattr(item, "get") for item in found) else []


def scale_of(path: Path, said: Any) -> tuple[float, float]:
    """Slope and intercept of stored values.

    Args:
        path: The file.
        said: Its header, or the part of it that tells of one frame's values.

    Raises:
        Refusal: They are no finite numbers, or the slope is 0.
    """
    slope = single(path, "RescaleSlope", said, 1)
    if slope == 0:
        raise Refusal(
            f"{path} has the RescaleSlope 0: every voxel would have one intensity, and a scan has "
            "many; export the series again."
        )
    return slope, single(path, "RescaleIntercept", said, 0)


def _check_kind(path: Path, head: Any) -> None:
    """Refuse what is no magnetic resonance image of gray values."""
    kind = tuple(str(part).upper() for part in listed(head.get("ImageType")))
    if (modality := head.get("Modality")) != "MR":
        raise Refusal(
            f"{path} has the modality {modality or 'none'}: scans are magnetic resonance images "
            "(MR); give the folder of such a series."
        )
    if head.get("PhotometricInterpretation") not in COLORS or head.get("SamplesPerPixel", 1) != 1:
        raise Refusal(
            f"{path} is stored as {head.get('PhotometricInterpretation', 'nothing')}: a scan has "
            "one brightness for each pixel (MONOCHROME2), no color; export the original images."
        )
    if _says_yes(head, "BurnedInAnnotation"):
        raise Refusal(
            f"{path} says that text is burned into its pixels: it may name the patient and is no "
            "tissue; export the original images."
        )
    if found := next((word for word in LOCALIZERS if word in kind), ""):
        raise Refusal(
            f"{path} is a {found.lower()}: such images find the head's place and are no scan; "
            "give the folder of the scan itself."
        )
    if "MOSAIC" in kind:
        raise Refusal(
            f"{path} is a mosaic of many slices in one picture: a scan has each by itself; "
            "convert it with dcm2niix and give the NIfTI."
        )
    if found := next((word for word in _signals(head) if word in NO_MAGNITUDE), ""):
        raise Refusal(
            f"{path} holds the {NO_MAGNITUDE[found]} of the signal: a scan has its magnitude, "
            "from which tissue is told; give the folder of the magnitude images."
        )


def _signals(head: Any) -> Iterator[str]:
    """What parts of the signal a header, or one of its frames, says that the image shows."""
    groups = [
        *items(head.get("SharedFunctionalGroupsSequence")),
        *items(head.get("PerFrameFunctionalGroupsSequence")),
    ]
    types = [kind for group in groups for kind in items(group.get("MRImageFrameTypeSequence"))]
    for said in (head, *types):
        kind = listed(said.get("ImageType")) or listed(said.get("FrameType"))
        for word in (*kind[2:4], said.get("ComplexImageComponent") or ""):
            yield str(word).strip().upper()


def _pixels(path: Path, head: Any) -> int:
    """How many pixels a file must hold."""
    sides = [_count(head.get(name)) for name in ("Rows", "Columns")]
    if 0 in sides:
        raise Refusal(
            f"{path} does not say how many rows and columns it has: an image has both, 1 or more; "
            "export the series again."
        )
    told, frames = head.get("NumberOfFrames"), head.get("PerFrameFunctionalGroupsSequence")
    count, places = 1 if told in (None, "") else _count(told), len(items(frames)) or 1
    if count != places:
        raise Refusal(
            f"{path} tells the places of {counted(places, 'frame')}, and holds {count} as it "
            "says: each frame needs its place; export the series again, or as a file for each "
            "slice."
        )
    return math.prod(sides) * count


def _says_yes(head: Any, name: str) -> bool:
    return str(head.get(name, "")).strip().upper() == "YES"


def _count(value: Any) -> int:
    """A whole number of at least 0; 0 for anything else."""
    try:
        return max(0, int(value))
    except (TypeError, ValueError):
        return 0
