"""The flow ``tidy_runs``, the janitor: every few minutes it closes runs that died unnoticed.

It never touches a run that is paused, suspended or scheduled, and ends nothing on one look: a run
must be dead at two, some time apart. A shard is started again by its batch, a batch whose own run
died by this flow (``flows.batches.successors``), a single job is put back to be run again
(``flows.machines.again``), everything else is left to a person.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.events.filters import (
    EventAnyResourceFilter,
    EventFilter,
    EventNameFilter,
    EventOccurredFilter,
)

from flows.batches.successors import lost_batches, succeed
from flows.jobs.stages import run_id
from flows.machines.hosts_elsewhere import all_beats, forget
from flows.machines.janitor import Sighting, verdict
from flows.machines.pools import POOLS
from flows.machines.sweeper import WORKER, close, state_age_s, under_way
from flows.pages.failures import explained_flow
from flows.requests.flow_requests import TidyRequest
from flows.requests.parameters import Asked
from flows.settings.settings import read_settings
from flows.stack.deployments import count_places
from flows.stack.server_clock import server_time

HEARTBEAT = "prefect.flow-run.heartbeat"
ADVICE = "Press Retry to run it again; a batch does so by itself."


@explained_flow(lambda _: "Tidy runs")
def tidy_runs(request: Asked[TidyRequest]) -> list[str]:
    """Close runs whose process died unnoticed, and go on with batches whose own run died.

    The places of each pool are counted anew, too. Where hosts tell each other in a store that is
    away, nothing is judged.

    Args:
        request: How patient to be.
    """
    logger = get_run_logger()
    with get_client(sync_client=True) as client:
        dead, lost = _look(client, request), lost_batches(client, server_time(client))
        if dead or lost:
            time.sleep(request.second_look_s)
            again, still = _look(client, request), lost_batches(client, server_time(client))
            dead = {key: again[key] for key in dead.keys() & again.keys()}
            lost = {key: still[key] for key in lost.keys() & still.keys()}
        for (run, _), (found, reason) in dead.items():
            logger.warning(f"run {run} is dead: {reason}")
            close(client, found, f"{reason} {ADVICE}")
        for batch in lost.values():
            try:
                logger.warning(succeed(batch, server_time(client)))
            except Exception as error:  # the others are seen to all the same
                logger.warning(f"{batch.batch.root}: {type(error).__name__}: {error}")
        said = all_beats(read_settings().hosts, whole=True).values()
        for pool in POOLS:
            up = count_places(client, pool, said)
            logger.info(f"pool {pool}: {up} workers up")
    for out in _unanswered(
        lambda out, fault: logger.warning(f"{out}: {type(fault).__name__}: {fault}")
    ):
        logger.warning(f"{out}: nobody answered in time: the dataset is rejected")
    forget(read_settings().hosts, timedelta(days=1))
    return sorted(run for run, _ in dead)


def _unanswered(on_fault: Callable[[Path, Exception], None]) -> list[Path]:
    """Datasets that are rejected now because nobody answered in time."""
    from medical.datasets.approval import waiting

    outputs = read_settings().outputs
    if next(waiting(outputs), None) is None:
        return []
    from medical.datasets.decisions import expire_questions

    return expire_questions(outputs, on_fault)


def _look(
    client: SyncPrefectClient, request: TidyRequest
) -> dict[tuple[str, str], tuple[FlowRun, str]]:
    """The dead among the runs that hold a place: by run and state, with the reason."""
    said, found, now = all_beats(read_settings().hosts, whole=True), {}, server_time(client)
    for run in under_way(client):
        if run.work_pool_name not in POOLS or str(run.id) == run_id():
            continue
        seen = _sighting(client, run, now)
        if reason := verdict(seen, said, request.lost_s):
            found[seen.run, seen.state] = run, reason
    return found


def _sighting(client: SyncPrefectClient, run: FlowRun, now: float) -> Sighting:
    return Sighting(
        run=str(run.id),
        state=str(run.state_id),
        age_s=state_age_s(run, now),
        worker=str(run.labels.get(WORKER, "")),
        silence_s=_silence_s(client, run, now),
    )


def _silence_s(client: SyncPrefectClient, run: FlowRun, now: float) -> float | None:
    """How long ago the server last received a heartbeat of the run's process; None if never."""
    since = datetime.fromtimestamp(now, UTC) - timedelta(days=1)
    until = since + timedelta(days=2)  # by the clock of a host that may be ahead
    wanted = EventFilter(
        event=EventNameFilter(name=[HEARTBEAT]),
        any_resource=EventAnyResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
        occurred=EventOccurredFilter(since=since, until=until),  # pyright: ignore[reportArgumentType]
    )
    body = {"filter": wanted.model_dump(mode="json", exclude_unset=True), "limit": 1}
    answer = client.request("POST", "/events/filter", json=body)
    answer.raise_for_status()
    events = answer.json()["events"]
    if not events:
        return None
    return now - datetime.fromisoformat(events[0]["received"]).timestamp()
