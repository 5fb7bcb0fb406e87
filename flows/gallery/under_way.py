"""Clips that are being made, as the runs that make them show them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.gallery.places import read_table
from flows.jobs.under_way import FOLDER

FRESH_S, LARGEST = 3600.0, 400_000
CODED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")


@dataclass(frozen=True)
class UnderWay:
    """A clip that is being made.

    Attributes:
        title: The prompt.
        picture: What it is going to look like, as a data URI.
        done: Steps.
        total: Of so many.
    """

    title: str
    picture: str
    done: int
    total: int


def under_way(project: Path) -> list[UnderWay]:
    """Those of a project that showed themselves within the hour, by file name.

    Args:
        project: Its folder.
    """
    return list(_read(project / FOLDER))


def _read(folder: Path) -> Iterator[UnderWay]:
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            facts = path.lstat()
            if path.is_symlink() or facts.st_size > LARGEST:
                continue
        except OSError:  # it is made
            continue
        said = read_table(path)
        picture, done, total = (said.get(name) for name in ("picture", "done", "total"))
        if not (isinstance(done, int) and isinstance(total, int) and isinstance(picture, str)):
            continue
        if CODED.issuperset(picture) and time.time() - facts.st_mtime < FRESH_S:
            uri = f"data:image/webp;base64,{picture}"
            yield UnderWay(str(said.get("title", "")), uri, done, total)
