"""Waiting in tests: until something holds, or a deadline that a fault alone reaches."""

import os
import time

PATIENCE_S = 500.0  # of a quiet machine; see until


def until(met, what, look_every_s=0.05, patience_s=PATIENCE_S, moving=None):
    """What ``met`` returns once that is true; ``what`` says, or knows, what took too long.

    Seconds count as a quiet machine's: where four processes want each core, four seconds are one.
    The patience begins anew whenever ``moving`` returns another than before: work of many parts
    that goes on is waited for, and work that stands still is not.
    """
    stood, left, looked = None, patience_s, time.monotonic()
    while not (found := met()):
        if moving and (stands := moving()) != stood:
            stood, left = stands, patience_s
        now = time.monotonic()
        left, looked = left - (now - looked) / slowness(), now
        if left < 0:
            told = what() if callable(what) else what
            raise AssertionError(f"{told}: not within {patience_s:.0f} s of a quiet machine")
        time.sleep(look_every_s)
    return found


def slowness() -> float:
    """How many processes want each core; 1 where there is a core for each."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
