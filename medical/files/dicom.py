"""A folder of one DICOM series as a volume. The only door in to pydicom.

Classic series with a file for each slice, and enhanced ones with all in one file. Of the header
voxels, grid and scale are taken over and nothing else; see ``removed``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.progress import counted
from core.refusal import Refusal
from medical.files.dicom_heads import (
    check_heads,
    is_packed,
    items,
    listed,
    says_synthetic,
    scale_of,
    single,
)
from medical.files.privacy import DRAWN_SERIES
from medical.files.series import Slice, Stack, grid_of, oriented, stack
from medical.files.volume import FileHeader, Volume, check_near

BETWEEN, THICK = "SpacingBetweenSlices", "SliceThickness"
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
KEPT = frozenset(
    ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient",
     "RescaleSlope", "RescaleIntercept", "BitsAllocated", "BitsStored", "HighBit",
     "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames",
     "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PixelData")
)  # fmt: skip
"""What becomes voxels, grid and scale."""


@dataclass(frozen=True, eq=False)
class Series:
    """What the headers of a folder say.

    Attributes:
        folder: Where.
        files: That hold images, by name.
        stack: Their slices in order.
        upright: Whether it was acquired in three dimensions.
        synthetic: Whether a file says that no scanner made it (0008,001C).
        removed: Keywords of header fields that hold something and are not taken over.
    """

    folder: Path
    files: tuple[Path, ...]
    stack: Stack
    upright: bool
    synthetic: bool
    removed: tuple[str, ...] = field(default=())


def read_series(folder: str | Path) -> Volume:
    """The scan in a folder of DICOM files, intensities as stored times slope plus intercept.

    Args:
        folder: With the files of one series.

    Raises:
        Refusal: They are no series of magnetic resonance images that fills a regular grid.
    """
    series = open_series(folder)
    scales = {each.scale for each in series.stack.slices}
    stored = _stored(series)  # (columns, rows, slices)
    if len(scales) == 1:
        (slope, intercept), dtype = scales.pop(), stored.dtype.name
        data = stored.astype(np.float64) * slope + intercept
    else:  # a scale for each slice: no header of one file says that
        slope, intercept, dtype = 1.0, 0.0, "float32"
        each = np.array([each.scale for each in series.stack.slices])  # (N, 2)
        data = stored.astype(np.float64) * each[:, 0] + each[:, 1]
    voxels, affine = oriented(data.astype(np.float32), series.stack.affine, upright=series.upright)
    if not np.isfinite(voxels).all():
        raise Refusal(
            f"{folder} has voxels that are NaN or infinite: intensities must be finite; export "
            "the series again."
        )
    mark = DRAWN_SERIES if series.synthetic else ""
    header = FileHeader(dtype, slope, intercept, description=mark, removed=series.removed)
    return Volume(torch.from_numpy(voxels), affine, header)


def series_size(folder: str | Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Shape and spacing (mm) of the scan in a folder, without its voxels; see ``read_series``."""
    series = open_series(folder)
    shape, affine = grid_of(series.stack.shape, series.stack.affine, upright=series.upright)
    return shape, tuple(np.linalg.norm(affine[:3, :3], axis=0).tolist())


def open_series(folder: str | Path) -> Series:
    """The headers of a folder.

    Raises:
        Refusal: They are not those of one series of magnetic resonance images.
    """
    place, files, heads = Path(folder), list[Path](), list[Any]()
    for path, head in _headers(place):
        files.append(path)
        heads.append(head)
    if not heads:
        raise Refusal(
            f"{folder} holds no DICOM image: a folder is read as one series, and a file as NIfTI; "
            "name the folder of the series, or the .nii.gz itself."
        )
    check_heads(place, files, heads)
    slices = [each for k, head in enumerate(heads) for each in _slices(k, files[k], head)]
    stacked = stack(str(folder), slices)
    check_near(place, stacked.shape, stacked.affine, 1.0)
    return Series(
        place,
        tuple(files),
        stacked,
        upright=all(_upright(head) for head in heads),
        synthetic=any(says_synthetic(head) for head in heads),
        removed=tuple(sorted({name for head in heads for name in _other(head)})),
    )


def _headers(folder: Path) -> Iterator[tuple[Path, Any]]:
    """Every DICOM image of a folder with its header; other files are passed over."""
    pydicom = library()
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            with pydicom.config.disable_value_validation():
                head = pydicom.dcmread(path, stop_before_pixels=True)
                if not any(name in head for name in ("Rows", "NumberOfFrames")):
                    continue
                for _ in head.iterall():  # values are made of bytes only when they are asked for
                    pass
        except pydicom.errors.InvalidDicomError:
            continue
        except Exception as error:  # whatever a header of any bytes makes pydicom raise
            raise Refusal(
                f"{path} is a damaged DICOM file ({type(error).__name__}): a series is read "
                "whole; copy or export it again."
            ) from error
        yield path, head


def library() -> Any:
    """Pydicom.

    Raises:
        Refusal: It is not installed.
    """
    try:
        import pydicom  # noqa: PLC0415  an extra
        import pydicom.config  # noqa: PLC0415
        import pydicom.errors  # noqa: PLC0415
    except ImportError as error:
        raise Refusal(
            "pydicom is not installed: folders are read as DICOM series, which takes the extra "
            "dicom; install it (pip install 'lamina[dicom]') or convert the series with dcm2niix."
        ) from error
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it would repeat values of headers
    return pydicom


def _slices(file: int, path: Path, head: Any) -> Iterator[Slice]:
    """The slices of one file."""
    series, shape = str(head.get("SeriesInstanceUID", "")), (int(head.Rows), int(head.Columns))
    shared = _first(head.get("SharedFunctionalGroupsSequence"))
    frames = items(head.get("PerFrameFunctionalGroupsSequence")) or [None]
    for number, frame in enumerate(frames):
        parts = [part for part in (frame, shared) if part is not None]
        plane = _group(parts, "PlanePositionSequence", head)
        turn = _group(parts, "PlaneOrientationSequence", head)
        size = _group(parts, "PixelMeasuresSequence", head)
        scale = _group(parts, "PixelValueTransformationSequence", head)
        yield Slice(
            file,
            number,
            series,
            shape,
            _numbers(turn.get("ImageOrientationPatient"), 6),
            _numbers(plane.get("ImagePositionPatient"), 3),
            _numbers(size.get("PixelSpacing"), 2),
            scale_of(path, scale),
            tuple(single(path, name, size, 0) for name in (BETWEEN, THICK)),
        )


def _group(parts: Sequence[Any], name: str, head: Any) -> Any:
    """A functional group of a frame, else the shared one, else the header itself."""
    found = (_first(part.get(name)) for part in parts)
    return next((group for group in found if group is not None), head)


def _first(sequence: Any) -> Any:
    return next(iter(items(sequence)), None)


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """So many finite numbers; None for anything else."""
    try:
        found = tuple(float(part) for part in value)
    except (TypeError, ValueError):
        found = ()
    return found if len(found) == count and np.isfinite(found).all() else None


def _upright(head: Any) -> bool:
    """Whether dcm2niix would turn it: acquired in three dimensions, and no derived image."""
    kind = [str(part).upper() for part in listed(head.get("ImageType"))]
    return head.get("MRAcquisitionType") == "3D" and "DERIVED" not in kind


def _other(head: Any) -> Iterator[str]:
    """Keywords of header fields that say something and are not taken over, those inside too."""
    for element in head.iterall():
        if element.VR != "SQ" and element.value not in (None, "", b"", []):
            name = element.keyword or ("private fields" if element.tag.is_private else "unknown")
            if name not in KEPT:
                yield name


def _stored(series: Series) -> NDArray[Any]:
    """Voxels as they are stored, (columns, rows, slices)."""
    by_file: Mapping[int, list[tuple[int, int]]] = {}
    for place, each in enumerate(series.stack.slices):
        by_file.setdefault(each.file, []).append((place, each.frame))
    planes: list[NDArray[Any]] = [np.empty(0)] * len(series.stack.slices)
    for file, wanted in by_file.items():
        frames = _decoded(series.files[file])
        if len(frames) <= max(frame for _, frame in wanted):
            raise Refusal(
                f"{series.files[file]} holds {counted(len(frames), 'frame')} where its header "
                f"tells of {len(wanted)}: a file is read whole; export it again."
            )
        for place, frame in wanted:
            planes[place] = frames[frame].T
    return np.stack(planes, axis=-1)


def _decoded(path: Path) -> NDArray[Any]:
    """The frames of a file, (N, rows, columns)."""
    head: Any = None
    try:
        head = library().dcmread(path)
        pixels = np.asarray(head.pixel_array)
    except Exception as error:  # decoders of any make
        if is_packed(head):
            packing = head.file_meta.TransferSyntaxUID.name
            raise Refusal(
                f"{path} is compressed as {packing}, and nothing installed unpacks it: pixels are "
                "read as they are or as installed decoders give them; install pylibjpeg and "
                "its parts, or export the series uncompressed."
            ) from error
        raise Refusal(
            f"{path} has no pixels that can be read ({type(error).__name__}): a series is read "
            "whole; copy or export it again."
        ) from error
    return pixels if pixels.ndim == 3 else pixels[None]
