"""Which files the gallery may open: under the outputs root, by no link, of known kinds.

Names come from addresses that anyone may type and from records that stand on a shared disk;
neither is believed. Every path that is opened has passed ``inside``.
"""

import json
import math
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

PART = re.compile(r"[^./\\\x00-\x1f\x7f\ud800-\udfff][^/\\\x00-\x1f\x7f\ud800-\udfff]{0,254}")
BATCHES = "batches"
KINDS = {  # every kind of file that a flow or an example writes for a person, by its ending
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".nii.gz": "application/gzip",
    ".nii": "application/octet-stream",
    ".glb": "model/gltf-binary",
    ".stl": "model/stl",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}
NUMBER_OF_RECORDS = 20_000
LARGEST_MANIFESTS = 64_000_000  # bytes of text that are kept read; 10,000 items have about 8 MB
HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # JSON can hold half a character, which no page can
HALVES = re.compile("[\ud800-\udfff]")
DEEPEST = 32
Lines = tuple[dict[str, Any], ...]


class Bring(Protocol):
    """Fetches a file that another host made; whether it is here now."""

    def __call__(self, path: Path, *, whole: bool) -> bool:
        """Fetch it; a large one only with ``whole``."""
        ...


BRING: ContextVar[Bring | None] = ContextVar("bring", default=None)
WHOLE: ContextVar[bool] = ContextVar("whole", default=False)


@contextmanager
def whole_results() -> Iterator[None]:
    """Have clips and volumes here, too, of the results that are read in the block."""
    token = WHOLE.set(True)
    try:
        yield
    finally:
        WHOLE.reset(token)


def inside(root: Path, *parts: str) -> Path | None:
    """``root/parts`` if it stands and is under ``root`` after every link, else None.

    Args:
        root: A resolved folder.
        parts: Names of single folders or files; hidden ones and those with a slash are none.
    """
    if not all(PART.fullmatch(part) for part in parts):
        return None
    path, bring = root.joinpath(*parts), BRING.get()
    try:
        if bring is not None and not path.exists():
            bring(path, whole=WHOLE.get())
        return path if path.resolve(strict=True).is_relative_to(root) else None
    except (OSError, RuntimeError, ValueError):
        return None


def kind_of(name: str) -> str | None:
    """The media type of a file that flows write, by its name; None for any other."""
    return next((kind for ending, kind in KINDS.items() if name.lower().endswith(ending)), None)


def folders(root: Path) -> list[Path]:
    """The folders in ``root`` that may be opened, by name; none if it is not there."""
    try:
        names = sorted(entry.name for entry in root.iterdir())
    except OSError:
        return []
    found = (inside(root, name) for name in names)
    return [path for path in found if path is not None and path.is_dir()]


def read_table(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one if it is missing, broken or something else."""
    try:
        facts = path.stat()
        return _table(path, facts.st_mtime_ns, facts.st_size)
    except (OSError, ValueError, RecursionError):
        return {}


class Manifests:
    """JSON lines files that were read lately, as long as they stay as they are."""

    def __init__(self, largest: int = LARGEST_MANIFESTS) -> None:
        """Keep files of so many bytes together, and always the last one."""
        self._largest, self._size = largest, 0
        self._kept: OrderedDict[Path, tuple[tuple[int, int], Lines]] = OrderedDict()
        self._lock = Lock()

    def lines(self, path: Path) -> Lines:
        """The JSON objects in a file, one a line; one that is being written is left out.

        Raises:
            OSError: It cannot be read.
        """
        facts = path.stat()
        stamp = facts.st_mtime_ns, facts.st_size
        with self._lock:
            known, lines = self._kept.get(path, ((0, 0), ()))
            if known == stamp:
                self._kept.move_to_end(path)
                return lines
        lines = _parsed(path.read_bytes())
        with self._lock:
            (_, before), _ = self._kept.pop(path, ((0, 0), ()))
            self._kept[path] = stamp, lines
            self._size += stamp[1] - before
            while self._size > self._largest and len(self._kept) > 1:
                _, ((_, size), _) = self._kept.popitem(last=False)
                self._size -= size
        return lines


MANIFESTS = Manifests()


def read_lines(path: Path) -> Lines:
    """The JSON objects in a file, one a line; none if it is not there."""
    try:
        return MANIFESTS.lines(path)
    except OSError:
        return ()


@lru_cache(NUMBER_OF_RECORDS)
def _table(path: Path, _mtime_ns: int, _size: int) -> dict[str, Any]:
    return _object(path.read_bytes()) or {}


def _object(text: bytes) -> dict[str, Any] | None:
    """The JSON object in a text, of what a page can show; None for anything else.

    Raises:
        ValueError: It is no JSON, or lists are within each other without end.
    """
    content = json.loads(text.decode("utf-8"))
    if not isinstance(content, dict):
        return None
    odd = text.count(b"[") + text.count(b"{") > DEEPEST or HALF.search(text)
    return _shown(content, DEEPEST) if odd else content


def _shown(content: Any, levels: int) -> Any:
    if not levels:
        raise ValueError("too deep")
    if isinstance(content, str):
        return HALVES.sub("\ufffd", content)
    if isinstance(content, list):
        return [_shown(value, levels - 1) for value in content]
    if isinstance(content, dict):
        return {
            HALVES.sub("\ufffd", key): _shown(value, levels - 1) for key, value in content.items()
        }
    return content


def _parsed(text: bytes) -> Lines:
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        try:
            content = _object(line)
        except (ValueError, RecursionError):
            continue
        if content is not None:
            found.append(content)
    return tuple(found)


def number(found: Any) -> float:
    """A number of a record; 0 where it is none that a page can show."""
    try:
        plain = float(found) if isinstance(found, int | float) else 0.0
    except OverflowError:
        return 0.0
    return plain if math.isfinite(plain) else 0.0


def table(found: Any) -> Mapping[str, Any]:
    """A table of a record; an empty one where it is something else."""
    return found if isinstance(found, Mapping) else {}
