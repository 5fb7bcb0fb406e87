"""Runs that ended with their worker and are run again by themselves.

Who asked over ``/v1/videos`` cannot press Retry, and a job at another server goes on meanwhile and
is to be fetched. A run that ended alone, as where memory ran short, would end so again: it is
left to a person. So is one that was begun too often.
"""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import inf

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import AwaitingRetry

logger = logging.getLogger(__name__)

MOST_BEGUN = 3
LOOK_BACK = timedelta(days=2)
MOST_S = LOOK_BACK.total_seconds()
LEAVING = timedelta(seconds=60)  # a worker that is told to end is heard of until its jobs are gone
SIGNALED = ("termination signal", "status code -15", "status code: -15", "code: 143")
"""What Prefect says of a run that was told to end, and was not cancelled: its worker ended."""
AGAIN = "The worker of this run ended; it is run again by itself, and what is done is kept."


def is_due(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Whether a run whose worker ended is run again: a single job, not begun too often.

    Shards and batches are begun again by others, trainings by a person.

    Args:
        client: A client of the server.
        run: As the server knows it.
    """
    from flows.jobs.operations import OPERATIONS

    begun_seldom = run.deployment_id is not None and run.run_count < MOST_BEGUN
    return begun_seldom and client.read_flow(run.flow_id).name in OPERATIONS


def again_state() -> State:
    """The state of such a run."""
    return AwaitingRetry(message=AGAIN)


def take_up(
    client: SyncPrefectClient, worker: str, label: str, now: float, silent_s: float = inf
) -> None:
    """Run again what was told to end together with a worker of that name, before it came back.

    What was told to end while the worker lived on was ended by a person, and stays so.

    Args:
        client: A client of the server.
        worker: The name.
        label: By which a run names its worker.
        now: The time by the server's clock.
        silent_s: How long ago the worker was last heard of before it came back.
    """
    back = min(LOOK_BACK, timedelta(seconds=min(silent_s, MOST_S)) + LEAVING)
    for run in _crashed(client, datetime.fromtimestamp(now, UTC) - back):
        said = (run.state and run.state.message) or ""
        signaled = any(words in said for words in SIGNALED)
        if run.labels.get(label) == worker and signaled and is_due(client, run):
            logger.warning("run %s had ended with its worker: it is run again", run.id)
            client.set_flow_run_state(run.id, again_state(), force=True)


def _crashed(client: SyncPrefectClient, since: datetime) -> Iterator[FlowRun]:
    from flows.jobs.operations import OPERATIONS

    wanted = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])),
        end_time=FlowRunFilterEndTime(after_=since),  # pyright: ignore[reportArgumentType]
    )
    flows = FlowFilter(name=FlowFilterName(any_=list(OPERATIONS)))
    yield from client.read_flow_runs(flow_filter=flows, flow_run_filter=wanted, limit=200)
