"""Who runs the shards of a batch: the workers of a pool, or processes of this machine."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar
from uuid import UUID

from flows.batches.ledger import Batch, Sight
from flows.batches.needs import offers, shard_gpus
from flows.machines.pools import GPU, gpu_memory_gb, places
from flows.machines.resources import Resources, job_variables, this_host
from flows.requests.batch_requests import ShardRequest
from flows.settings.settings import Settings, read_settings

logger = logging.getLogger(__name__)

DEPLOYMENT = "make_shard/make_shard"
OUTAGE_S, ASK_AGAIN_S = 3600.0, 5.0
FAULT = 500
Answer = TypeVar("Answer")


class Here:
    """Shards as child processes, so that one that hangs or is killed takes nothing along."""

    look_every_s = 0.1

    def __init__(self) -> None:
        """Start nothing yet."""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def offers(self, settings: Settings) -> list[Resources]:
        """What this machine offers."""
        shown = [place.visible for place in places(GPU, settings) if place.visible]
        memory = [gb for visible in shown for gb in gpu_memory_gb(visible)]
        return [this_host(settings.outputs, gpus=memory)]

    def start(self, asked: ShardRequest, key: str) -> str:
        """Start a process."""
        words = [asked.project, asked.batch, str(asked.shard), str(asked.attempt)]
        command = [sys.executable, "-m", "flows.batches.shard", *words]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        run = f"{os.getpid()}-{process.pid}"
        self._processes[run] = process
        return run

    def look(self, run: str) -> Sight:
        """Ended also if another coordinator started it; the shard's own lock knows better."""
        process = self._processes.get(run)
        return "running" if process and process.poll() is None else "ended"

    def end(self, run: str) -> None:
        """Kill it: its manifest is on the disk already."""
        if process := self._processes.get(run):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Deployed:
    """Shards as runs of the deployment ``make_shard``; a server that is away is waited for."""

    look_every_s = 1.0

    def __init__(self, needs: Callable[[ShardRequest, int], Resources] | None = None) -> None:
        """Start nothing yet.

        Args:
            needs: What a shard with so many GPUs needs, for pools that give each run a share of
                its own.
        """
        self._needs = needs

    def offers(self, settings: Settings) -> list[Resources]:
        """What the workers of the pool tell."""
        return offers(settings)

    def start(self, asked: ShardRequest, key: str) -> str:
        """Create the run, or find the one that has this key."""
        from prefect.deployments import run_deployment

        from flows.stack.server_clock import server_now

        variables = self._variables(asked)

        def create() -> Any:
            return run_deployment(
                DEPLOYMENT,
                parameters={"request": asked.model_dump(mode="json")},
                scheduled_time=server_now(),
                timeout=0,
                as_subflow=False,
                idempotency_key=key,
                flow_run_name=f"{asked.batch}-{asked.shard:04d}-{asked.attempt}",
                tags=["shard", f"batch:{asked.project}/{asked.batch}"],
                job_variables=variables,
            )

        return str(_patiently(create).id)

    def look(self, run: str) -> Sight:
        """By the state that the server has of it."""
        state = _patiently(lambda: _read(run))
        if state is None or state.is_final():
            return "ended"
        return "running" if state.is_running() else "waiting"

    def _variables(self, asked: ShardRequest) -> dict[str, Any]:
        """What a container or a pod is given; processes share their host."""
        kind, template = self._pool
        if kind not in ("docker", "kubernetes") or self._needs is None:
            return {}
        gpus = shard_gpus(read_settings(), template)
        return job_variables(self._needs(asked, gpus), kind)

    @cached_property
    def _pool(self) -> tuple[str, dict[str, Any]]:
        return _patiently(_read_pool)

    def end(self, run: str) -> None:
        """Cancel it; one whose process is gone is cancelled by the server in the end."""
        _patiently(lambda: cancel(run))


def cancel(run: str) -> None:
    """Ask for a run to be cancelled, unless it has ended."""
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled, Cancelling

    state = _read(run)
    if state is None or state.is_final():
        return
    wanted = Cancelling() if state.is_running() or state.is_pending() else Cancelled()
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(run), wanted)


def cancel_batch(batch: Batch, reason: str, *, tell: bool = True) -> bool:
    """End a batch; what is made is kept. Whether there was something to end.

    Shards look for this between items; their runs are cancelled, too, where a server knows them.

    Args:
        batch: Which one.
        reason: Why.
        tell: Whether there is a server to ask.
    """
    if not batch.change(
        only_from=("planned", "running", "paused"), state="cancelled", reason=reason
    ):
        return False
    if tell:
        _cancel_runs(batch)
    return True


def _cancel_runs(batch: Batch) -> None:
    """Ask the server to cancel the batch's last shards."""
    last: dict[int, dict[str, Any]] = {}
    for line in batch.submissions():
        last[line["shard"]] = line
    for line in last.values():
        if not line.get("ended"):
            try:
                cancel(line["run"])
            except Exception as error:
                logger.warning("run %s: %s", line["run"], error)


def _read_pool() -> tuple[str, dict[str, Any]]:
    """Kind and base job template of the pool that computes."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        pool = client.read_work_pool(GPU)
    return pool.type, pool.base_job_template


def _read(run: str) -> Any:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    try:
        name = UUID(run)
    except ValueError:
        return None  # a process of some machine, from a batch that was begun there
    with get_client(sync_client=True) as client:
        try:
            return client.read_flow_run(name).state
        except ObjectNotFound:
            return None


def _patiently(ask: Callable[[], Answer]) -> Answer:
    """The answer of a server that may be away for a while."""
    import httpx

    deadline = time.monotonic() + OUTAGE_S
    while True:
        try:
            return ask()
        except httpx.HTTPStatusError as error:
            if error.response.status_code < FAULT or time.monotonic() > deadline:
                raise
        except (httpx.TransportError, RuntimeError) as error:
            if time.monotonic() > deadline:
                raise
            logger.warning("the server does not answer (%s); asking again", error)
        time.sleep(ASK_AGAIN_S)
