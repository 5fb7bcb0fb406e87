"""Progress for a person: a bar on a terminal, plain lines in a log.

Everything long takes a ``Meter`` and calls it with how many steps are done and how many there
are; flows pass one that writes artifacts (``_artifacts.py``), commands pass one from here.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

LINE_EVERY_S = 5.0
MINUTE, HOUR = 60, 3600


class Meter(Protocol):
    """Told how far a job is; cheap to call after every step."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """``done`` of ``total`` steps, and words such as the loss."""


class Clock:
    """When something began, and from that when it will end."""

    def __init__(self) -> None:
        """Begin now."""
        self.began = time.monotonic()

    def left(self, done: int, total: int) -> str:
        """The time left at the present pace, in words."""
        if not 0 < done < total:
            return ""
        return f"{duration((time.monotonic() - self.began) / done * (total - done))} left"


class Throttle:
    """Says yes at most once in so many seconds, so that reporting costs nothing."""

    def __init__(self, seconds: float) -> None:
        """The first question is answered with yes."""
        self.seconds = seconds
        self._next = -float("inf")

    def ready(self) -> bool:
        """Whether enough time has passed since the last yes."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self.seconds
        return True


def duration(seconds: float) -> str:
    """Seconds in the words a person would use: ``8 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min"
    hours, rest = divmod(seconds, HOUR)
    return f"{hours:.0f} h {rest / MINUTE:.0f} min"


@contextmanager
def terminal_meter(label: str, stream: TextIO | None = None) -> Iterator[Meter]:
    """A meter that draws on a terminal or writes lines elsewhere.

    Args:
        label: What is under way, such as ``sampling``.
        stream: Where to; by default standard error, so that results can be piped.
    """
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield _Lines(label, stream)
        return
    from rich.console import Console  # noqa: PLC0415  half of a short command's time
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(file=stream)) as progress:
        task = progress.add_task(label, total=None, note="")

        def draw(done: int, total: int, note: str = "") -> None:
            shown = f"{done}/{total} {note}".rstrip()
            progress.update(task, completed=done, total=total, note=shown)

        yield draw


class _Lines:
    def __init__(self, label: str, stream: TextIO) -> None:
        self._label, self._stream = label, stream
        self._clock, self._throttle = Clock(), Throttle(LINE_EVERY_S)

    def __call__(self, done: int, total: int, note: str = "") -> None:
        if done < total and not self._throttle.ready():
            return
        words = filter(
            None, (f"{self._label}: {done} of {total}", note, self._clock.left(done, total))
        )
        self._stream.write(", ".join(words) + "\n")
        self._stream.flush()
