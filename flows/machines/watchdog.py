"""Ends a job that hangs: ``python -m flows.machines.watchdog PID [FILE]``, a child of the job.

A computation that never returns cannot be interrupted from within its process. This process
reads a line from the job for each sign of life: how many seconds may pass until the next one
(0 for any number), and what is under way. When they have passed it writes down what hung, says so
to the server if the job is a flow run, and kills the job with all that it started: its GPU is
free then. It ends with the job.
"""

import contextlib
import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import UUID

from core.progress import Meter
from core.storage.journal import append_line, now
from flows.machines.hosts import RUN_ID

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

SERVER_S, INSIST_S = 15.0, 20.0  # how long the server may take before the job is ended, and after
WHAT_TO_DO = (
    "It was ended and its GPU is free. Press Retry: what is done is kept. If it hangs again, ask "
    "for less, or have the operator look at the GPU."
)


@dataclass(frozen=True)
class Patience:
    """How long a job that holds a device may show no sign of life.

    Attributes:
        first_s: Until its first step, loading included; waiting for the device does not count.
        step_s: From one step to the next.
    """

    first_s: float
    step_s: float

    LEAST_S: ClassVar[float] = 300.0
    TIMES: ClassVar[float] = 20.0

    @classmethod
    def with_job(cls, minutes: float) -> Self:
        """For a job of which all steps together should take so many minutes."""
        limit_s = max(cls.LEAST_S, cls.TIMES * 60 * minutes)
        return cls(limit_s, limit_s)


# Before the first step data is made ready and the network compiled; validation and checkpoints
# come between two.
TRAINING = Patience(4 * 3600.0, 1800.0)


class Watchdog:
    """The job's end of the line."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        """Speak to a process that listens."""
        self._process, self._lost = process, False

    def says(self, limit_s: float, item: str = "", draw: int = 1) -> None:
        """A sign of life, and how long the next may take; 0 for as long as it likes."""
        assert self._process.stdin is not None
        line = json.dumps({"limit_s": limit_s, "item": item, "attempt": draw})
        try:
            self._process.stdin.write(f"{line}\n".encode())
        except BrokenPipeError:
            if not self._lost:
                logger.warning("the watchdog ended; a job that hangs now is not ended by itself")
            self._lost = True


@contextlib.contextmanager
def watched(outcomes: Path | None = None) -> Iterator[Watchdog]:
    """A watchdog over this process for the block.

    Args:
        outcomes: Where it writes down which item hung.
    """
    file = [] if outcomes is None else [str(outcomes)]
    command = [sys.executable, "-m", "flows.machines.watchdog", str(os.getpid()), *file]
    with subprocess.Popen(
        command,
        bufsize=0,  # what is said to a watchdog that was killed must not come up at the end
        stdin=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield Watchdog(process)
        finally:
            process.kill()


@contextlib.contextmanager
def holding(
    device: "torch.device", meter: Meter, patience: Patience, *, urgent: bool = True
) -> Iterator[Meter]:
    """Hold the device for the block, under a watchdog; the meter whose calls are signs of life.

    Args:
        device: That will compute.
        meter: Told what the block tells the other.
        patience: How long a step may take.
        urgent: As for ``flows.machines.devices.slot``.
    """
    from flows.machines.devices import slot

    def alive(done: int, total: int, note: str = "") -> None:
        dog.says(patience.step_s)
        meter(done, total, note)

    with watched() as dog, slot(device, urgent=urgent):
        dog.says(patience.first_s)
        yield alive


def main(job: int, outcomes: Path | None = None) -> None:
    """Listen until the job ends or has to be ended."""
    limit_s, said = 0.0, {"item": "", "attempt": 1}
    rest = b""
    while True:
        ready, _, _ = select.select([0], [], [], limit_s or None)
        if not ready:
            _end(job, outcomes, said, limit_s)
            return
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            said = json.loads(lines[-1])
            limit_s = said.pop("limit_s")


def _end(job: int, outcomes: Path | None, said: dict[str, Any], limit_s: float) -> None:
    """Write down what hung, tell the server, and kill the job whether or not that went well."""
    words = f"no sign of life for {limit_s:.0f} s"
    if outcomes and said["item"]:
        error = f"TimeoutError: {words}; the shard was ended"
        outcome = {"state": "failed", "files": {}, "seconds": limit_s, "sample_s": limit_s}
        with contextlib.suppress(OSError):  # a disk that is full or away
            append_line(outcomes, {**said, **outcome, "error": error, "time": now()})
    run = os.environ.get(RUN_ID, "")
    # The server first: a worker that sees the process end takes a run that has failed for
    # nothing else.
    told = threading.Thread(target=_tell, args=(run, words), daemon=True)
    told.start()
    told.join(SERVER_S)
    _kill(job)
    sys.stderr.write(f"TimeoutError: {words}: the job hung and was ended; start it again.\n")
    told.join(INSIST_S)


def _kill(job: int) -> None:
    """End a process and all that it started, other than this one."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(job)
        for one in [process, *process.children(recursive=True)]:
            if one.pid != os.getpid():
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()


def _tell(run: str, words: str) -> None:
    """Give the flow run its last state and a page that says what to do; ask until it is taken."""
    if not run:
        return
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import ArtifactCreate
    from prefect.states import Failed

    message = f"TimeoutError: {words}. {WHAT_TO_DO}"
    page = f"## This run failed\n\n{message}\n"
    shown = ArtifactCreate(
        type="markdown", description="This run failed", data=page, flow_run_id=UUID(run)
    )
    deadline = time.monotonic() + SERVER_S + INSIST_S
    while time.monotonic() < deadline:
        with contextlib.suppress(Exception), get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(run), Failed(message=message), force=True)
            client.create_artifact(shown)
            return
        time.sleep(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), *map(Path, sys.argv[2:]))
