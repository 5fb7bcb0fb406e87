"""Waiting in tests: until something holds, or a deadline that a fault alone reaches."""

import time

PATIENCE_S = 900.0  # what takes seconds on a quiet machine may take minutes on a busy one


def until(met, what, look_every_s=0.05):
    """What ``met`` returns once that is true; ``what`` says what took too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := met()):
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S:.0f} s"
        time.sleep(look_every_s)
    return found
