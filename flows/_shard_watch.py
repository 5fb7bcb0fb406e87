"""Ends a shard that hangs: ``python -m flows._shard_watch PID FILE``, a child of the shard.

A computation that never returns cannot be interrupted from within its process. This process
reads a line from the shard for each sign of life: how many seconds may pass until the next one
(0 for any number), and what is under way. When they have passed it writes down what hung and
kills the shard, which is then started again for the rest. It ends with the shard.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows._journal import append_line, now


class Watchdog:
    """The shard's end of the line."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        """Speak to a process that listens."""
        self._process = process

    def says(self, limit_s: float, item: str = "", draw: int = 1) -> None:
        """A sign of life, and how long the next may take; 0 for as long as it likes."""
        assert self._process.stdin is not None
        line = json.dumps({"limit_s": limit_s, "item": item, "attempt": draw})
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()


@contextlib.contextmanager
def watched(outcomes: Path) -> Iterator[Watchdog]:
    """A watchdog over this process for the block.

    Args:
        outcomes: Where it writes down what hung.
    """
    command = [sys.executable, "-m", "flows._shard_watch", str(os.getpid()), str(outcomes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        try:
            yield Watchdog(process)
        finally:
            process.kill()


def main(shard: int, outcomes: Path) -> None:
    """Listen until the shard ends or has to be ended."""
    limit_s, said = 0.0, {"item": "", "attempt": 1}
    rest = b""
    while True:
        ready, _, _ = select.select([0], [], [], limit_s or None)
        if not ready:
            _write_down(outcomes, said, limit_s)
            with contextlib.suppress(ProcessLookupError):
                os.kill(shard, signal.SIGKILL)
            return
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            said = json.loads(lines[-1])
            limit_s = said.pop("limit_s")


def _write_down(outcomes: Path, said: dict[str, Any], limit_s: float) -> None:
    if said["item"]:
        error = f"TimeoutError: no sign of life for {limit_s:.0f} s; the shard was ended"
        outcome = {"state": "failed", "files": {}, "seconds": limit_s, "error": error}
        append_line(outcomes, {**said, **outcome, "time": now()})


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
