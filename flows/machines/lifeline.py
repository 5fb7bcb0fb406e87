"""A child that ends when its parent does, even if the parent was killed.

The parent holds the writing end of the child's standard input and never writes. When the
parent goes, for whatever reason, the kernel closes that end and the child reads an end of file.
"""

import os
import signal
import threading
import time

GRACE_S = 10.0


def end_with_parent() -> None:
    """Watch standard input; when it closes, ask this process's group to end, then insist."""
    threading.Thread(target=_watch, name="lifeline", daemon=True).start()


def _watch() -> None:
    while os.read(0, 1):
        pass
    # The group is this child with all that it started: a worker takes its flow runs along.
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(0, signal.SIGKILL)
