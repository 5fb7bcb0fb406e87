"""Waiting in tests: until something holds, or a deadline that a fault alone reaches."""

import time

# Seconds on a quiet machine may be minutes on a busy one; a test as a whole has 600 s.
PATIENCE_S = 500.0


def until(met, what, look_every_s=0.05):
    """What ``met`` returns once that is true; ``what`` says, or knows, what took too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := met()):
        if time.monotonic() > deadline:
            told = what() if callable(what) else what
            raise AssertionError(f"{told}: not within {PATIENCE_S:.0f} s")
        time.sleep(look_every_s)
    return found
