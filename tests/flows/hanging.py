"""The flows with a computation that hangs in C, the interpreter's lock held, signals ignored.

For tests of what ends them from outside; all else about them is as shipped, and what they may
take is shortened.
"""

import ctypes
import os
import signal
from pathlib import Path
from typing import Any

import flows.machines.watchdog
import flows.training.training
import medical.operations.super_resolve
import video.engines.own
from flows.super_resolve_mri import super_resolve_mri
from flows.text_to_video import text_to_video
from flows.train_video import train_video

__all__ = ["super_resolve_mri", "text_to_video", "train_video"]

FOREVER_S = 3600
IGNORED = ctypes.c_void_p(1)


def hang(*_: Any, **__: Any) -> None:
    """Never return, and leave no other thread of this process a turn."""
    library = ctypes.PyDLL(None)  # unlike CDLL, keeps the lock of the interpreter
    library.signal(signal.SIGTERM, IGNORED)
    Path(os.environ["HANGS"]).write_text(f"{os.getpid()} {os.environ['LAMINA_SLOT']}")
    library.sleep(FOREVER_S)


flows.machines.watchdog.Patience.LEAST_S = float(os.environ["HANGS_FOR_S"])
flows.machines.watchdog.Patience.TIMES = 0.0
flows.machines.watchdog.TRAINING = flows.machines.watchdog.Patience.with_job(0.0)
video.engines.own.sample = hang
medical.operations.super_resolve.super_resolve = hang
flows.training.training.descend = hang
