"""The bytes around a scan: whether a file can hold what its header says, and is undamaged.

A reader that stops at the last voxel never sees a gzip member's checksum, and one that believes
the header asks for memory that no file of this size could fill. Both are looked at here first.
"""

from __future__ import annotations

import os
import re
import zlib
from pathlib import Path

from core.progress import counted
from core.refusal import Refusal

HIGHEST_RATIO = 1032  # deflate cannot pack a byte tighter than this
BLOCK = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
GZIP_WINDOW = 31  # zlib's word for a gzip member with the largest window
SUFFIXES = (".nii", ".nii.gz")
OTHER_FORMATS = (
    ".img", ".mgh", ".mgz", ".dcm", ".ima", ".rec", ".nrrd", ".nhdr", ".mha", ".mhd", ".mnc",
    ".mif", ".mif.gz", ".nii.bz2", ".nii.xz", ".nii.zst", ".nii.lz4", ".nii.zip", ".nii.7z",
)  # fmt: skip
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
DICOM_MAGIC = (128, b"DICM")  # where it stands

POINTERS = {
    b"/annex/objects/": (
        "its content is not here but in git-annex, so fetch it (datalad get, git annex get)"
    ),
    b"version https://git-lfs": (
        "its content is not here but in Git LFS, so fetch it (git lfs pull)"
    ),
}
"""How a file begins that only says where its content is, and what is said of it."""


def points_elsewhere(path: Path) -> str:
    """Why a file is no scan but only says where one is; empty where it may be one.

    Raises:
        OSError: It may not be read.
    """
    with path.open("rb") as file:
        begin = file.read(max(map(len, POINTERS)))
    return next((why for sign, why in POINTERS.items() if begin.startswith(sign)), "")


def check_content(path: Path) -> None:
    """Refuse a file that is empty, or only says where its content is.

    Raises:
        Refusal: It is such a file.
    """
    if path.stat().st_size == 0:
        raise Refusal(f"{path} is empty: a scan has a header and voxels; export it again.")
    try:
        why = points_elsewhere(path)
    except OSError:  # which whoever reads it says
        return
    if why:
        raise Refusal(f"{path} holds no scan: {why}.")


def is_folder(path: Path, *, links: bool = True) -> bool:
    """Whether a path is a folder, or a link to one if links count, as far as one may know."""
    try:
        return path.is_dir() and (links or not path.is_symlink())
    except OSError:
        return False


def looks_like_scan(path: Path) -> bool:
    """Whether something is named like a scan or an archive of scans, or is a nameless DICOM file.

    Scanners write DICOM without an ending, or with a number for one: IM0001, 1.2.840.3.
    """
    name = path.name.lower()
    if name.endswith((*SUFFIXES, *OTHER_FORMATS, *ARCHIVES)):
        return True
    ending = path.suffix[1:]
    if ending and not ending.isdecimal():
        return False
    place, magic = DICOM_MAGIC
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(place + len(magic))[place:] == magic
    except OSError:
        return False


def scan_name(name: str) -> str:
    """A scan's file name without its suffix, in whatever case that is written."""
    return re.split(r"\.nii", name, maxsplit=1, flags=re.IGNORECASE)[0]


def is_gzip(path: Path) -> bool:
    """Whether readers take the file for gzip, which they tell by its name."""
    return path.name.lower().endswith(".gz")


def check_size(path: Path, needed: int) -> None:
    """Refuse a file that cannot hold so many bytes, or a scan that no memory here can.

    Args:
        path: The file.
        needed: Bytes from its start to its last voxel, unpacked.

    Raises:
        Refusal: The header promises more than there is, or than can be held.
    """
    size = path.stat().st_size
    most = size * HIGHEST_RATIO if is_gzip(path) else size
    if needed > most:
        raise Refusal(
            f"{path} has {counted(size, 'byte')} where its header asks for {needed}: the file "
            "must be whole "
            "and its dimensions true; copy or export it again."
        )
    check_memory(path, needed)


def check_memory(path: Path, needed: int) -> None:
    """Refuse a scan of so many bytes that no memory here can hold it.

    Raises:
        Refusal: It is larger.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise Refusal(
            f"{path} unpacks to {needed / 1e9:.1f} GB: a scan is held in memory, and this machine "
            f"has {memory / 1e9:.1f} GB; crop it or use a larger machine."
        )


def check_gzip(path: Path, needed: int) -> None:
    """Refuse a gzip file that is damaged anywhere, or ends before its last voxel.

    What follows the last member is ignored, as gzip does. A file that lacks only its checksum is
    refused, too: after a damaged block such a file looks the same.

    Args:
        path: The file.
        needed: Bytes up to the last voxel, unpacked.

    Raises:
        Refusal: A checksum or a block is wrong, or the file was cut.
    """
    try:
        unpacked = _unpacked_size(path)
    except (zlib.error, EOFError, OSError) as error:
        raise Refusal(
            f"{path} is damaged ({error}): the file must be whole and agree with its checksum; "
            "copy or export it again."
        ) from error
    if unpacked < needed:
        raise Refusal(
            f"{path} unpacks to {counted(unpacked, 'byte')} where its header asks for {needed}: "
            "the file "
            "must be whole and its dimensions true; copy or export it again."
        )


def _unpacked_size(path: Path) -> int:
    """How many bytes all gzip members hold, after checking each against its checksum."""
    total, member, rest = 0, zlib.decompressobj(GZIP_WINDOW), b""
    with path.open("rb") as file:
        while True:
            if member.eof:
                rest = (member.unused_data + file.read(BLOCK)).lstrip(b"\0")
                if not rest.startswith(GZIP_MAGIC):
                    return total
                member = zlib.decompressobj(GZIP_WINDOW)
            else:
                rest = member.unconsumed_tail or file.read(BLOCK)
            if not rest:
                raise EOFError("it ends before its checksum")
            total += len(member.decompress(rest, BLOCK))
