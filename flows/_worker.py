"""The embedded stack's worker as a child process: ``python -m flows._worker FOLDER``.

It registers the deployments, closes the books on runs that an earlier stack left behind, and
then polls. Flow runs are its children in its process group, so they end with it.
"""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed
from prefect.workers.process import ProcessWorker

from flows._deployments import prepare_pool, register
from flows._lifeline import end_with_parent
from flows._stack import POOL

UNFINISHED = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
LEFT_BEHIND = "The stack stopped while this run was under way; press Retry to run it again."


async def work(folder: Path) -> None:
    """Prepare the server and poll it for runs until cancelled."""
    async with get_client() as client:
        await _wait_for(client)
        await prepare_pool(client, folder)
        await _close_left_behind(client)
        await register(client)
    worker = ProcessWorker(work_pool_name=POOL, name=f"lamina-{os.getpid()}")
    await worker.start(printer=_say)


async def _wait_for(client: PrefectClient) -> None:
    while await client.api_healthcheck() is not None:
        await asyncio.sleep(0.1)


async def _close_left_behind(client: PrefectClient) -> None:
    unfinished = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED))
    )
    for run in await client.read_flow_runs(flow_run_filter=unfinished):
        await client.set_flow_run_state(run.id, Crashed(message=LEFT_BEHIND), force=True)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _until_signaled(folder: Path) -> None:
    task = asyncio.ensure_future(work(folder))
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    end_with_parent()
    asyncio.run(_until_signaled(Path(sys.argv[1])))
