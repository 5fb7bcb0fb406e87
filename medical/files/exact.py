"""A NIfTI file with some of its voxels changed and every other byte as it was.

Reading intensities and writing them again would round what nobody asked to change. Here the bytes
of the other voxels, and of the header with its scaling, are those of the source. Extensions and
the free fields in which scanners write names are left out, as everywhere.
"""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from core.records import atomic_path
from core.refusal import Refusal
from medical.files.container import is_gzip
from medical.files.nifti import SUFFIXES, nifti_bytes, read_volume
from medical.files.privacy import DESCRIPTION, DOUBLE, FREE, SINGLE, without_words
from medical.files.scan import read_scan
from medical.files.stored import stored_voxels
from medical.files.volume import Volume

NO_EXTENSION = b"\0\0\0\0"
OFFSET = {SINGLE: (108, "f"), DOUBLE: (168, "q")}  # of the voxels: where it stands, as what


@dataclass(frozen=True)
class Stored:
    """A file's bytes: header, and voxels in the order of the file."""

    header: bytes
    voxels: NDArray[np.generic]

    @classmethod
    def of(cls, path: Path, volume: Volume) -> Stored:
        """The bytes of a file that was read as a volume, or of the NIfTI of a DICOM series."""
        raw = nifti_bytes(volume) if path.is_dir() else path.read_bytes()
        raw = gzip.decompress(raw) if is_gzip(path) and path.is_file() else raw
        order = "<" if struct.unpack("<i", raw[:4])[0] in OFFSET else ">"
        size = struct.unpack(f"{order}i", raw[:4])[0]
        at, kind = OFFSET[size]
        begin = int(struct.unpack_from(f"{order}{kind}", raw, at)[0])
        header = bytearray(without_words(raw[:size]))
        if volume.header.synthetic:  # which only a file beside the scan may have said
            start, length = FREE[size][DESCRIPTION]
            header[start : start + length] = volume.header.description.encode().ljust(
                length, b"\0"
            )
        struct.pack_into(f"{order}{kind}", header, at, size + len(NO_EXTENSION))
        dtype = np.dtype(volume.header.dtype).newbyteorder(order)
        count = int(np.prod(volume.shape))
        return cls(bytes(header), np.frombuffer(raw, dtype, count, begin))


def write_changed(
    source: Path,
    mask: NDArray[np.bool_],
    values: NDArray[np.float32],
    target: Path,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a copy of a file with other intensities in a mask; its path.

    Args:
        source: NIfTI file with one 3-D image, or folder with a DICOM series.
        mask: (D, H, W) which voxels change.
        values: (D, H, W) intensities, of which those in the mask are taken.
        target: NIfTI file to write.
        overwrite: whether an existing file may be replaced.

    Raises:
        Refusal: The name is none of a NIfTI file.
    """
    if not target.name.endswith(SUFFIXES):
        raise Refusal(
            f"{target} is not a NIfTI name: results are written as .nii or .nii.gz; rename it."
        )
    volume = read_scan(source)
    stored = Stored.of(source, volume)
    voxels = stored.voxels.copy().reshape(volume.shape, order="F")
    new = stored_voxels(torch.from_numpy(np.ascontiguousarray(values)), volume.header)
    voxels[mask] = new[mask].astype(voxels.dtype)
    content = stored.header + NO_EXTENSION + voxels.tobytes(order="F")
    packed = gzip.compress(content, 6, mtime=0) if is_gzip(target) else content
    with atomic_path(target, overwrite=overwrite) as temporary:
        temporary.write_bytes(packed)
        read_volume(temporary)
    return target


def differs(source: Path, target: Path) -> NDArray[np.bool_]:
    """Which voxels of two files have other bytes, (D, H, W).

    Raises:
        RuntimeError: Their headers differ.
    """
    one, two = read_scan(source), read_volume(target)
    first, second = Stored.of(source, one), Stored.of(target, two)
    if first.header != second.header:
        raise RuntimeError(
            f"{target.name} has another header than {source.name}: only voxels may change; "
            "make it again."
        )
    size = first.voxels.dtype.itemsize
    bytes_of = [each.voxels.view(np.uint8).reshape(-1, size) for each in (first, second)]
    return (bytes_of[0] != bytes_of[1]).any(axis=1).reshape(one.shape, order="F")
