"""Progress for a person: a bar on a terminal, plain lines in a log.

Everything long takes a ``Meter`` and calls it with how many steps are done and how many there
are; flows pass one that writes artifacts (``pages/artifacts.py``), commands pass one from here.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import IO, TYPE_CHECKING, Protocol, cast, runtime_checkable

if TYPE_CHECKING:
    from rich.progress import Progress

logger = logging.getLogger(__name__)

LINE_EVERY_S = 5.0
STEP_LINE_EVERY_S = 0.05
RESUMED = "resumed"  # in place of the estimate: the job went on from a kept step
MINUTE, HOUR = 60, 3600


@runtime_checkable
class Stream(Protocol):
    """Where words go: a terminal or a file."""

    def isatty(self) -> bool:
        """Whether a person reads it as it comes."""
        ...

    def write(self, text: str, /) -> int:
        """Take some text."""
        ...

    def flush(self) -> object:
        """Pass on what was taken."""


@runtime_checkable
class Meter(Protocol):
    """Told how far a job is; cheap to call after every step."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """``done`` of ``total`` steps, and words such as the loss."""


class Clock:
    """When something began, and from that when it will end.

    >>> Clock().passed() < 60
    True
    """

    def __init__(self) -> None:
        """Begin now."""
        self.began = time.monotonic()

    def passed(self) -> float:
        """Seconds since then."""
        return time.monotonic() - self.began

    def says(self, done: int, total: int, thing: str = "step") -> str:
        """How far it is and how long it will take at this pace: ``step 1 of 4, 3 s left``."""
        words = f"{thing} {done} of {total}"
        if not 0 < done < total:
            return words
        return f"{words}, {duration(self.passed() / done * (total - done))} left"


class Throttle:
    """Says yes at most once in so many seconds, so that reporting costs nothing.

    >>> throttle = Throttle(60.0)
    >>> throttle.ready(), throttle.ready()
    (True, False)
    """

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


class Sparing:
    """Lets something be done now and then, so that it takes a small share of all time.

    >>> sparing = Sparing(60.0, share=0.01)
    >>> with sparing as due:
    ...     due
    False
    """

    def __init__(self, seconds: float, share: float) -> None:
        """Begin to wait.

        Args:
            seconds: Between two at least.
            share: Of the time, that what is done may take.
        """
        self._seconds, self._share = seconds, share
        self._next, self._began = time.monotonic() + seconds, 0.0

    def __enter__(self) -> bool:
        """Whether it is due; what is done in the block then is timed."""
        self._began = time.monotonic()
        return self._began >= self._next

    def __exit__(self, *_: object) -> None:
        """Wait for as long as the block allows."""
        now = time.monotonic()
        if self._began >= self._next:
            self._next = now + max(self._seconds, (now - self._began) / self._share)


def duration(seconds: float) -> str:
    """Seconds in the words a person would use: ``8 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min"
    hours, rest = divmod(seconds, HOUR)
    return f"{hours:.0f} h {rest / MINUTE:.0f} min"


def counted(number: int, thing: str, things: str = "") -> str:
    """So many of a thing: ``1 step``, ``2 steps``; ``things`` where more are not called so."""
    return f"{number} {thing}" if number == 1 else f"{number} {things or f'{thing}s'}"


def steps_of(meter: Meter) -> Callable[[int, int, object], None]:
    """The meter as samplers call it: steps done, steps in all, the estimate so far."""
    clock = Clock()

    def step(done: int, total: int, estimate: object) -> None:
        meter(done, total, RESUMED if estimate is RESUMED else clock.says(done, total))

    return step


@contextmanager
def aside(meter: Meter) -> Iterator[Meter]:
    """The meter as one that never keeps its caller waiting and never fails.

    What it is told while it is still busy with the last is left out, save the very last.
    """
    state = copy_context()
    told: list[tuple[int, int, str]] = []
    busy: list[Future[None]] = []

    def tell() -> None:
        while told:
            news = told.pop()
            told.clear()
            try:
                state.run(meter, *news)
            except Exception as error:
                logger.warning("progress could not be shown: %s", error)

    def take(done: int, total: int, note: str = "") -> None:
        told.append((done, total, note))
        if not busy or busy[-1].done():
            busy[:] = [line.submit(tell)]

    with ThreadPoolExecutor(1) as line:
        yield take
        line.submit(tell)


@contextmanager
def timed(timings: dict[str, float], name: str) -> Iterator[None]:
    """Add the block's seconds to ``timings`` under ``name``, also if it fails."""
    began = time.monotonic()
    try:
        yield
    finally:
        timings[name] = timings.get(name, 0.0) + time.monotonic() - began


@contextmanager
def terminal_meters(
    labels: Sequence[str], stream: Stream | None = None, *, each_step: bool = False
) -> Iterator[list[Meter]]:
    """Meters that draw on a terminal or write lines elsewhere, one for each label.

    Args:
        labels: What is under way, such as ``sampling``.
        stream: Where to; by default standard error, so that results can be piped.
        each_step: Write a line for each step, as steps take long.
    """
    place = stream or sys.stderr
    if not place.isatty():
        yield [_Steps(place) if each_step else _Lines(label, place) for label in labels]
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    words = TextColumn("{task.fields[note]}")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), words)
    with Progress(*columns, console=Console(file=cast("IO[str]", place))) as progress:
        yield [_Bar(progress, label) for label in labels]


@contextmanager
def terminal_meter(
    label: str, stream: Stream | None = None, *, each_step: bool = False
) -> Iterator[Meter]:
    """The meter of a single job; see ``terminal_meters``."""
    with terminal_meters([label], stream, each_step=each_step) as (meter,):
        yield meter


class _Bar:
    def __init__(self, progress: "Progress", label: str) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=None, note="")

    def __call__(self, done: int, total: int, note: str = "") -> None:
        words = _resumed(done, total) if note == RESUMED else note
        self._progress.update(self._task, completed=done, total=total, note=words)


class _Lines:
    def __init__(self, label: str, stream: Stream) -> None:
        self._label, self._stream, self._said = label, stream, ""
        self._throttle = Throttle(LINE_EVERY_S)

    def __call__(self, done: int, total: int, note: str = "") -> None:
        if note == RESUMED:
            self._stream.write(f"{_resumed(done, total)}\n")
            self._stream.flush()
            return
        words = f"{self._label}: " + ", ".join(filter(None, (note, f"{100 * done / total:.0f} %")))
        if words == self._said or not (self._throttle.ready() or done >= total):
            return
        self._said = words
        self._stream.write(f"{words}\n")
        self._stream.flush()


class _Steps:
    """A line for each step, for whoever reads along or counts them."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._throttle = Throttle(STEP_LINE_EVERY_S)

    def __call__(self, done: int, total: int, note: str = "") -> None:
        resumed = note == RESUMED
        if not (resumed or self._throttle.ready() or done >= total):
            return
        words = _resumed(done, total) if resumed else f"step {done} of {total}"
        self._stream.write(f"{words}\n")
        self._stream.flush()


def _resumed(done: int, total: int) -> str:
    return f"resumed at step {done} of {total}"
