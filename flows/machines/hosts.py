"""What is alive on each host: the flow runs' processes, told in files that every host can read.

Each worker writes one small file under the outputs root every few seconds: which runs have a
process on its host. That is evidence no server outage can blur; the janitor (``tidy_runs``)
and the sweeper judge by it.
"""

import json
import os
import socket
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

BEAT_S = 3.0
FRESH_S = 20.0
KILLED_WITHIN_S = 10.0
MARK = "LAMINA_WORKER"  # in a job's environment: which worker started it
RUN_ID = "PREFECT__FLOW_RUN_ID"
SERVER = "PREFECT_API_URL"
ENGINE = "prefect.engine"


@dataclass(frozen=True)
class Job:
    """The processes of one flow run on this host.

    Attributes:
        run: The flow run.
        worker: The mark of the worker that started it, see ``mark``.
        processes: The engine and all that it started, as far as they share its environment.
        has_engine: Whether the engine itself is among them.
    """

    run: str
    worker: str
    processes: tuple[psutil.Process, ...]
    has_engine: bool

    @property
    def orphaned(self) -> bool:
        """Whether the worker that started it is gone."""
        pid, _, created = self.worker.partition(":")
        try:
            return mark(psutil.Process(int(pid))) != f"{pid}:{created}"
        except (psutil.NoSuchProcess, ValueError):
            return True

    def kill(self) -> None:
        """End all processes at once; what they held is free when this returns."""
        for process in self.processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        deadline = time.monotonic() + KILLED_WITHIN_S
        while any(map(_lives, self.processes)) and time.monotonic() < deadline:
            time.sleep(0.05)  # waiting for them would take their exit codes from their parent


@dataclass(frozen=True)
class Beat:
    """What one worker last said, and how long ago by the clock of the shared folder.

    Attributes:
        host: Where it works.
        worker: Its name.
        runs: Those that have an engine on that host.
        age_s: How long ago it said so, in seconds.
        lanes: How many runs of each queue it takes at a time.
        offer: What its host has for one run, as ``flows.machines.resources.Resources``; empty if
        untold.
    """

    host: str
    worker: str
    runs: frozenset[str]
    age_s: float
    lanes: Mapping[str, int] = field(default_factory=dict)
    offer: Mapping[str, float] = field(default_factory=dict)

    @property
    def fresh(self) -> bool:
        """Whether the host is up and can be believed."""
        return self.age_s < FRESH_S


def mark(process: psutil.Process | None = None) -> str:
    """A process as no later one can be mistaken for it: its number and when it began."""
    process = process or psutil.Process()
    return f"{process.pid}:{process.create_time():.2f}"


def jobs(server: str) -> list[Job]:
    """The flow runs of one server that have processes on this host, apart by worker.

    Args:
        server: The address of its API; runs of other servers are not looked at.
    """
    found: dict[tuple[str, str], list[psutil.Process]] = {}
    for process in psutil.process_iter():
        environment = _environment(process)
        run, worker = environment.get(RUN_ID), environment.get(MARK)
        if run and worker and environment.get(SERVER) == server:
            found.setdefault((run, worker), []).append(process)
    return [
        Job(run, worker, tuple(processes), any(map(_is_engine, processes)))
        for (run, worker), processes in found.items()
    ]


def _is_engine(process: psutil.Process) -> bool:
    try:
        return _lives(process) and ENGINE in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _environment(process: psutil.Process) -> Mapping[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def beat(
    folder: Path,
    worker: str,
    runs: Set[str],
    lanes: Mapping[str, int],
    offer: Mapping[str, float] | None = None,
) -> None:
    """Write this worker's file anew.

    Args:
        folder: Where all hosts' files stand.
        worker: Its name.
        runs: Runs that have an engine on this host.
        lanes: How many runs of each queue it takes at a time.
        offer: What its host has for one run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    said = {
        "host": socket.gethostname(),
        "worker": worker,
        "runs": sorted(runs),
        "lanes": dict(lanes),
        "offer": dict(offer or {}),
    }
    # core.records.atomic_path does the same, and imports torch.
    temporary = folder / f".part-{worker}-{os.getpid()}"
    temporary.write_text(json.dumps(said | {"time": time.time()}), encoding="utf-8")
    temporary.replace(folder / f"{worker}.json")


def beats(folder: Path) -> dict[str, Beat]:
    """What each worker last said.

    Ages are differences of two times of the same folder, so hosts need not agree on the time.
    """
    if not folder.is_dir():
        return {}
    now = _now(folder)
    found = {}
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            said, age = json.loads(path.read_text("utf-8")), now - path.stat().st_mtime
        except (OSError, json.JSONDecodeError):
            continue
        found[said["worker"]] = beat_of(said, age)
    return found


def beat_of(said: Mapping[str, Any], age_s: float) -> Beat:
    """What a worker's file says, so many seconds later."""
    runs, lanes, offer = frozenset(said["runs"]), said.get("lanes", {}), said.get("offer", {})
    return Beat(said["host"], said["worker"], runs, age_s, lanes, offer)


def _now(folder: Path) -> float:
    """The time by the clock that stamps the folder's files."""
    probe = folder / f".now-{socket.gethostname()}-{os.getpid()}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
