"""A worker of one place, a child process: ``python -m flows.machines.worker PLACE [PLACE ...]``.

A place is a ``flows.machines.pools.Place`` as JSON. When more than the first are given, the
server's pools are first made to hold those and its deployments brought up to date. Flow runs are
its children in its process group and end with it.
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import UUID

from anyio.abc import TaskStatus
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.workers.process import (
    ProcessJobConfiguration,
    ProcessWorker,
    ProcessWorkerResult,
)

from core.numerics import portably
from core.refusal import Refusal
from flows.machines.hosts import MARK, mark
from flows.machines.hosts_elsewhere import tell
from flows.machines.lifeline import end_with_parent
from flows.machines.pools import BATCH, Place
from flows.machines.sweeper import Sweeper
from flows.requests.roots import roots
from flows.settings.settings import read_settings
from flows.stack.deployments import prepare_pool, register
from flows.stack.server_clock import lead_s

CLOCK_S = 60.0  # how often the server is asked for the time
PORTABLE_FLOWS = ("augment_mri_dataset",)  # the same bytes on every server, unless said otherwise
UNNAMED = "default"  # the queue of runs for which nobody named one; served as a batch


class JobHere(ProcessJobConfiguration):
    """A run by this very interpreter, in the worker's folder, unless the deployment says else.

    That is one Python start per run instead of two, relative paths in a request mean what a
    person expects, and hosts may have their interpreters in different places.
    """

    def prepare_for_flow_run(self, *arguments: Any, **options: Any) -> None:
        """Fill in command and folder, then let Prefect fill in the rest.

        Raises:
            Refusal: A run brings a command, a folder or variables of its own where requests
                are held to the operator's folders, which these would lead around.
        """
        brought = {"command": self.command, "working_dir": self.working_dir, "env": self.env}
        if any(brought.values()) and roots(read_settings()) is not None:
            names = " and ".join(name for name, value in brought.items() if value)
            raise Refusal(
                f"{names}: a run of this worker brings none of its own, as LAMINA_INPUTS says "
                "what it may read; leave the job variables empty."
            )
        own = "flows.settings.own_prefect"
        self.command = self.command or f"{sys.executable} -m {own} prefect.engine"
        self.working_dir = self.working_dir or Path.cwd()
        flow = getattr(options.get("flow"), "name", "")
        self.env = {MARK: mark(), **(portably() if flow in PORTABLE_FLOWS else {}), **self.env}
        super().prepare_for_flow_run(*arguments, **options)


class PlaceWorker(ProcessWorker):
    """A process worker that takes only so many runs of each queue at a time.

    Prefect's own limit of a worker counts all queues alike, and ends the worker when a suspended
    run is resumed at once.
    """

    job_configuration = JobHere

    @classmethod
    def __dispatch_key__(cls) -> str:
        """A name of its own: it stands beside Prefect's process worker, it does not replace it."""
        return "lamina-process"

    def __init__(self, place: Place) -> None:
        """Serve one place."""
        super().__init__(work_pool_name=place.pool, name=place.name)
        self.place = place
        self._under_way: dict[UUID, str] = {}
        self._running: set[UUID] = set()
        self._ahead_s, self._clock_until = self._prefetch_seconds, 0.0

    def busy(self) -> set[str]:
        """The runs that this worker looks after at the moment."""
        return {str(run) for run in self._under_way}

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        await self._keep_time()
        taken: list[WorkerFlowRunResponse] = []
        for lane, places in self.place.lanes.items():
            free = places - Counter(self._under_way.values())[lane]
            new = await self._waiting(lane) if free > 0 else []
            self._under_way |= {entry.flow_run.id: lane for entry in new[:free]}
            taken += new[:free]
        return taken

    async def _keep_time(self) -> None:
        """Have Prefect ask for what is due by the server's clock; this host's may be off."""
        if time.monotonic() > self._clock_until:
            self._prefetch_seconds = self._ahead_s + await lead_s(self.client)
            self._clock_until = time.monotonic() + CLOCK_S

    async def _waiting(self, lane: str) -> list[WorkerFlowRunResponse]:
        self._work_queues = {lane, UNNAMED} if lane == BATCH else {lane}
        found = await super()._get_scheduled_flow_runs()
        # A suspended run that is resumed at once may still be ending here.
        ours = self._under_way.keys() | self._submitting_flow_run_ids
        return [entry for entry in found if entry.flow_run.id not in ours]

    async def _submit_run(self, flow_run: FlowRun) -> None:
        try:
            await super()._submit_run(flow_run)
        finally:
            if flow_run.id not in self._running:
                self._under_way.pop(flow_run.id, None)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run it to its end, in a process of its own."""
        self._running.add(flow_run.id)
        try:
            return await super().run(flow_run, configuration, task_status)
        finally:
            self._running.discard(flow_run.id)
            self._under_way.pop(flow_run.id, None)


async def work(place: Place, to_prepare: Sequence[Place]) -> None:
    """Prepare the server if that is asked, and poll it for runs until cancelled."""
    async with get_client() as client:
        await _wait_for(client)
        if to_prepare:
            await _prepare(client, to_prepare)
        while not await _exists(client, place.pool):
            await asyncio.sleep(0.2)
    settings, worker = read_settings(), PlaceWorker(place)
    folders = (settings.hosts, settings.locks)
    Sweeper(place, str(PREFECT_API_URL.value()), folders, worker.busy).start()
    tell(settings, place.name)
    await worker.start(printer=_say)


async def _prepare(client: PrefectClient, places: Sequence[Place]) -> None:
    for _, together in groupby(places, key=lambda place: place.pool):
        await prepare_pool(client, list(together))
    await register(client)


async def _exists(client: PrefectClient, pool: str) -> bool:
    try:
        await client.read_work_pool(pool)
    except ObjectNotFound:
        return False
    return True


async def _wait_for(client: PrefectClient) -> None:
    while await client.api_healthcheck() is not None:
        await asyncio.sleep(0.1)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _until_signaled(place: Place, to_prepare: Sequence[Place]) -> None:
    task = asyncio.ensure_future(work(place, to_prepare))
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main(place: str, *to_prepare: str) -> None:
    """Serve the place until told to stop; both arguments as they stand on the command line."""
    end_with_parent()
    asyncio.run(_until_signaled(Place.read(place), [Place.read(text) for text in to_prepare]))


if __name__ == "__main__":
    main(*sys.argv[1:])
