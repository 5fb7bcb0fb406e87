"""How much of the disk a project's results may take, and how much they take.

The operator's word, ``LAMINA_QUOTA_GB``; the file system may have quotas of its own beside it.
"""

import os
import time
from pathlib import Path

from core.refusal import Refusal
from flows.settings.settings import Settings

GB = 1e9
FRESH_S = 10.0  # how long a measure counts, or this many times what it took:
SHARE = 20.0


class Quota:
    """What is left to one project; a shard asks before every item, so it measures now and then."""

    def __init__(self, settings: Settings, project: str) -> None:
        """Measure nothing yet."""
        quotas = settings.quotas
        self._limit = GB * quotas.get(project, quotas.get("", 0.0))
        self._folder, self._project = settings.outputs / project, project
        self._used, self._granted, self._until = 0, 0, 0.0

    def check(self, needed: int = 1) -> None:
        """Grant so many bytes; each grant counts until what came of it is measured.

        Raises:
            Refusal: They are more than the project has left.
        """
        if not self._limit or not needed:
            return
        if time.monotonic() > self._until or not self._fits(needed):
            self._measure()
        if not self._fits(needed):
            raise Refusal(
                f"project={self._project}: its results take {self._used / GB:.3g} GB and "
                f"{needed / GB:.2g} GB more are needed, where LAMINA_QUOTA_GB allows "
                f"{self._limit / GB:.3g} GB: remove some of them, or have the operator raise it."
            )
        self._granted += needed

    def _fits(self, needed: int) -> bool:
        return self._used + self._granted + needed <= self._limit

    def _measure(self) -> None:
        began = time.monotonic()
        self._used, self._granted = used_bytes(self._folder), 0
        ended = time.monotonic()
        self._until = ended + max(FRESH_S, SHARE * (ended - began))


def used_bytes(folder: Path) -> int:
    """The bytes of all files in a folder, links not followed; 0 if it does not stand."""
    total, waiting = 0, [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += _size(entry)
        except OSError:  # it went away meanwhile
            continue
    return total


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:  # it went away, as files do that are renamed when they are whole
        return 0
