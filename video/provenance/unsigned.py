"""A file as it was before it was signed: without the manifest, and places moved back.

In an mp4 a C2PA manifest goes into a box of its own near the beginning of the file, and the tables
that say where the pictures stand are moved by its size. Both are undone here, so that two clips
can be compared whose signatures differ, as every signature does. In a PNG it is a chunk, in a JPEG
some segments, and nothing else is moved.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

SIGNED = (".mp4", ".png", ".jpg", ".jpeg")
"""Endings of the files that are signed."""
MANIFEST = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # the box's user type
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
JUMBF, PIXELS = b"\xff\xeb", b"\xff\xda"
NESTED = (b"moov", b"trak", b"mdia", b"minf", b"stbl")  # each in the one before, and no deeper
TABLES = {b"stco": ">I", b"co64": ">Q"}
MOST_BOXES, LARGEST_INDEX, CHUNK = 10_000, 2**28, 2**20


@dataclass(frozen=True)
class _Box:
    kind: bytes
    start: int
    size: int
    head: int
    manifest: bool = False


def is_signed(path: Path) -> bool:
    """Whether a file carries a manifest, whatever that says."""
    if path.suffix.lower() not in SIGNED or not path.is_file():
        return False
    with path.open("rb") as file:
        return any(box.manifest for box in _parts(path, file))


def media_sha256(path: Path) -> str:
    """The SHA-256 of a file as it was before it was signed; of the file itself if it was not."""
    with path.open("rb") as file:
        boxes = list(_parts(path, file)) if path.suffix.lower() in SIGNED else []
        gone = [box for box in boxes if box.manifest]
        if not gone:
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        for box in boxes:
            if box.manifest:
                continue
            file.seek(box.start)
            if box.kind == b"moov" and box.size <= LARGEST_INDEX:
                index = bytearray(file.read(box.size))
                _move_back(index, 0, len(index), 0, gone)
                digest.update(index)
            else:
                _take(file, box.size, digest)
        _take(file, 2**63, digest)  # what stands behind the last whole box
        return digest.hexdigest()


def _parts(path: Path, file: BinaryIO) -> Iterator[_Box]:
    """All parts of a file from its beginning, as far as they are whole."""
    if path.suffix.lower() == ".mp4":
        return _boxes(file)
    file.seek(0)
    head = file.read(len(PNG))
    return _chunks(file) if head == PNG else _segments(file) if head[:2] == JPEG else iter(())


def _chunks(file: BinaryIO) -> Iterator[_Box]:
    """Those of a PNG."""
    end, start = file.seek(0, 2), len(PNG)
    yield _Box(PNG, 0, len(PNG), 0)
    for _ in range(MOST_BOXES):
        file.seek(start)
        head = file.read(8)
        size, kind = 12 + int.from_bytes(head[:4]), head[4:]
        if len(head) < 8 or start + size > end:
            return
        yield _Box(kind, start, size, 8, kind == b"caBX")
        start += size


def _segments(file: BinaryIO) -> Iterator[_Box]:
    """Those of a JPEG, up to its pixels; a manifest is spread over several of one number."""
    end, start = file.seek(0, 2), len(JPEG)
    yield _Box(JPEG, 0, len(JPEG), 0)
    ours = set[bytes]()
    for _ in range(MOST_BOXES):
        file.seek(start)
        head = file.read(64)
        size, kind = 2 + int.from_bytes(head[2:4]), head[:2]
        if len(head) < 4 or size < 4 or start + size > end:
            return
        boxed = kind == JUMBF and head[4:6] == b"JP"
        if boxed and b"c2pa" in head[6:]:
            ours.add(head[6:8])
        yield _Box(kind, start, size, 4, boxed and head[6:8] in ours)
        if kind == PIXELS:
            return
        start += size


def _take(file: BinaryIO, size: int, digest: "hashlib._Hash") -> None:
    while size > 0 and (chunk := file.read(min(size, CHUNK))):
        digest.update(chunk)
        size -= len(chunk)


def _boxes(file: BinaryIO) -> Iterator[_Box]:
    """The outer boxes, as far as they are whole."""
    end = file.seek(0, 2)
    start = 0
    for _ in range(MOST_BOXES):
        file.seek(start)
        head = file.read(32)
        if len(head) < 8:
            return
        size, kind = struct.unpack(">I4s", head[:8])
        length = 8
        if size == 1 and len(head) >= 16:
            size, length = struct.unpack(">Q", head[8:16])[0], 16
        elif size == 0:
            size = end - start
        if size < length or start + size > end:
            return
        user = head[length : length + 16] if kind == b"uuid" else b""
        yield _Box(kind, start, size, length, user == MANIFEST)
        start += size


def _move_back(index: bytearray, start: int, end: int, depth: int, gone: list[_Box]) -> None:
    """Undo in the tables of places what the boxes that are gone moved."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", index, start)
        if size < 8 or start + size > end:
            return
        if depth < len(NESTED) and kind == NESTED[depth]:
            _move_back(index, start + 8, start + size, depth + 1, gone)
        elif depth == len(NESTED) and kind in TABLES and size >= 16:
            form = TABLES[kind]
            told = struct.unpack_from(">I", index, start + 12)[0]
            count = min(told, (size - 16) // np.dtype(form).itemsize)
            table = np.frombuffer(index, form, count, start + 16)
            table[:] = _moved_back(table.astype(np.uint64), gone)
        start += size


def _moved_back(told: NDArray[np.uint64], gone: list[_Box]) -> NDArray[np.uint64]:
    """Places without the boxes before them, whose starts rise."""
    starts = np.array([box.start for box in gone], np.uint64)
    moved = np.cumsum([0, *(box.size for box in gone)], dtype=np.uint64)
    before = moved[np.searchsorted(starts, told)]  # of those that start before a place
    return told - np.minimum(before, told)
