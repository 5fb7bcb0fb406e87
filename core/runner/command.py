"""What the commands of exported models share: limits of numbers, and how a run ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping

from core.progress import LINE_EVERY_S, Clock, Throttle
from core.refusal import Refusal
from core.trouble import Trouble

FAULT, BAD_INPUT = 1, 2
Bounds = Mapping[str, tuple[float, float]]


def progress(total: int, thing: str) -> Callable[[], None]:
    """What is called after each of so many things; every few seconds it says how far they are."""
    clock, throttle, done = Clock(), Throttle(LINE_EVERY_S), 0

    def one_more() -> None:
        nonlocal done
        done += 1
        if throttle.ready() or done == total:
            sys.stderr.write(f"{clock.says(done, total, thing)}\n")

    return one_more


def check_bounds(asked: Mapping[str, float], bounds: Bounds) -> None:
    """Refuse numbers that a request of ``lamina`` refuses.

    Args:
        asked: By name; names without bounds may be anything.
        bounds: Least and most.

    Raises:
        Refusal: One is too small or too large.
    """
    for name, (least, most) in bounds.items():
        value = asked[name]
        if not least <= value <= most:
            word, limit = ("least", least) if value < least else ("most", most)
            raise Refusal(f"{name}={value}: {name} must be at {word} {limit}; try {limit}.")


def ended(work: Callable[[], Iterable[str]]) -> int:
    """Do the work and say what it says; the exit code, as that of ``lamina``."""
    try:
        lines = list(work())
    except Refusal as refusal:
        sys.stderr.write(f"{refusal}\n")
        return BAD_INPUT
    except Trouble as trouble:
        sys.stderr.write(f"{trouble}\n")
        return FAULT
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0
