"""Lines that outlive a crash, and locks that do not: plain files and the kernel.

Only the standard library, as processes that must start at once read this.
"""

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

BEAT_S = 5.0


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a JSON lines file; one that a crash cut short is left out."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


class Follower:
    """Reads files of JSON lines on from where it stopped.

    Attributes:
        places: File name to how many bytes of it were read.

    >>> file, follower = Path("lines.jsonl"), Follower()
    >>> append_line(file, {"made": 1})
    >>> list(follower.news(file)), list(follower.news(file))
    ([{'made': 1}], [])
    """

    def __init__(self, places: dict[str, int] | None = None) -> None:
        """Begin where another one stopped, by default at the first line of each file."""
        self.places = dict(places or {})

    def skip(self, path: Path) -> None:
        """Leave out what stands in a file now."""
        self.places[path.name] = path.stat().st_size

    def news(self, path: Path) -> Iterator[dict[str, Any]]:
        """The whole lines that were added to a file since; read to the end, they are done with."""
        start = self.places.get(path.name, 0)
        if path.stat().st_size <= start:
            return
        with path.open("rb") as file:
            file.seek(start)
            text = file.read()
        whole = text.rfind(b"\n") + 1
        for line in text[:whole].splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue  # cut short by a crash; the next line stands on its own
            if isinstance(value, dict):
                yield value
        self.places[path.name] = start + whole


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Add one line and see it onto the disk, on a line of its own whatever a crash left."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        whole = not size or os.pread(descriptor, 1, size - 1) == b"\n"
        text = json.dumps(value, ensure_ascii=False, default=str)
        rest = f"{'' if whole else os.linesep}{text}\n".encode()
        while rest:  # a disk that is nearly full takes a part, and refuses the rest
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def now(after: str = "") -> str:
    """The time, to the millisecond, in one form everywhere.

    Args:
        after: A time that another host wrote: the answer is later, whoever's clock is wrong.
    """
    time = datetime.now(UTC)
    if after:
        time = max(time, datetime.fromisoformat(after) + timedelta(milliseconds=1))
    return time.isoformat(timespec="milliseconds")


def seconds_since(time: str) -> float:
    """How long ago a time was that ``now`` gave; 0 for one that a fast clock put ahead."""
    passed = datetime.now(UTC) - datetime.fromisoformat(time)
    return max(0.0, passed.total_seconds())


@contextmanager
def held(path: Path, *, wait: bool = True, shared: bool = False) -> Iterator[bool]:
    """Hold an OS lock on a file for the block; the kernel frees it however the process ends.

    Args:
        path: The lock's file; it stays.
        wait: Wait for others; otherwise the block learns whether it holds the lock.
        shared: Hold it beside others that share it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, kind | (0 if wait else fcntl.LOCK_NB))
            got = True
        except BlockingIOError:
            got = False
        yield got
    finally:
        os.close(descriptor)


@contextmanager
def beating(path: Path) -> Iterator[None]:
    """Touch a file now and then while the block lasts, for others on any host to see."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_S):
            with suppress(OSError):  # a share that is away comes back
                os.utime(path)

    threading.Thread(target=beat, name="beat", daemon=True).start()
    try:
        yield
    finally:
        over.set()
