"""Waiting in tests: until something holds, or a deadline that a fault alone reaches."""

import time

# Seconds on a quiet machine may be minutes on a busy one; a test as a whole has 600 s.
PATIENCE_S = 500.0


def until(met, what, look_every_s=0.05, patience_s=PATIENCE_S, moving=None):
    """What ``met`` returns once that is true; ``what`` says, or knows, what took too long.

    The patience begins anew whenever ``moving`` returns another than before: work of many parts
    that goes on is waited for on however busy a machine, and work that stands still is not.
    """
    stood, deadline = None, time.monotonic() + patience_s
    while not (found := met()):
        if moving and (stands := moving()) != stood:
            stood, deadline = stands, time.monotonic() + patience_s
        if time.monotonic() > deadline:
            told = what() if callable(what) else what
            raise AssertionError(f"{told}: not within {patience_s:.0f} s")
        time.sleep(look_every_s)
    return found
