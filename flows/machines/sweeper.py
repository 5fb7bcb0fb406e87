"""A host's sweeper: it frees what orphans hold, and closes the books on runs that died here.

Every worker runs one in a thread. Prefect's worker does both for its own runs as long as it
lives; the sweeper does it for runs whose worker was killed, and for processes that outlived
their run, so a GPU is free again within seconds.
"""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

from filelock import FileLock, Timeout
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled, Crashed

from flows.machines.again import again_state, is_due, take_up
from flows.machines.hosts import BEAT_S, Job, beat, beats, jobs
from flows.machines.hosts_elsewhere import all_beats
from flows.machines.pools import Place, gpu_memory_gb
from flows.machines.resources import this_host
from flows.stack.deployments import count_places
from flows.stack.server_clock import server_time

logger = logging.getLogger(__name__)

UNDER_WAY = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)
WORKER = "prefect.worker.name"  # the label by which a run names its worker
EXIT_S = 30.0  # how long a process may take to leave after its run has ended
CANCEL_S = 5.0  # how long it may take to leave when its run is canceled
TRAINING = "training"  # the tag of runs that write a checkpoint then, and are given longer
PENDING_S = 20.0  # how long a worker may take from taking a run to starting its process
WORKER_DIED = "The worker of this run died, and the run was ended; press Retry to run it again."
ENGINE_DIED = "The process of this run died together with its worker; press Retry."


class Sweeper:
    """Looks around on this host every few seconds, from a thread of a worker."""

    def __init__(
        self, place: Place, server: str, folders: tuple[Path, Path], busy: Callable[[], set[str]]
    ) -> None:
        """Nothing happens before ``start``.

        Args:
            place: The place of the worker it belongs to.
            server: The address of the server's API.
            folders: Where the hosts' files stand, and where this host's locks do.
            busy: Runs that the worker itself looks after at the moment.
        """
        self.place, self.server, self.busy = place, server, busy
        self.hosts, self.locks = folders
        self._counted = self._taken_up = False
        self._memory: Sequence[float] | None = None
        self._heard = _last_heard(self.hosts, place.name)
        self._missing: dict[str, str] = {}  # run and its state, as the last look found them

    def start(self) -> None:
        """Begin, in a thread that ends with the process."""
        threading.Thread(target=self._forever, name="sweeper", daemon=True).start()

    def _forever(self) -> None:
        while True:
            try:
                self.look()
            except Exception as error:  # a server or a share that is away comes back
                logger.warning("sweeper: %s: %s", type(error).__name__, error)
            time.sleep(BEAT_S)

    def look(self) -> None:
        """Say what is alive, then tidy up; one worker of a host tidies at a time."""
        here = jobs(self.server)
        alive = {job.run for job in here if job.has_engine}
        runs = alive | self.busy()
        try:
            beat(self.hosts, self.place.name, runs, self.place.lanes, self._offer())
        except OSError as error:  # a disk that is full or away keeps no GPU from being freed
            logger.warning("others do not hear of this worker: %s", error)
        self.locks.mkdir(parents=True, exist_ok=True)
        try:
            with (
                FileLock(self.locks / "sweeper.lock", timeout=0),
                get_client(sync_client=True) as client,
            ):
                if not self._counted:
                    count_places(client, self.place.pool, all_beats(self.hosts).values())
                    self._counted = True
                now = server_time(client)
                self._free(client, here, now)
                self._close_books(client, here, now)
                if not self._taken_up:
                    silent_s = time.monotonic() - self._heard
                    take_up(client, self.place.name, WORKER, now, silent_s)
                    self._taken_up = True
        except Timeout:
            return

    def _offer(self) -> dict[str, float]:
        """What this place has for one run; time has no limit and is left out.

        Empty where it cannot be told: that a host is alive must be said all the same.
        """
        try:
            if self._memory is None:
                self._memory = ()  # asked once, whatever comes of it
                self._memory = gpu_memory_gb(self.place.visible) if self.place.visible else ()
            return this_host(self.hosts, gpus=self._memory).model_dump(exclude={"minutes"})
        except Exception as error:
            logger.warning("this host's offer is not known: %s", error)
            return {}

    def _free(self, client: SyncPrefectClient, here: list[Job], now: float) -> None:
        """Kill orphans, and processes that outlived their run."""
        if not here:
            return
        wanted = FlowRunFilterId(any_=[UUID(job.run) for job in here])
        runs = {str(run.id): run for run in _read(client, wanted)}
        for job in here:
            run = runs.get(job.run)
            if job.orphaned:
                logger.warning("run %s has lost its worker: it is ended", job.run)
                job.kill()
                if run is not None:
                    close(client, run, WORKER_DIED)
            elif run is None or _ended_long_ago(run, now):
                logger.warning("run %s is over but not its processes: they are ended", job.run)
                job.kill()
            elif job.has_engine and _canceled_long_ago(run, now):
                logger.warning("run %s is canceled and does not leave: it is ended", job.run)
                job.kill()

    def _close_books(self, client: SyncPrefectClient, here: list[Job], now: float) -> None:
        """Close runs that were this worker's and are nowhere, at two looks in a row."""
        present, missing = self.busy() | {job.run for job in here}, {}
        for run in _read(client, None):
            known = str(run.id)
            ours = run.labels.get(WORKER) == self.place.name
            if ours and known not in present and _settled(run, now):
                missing[known] = str(run.state_id)
                if self._missing.get(known) == str(run.state_id):
                    close(client, run, ENGINE_DIED)
        self._missing = missing


def _last_heard(hosts: Path, worker: str) -> float:
    """When a worker of that name was last heard of, by this process's own clock."""
    with contextlib.suppress(OSError):
        if (last := beats(hosts).get(worker)) is not None:
            return time.monotonic() - last.age_s
    return -math.inf


def close(client: SyncPrefectClient, run: FlowRun, message: str) -> None:
    """Give a dead run its last state: canceled if that was asked for, crashed if not.

    A single job is run again instead. A run that is paused, suspended or over stays as it is.
    """
    now = client.read_flow_run(run.id).state
    if now is None or now.type not in UNDER_WAY:
        return
    if now.type == StateType.CANCELLING:
        last = Cancelled(message=message)
    else:
        last = again_state() if is_due(client, run) else Crashed(message=message)
    client.set_flow_run_state(run.id, last, force=True)


def under_way(client: SyncPrefectClient) -> list[FlowRun]:
    """All runs that hold a place."""
    return _read(client, None)


def state_age_s(run: FlowRun, now: float) -> float:
    """How long the run has been in its present state, in seconds.

    Args:
        run: As the server knows it.
        now: The time by the server's clock.
    """
    return 0.0 if run.state is None else now - run.state.timestamp.timestamp()


def _read(client: SyncPrefectClient, wanted: FlowRunFilterId | None) -> list[FlowRun]:
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(UNDER_WAY)))
    chosen = FlowRunFilter(id=wanted) if wanted else FlowRunFilter(state=state)
    found: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=chosen, offset=len(found), limit=200):
        found += page
    return found


def _settled(run: FlowRun, now: float) -> bool:
    return run.state_type != StateType.PENDING or state_age_s(run, now) > PENDING_S


def _ended_long_ago(run: FlowRun, now: float) -> bool:
    return run.state is not None and run.state.is_final() and state_age_s(run, now) > EXIT_S


def _canceled_long_ago(run: FlowRun, now: float) -> bool:
    """Whether a run was asked to end and its process takes no notice; Prefect waits 30 s."""
    canceled = run.state_type == StateType.CANCELLING and TRAINING not in run.tags
    return canceled and state_age_s(run, now) > CANCEL_S
