"""Batches whose coordinator ended before they did: another one is started in its place.

A coordinator that was killed starts nothing any more, and its shards end without anybody to start
them again. The janitor finds the batch by the last run that coordinated it and asks for another
run, as often as the batch's limits allow without anything having been made. Each run has one
successor at most, whoever looks and however often. What a person ended stays ended, and a batch
that is refused when it is taken up again, as where the disk is full, is stopped with the reason.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from core.progress import counted
from flows.batches.ledger import GOING_ON, Batch
from flows.batches.locks import being_coordinated
from flows.batches.nights import DATE, night_of, of_night
from flows.batches.shard_runs import cancel_batch
from flows.requests.batch_requests import BATCHES, BatchRequest
from flows.requests.flow_requests import MODELS
from flows.requests.forms import flat
from flows.requests.refusals import REFUSAL
from flows.settings.settings import read_settings

logger = logging.getLogger(__name__)

LOOK_BACK = timedelta(days=2)  # to when a run ended, however long it took
AGAIN, MADE = "again:", "made:"  # tags of a successor: how often in a row, and what was made then


@dataclass(frozen=True)
class Lost:
    """A batch that nobody coordinates any more.

    Attributes:
        flow: Name of the flow that coordinates such batches.
        run: The last of its runs.
        batch: The batch, which need not have been planned.
        project: Where it is filed.
        request: What was asked, of which night.
    """

    flow: str
    run: FlowRun
    batch: Batch
    project: str
    request: BatchRequest


def lost_batches(client: SyncPrefectClient, now: float) -> dict[str, Lost]:
    """The batches to see to, by the last run of each and its state.

    Args:
        client: A client of the server.
        now: The time by the server's clock.
    """
    found = {}
    for flow in (asked.flow for asked in BATCHES.values()):
        latest: dict[Batch, Lost] = {}
        for run in _runs(client, flow, datetime.fromtimestamp(now, UTC) - LOOK_BACK):
            if (lost := _read(flow, run)) and _last_of(latest.get(lost.batch), run):
                latest[lost.batch] = lost
        found |= {f"{x.run.id}/{x.run.state_id}": x for x in latest.values() if _is_lost(x)}
    return found


def succeed(lost: Lost, now: float) -> str:
    """See to such a batch; what was done, in words.

    Args:
        lost: From ``lost_batches``.
        now: The time by the server's clock.
    """
    batch, limits = lost.batch, lost.request.limits
    name = batch.root.name
    if lost.run.state_type == StateType.CANCELLED:
        cancel_batch(batch, "its run was cancelled")
        return f"batch {name}: its run was cancelled, and so it is"
    if (state := lost.run.state) and state.name == REFUSAL:
        reason = f"its run was refused: {state.message}"
        batch.change(only_from=GOING_ON, state="stopped", reason=reason)
        return f"batch {name}: {reason}"
    outcomes = batch.outcomes().values() if batch.exists() else ()
    made = sum(outcome["state"] == "made" for outcome in outcomes)
    tags = lost.run.tags
    again = _number(tags, AGAIN) if _number(tags, MADE) == made else 0
    if again >= limits.tries:
        reason = f"its coordinator ended {counted(again + 1, 'time')} and nothing was made"
        if batch.exists():
            batch.change(only_from=GOING_ON, state="stopped", reason=reason)
        return f"batch {name}: {reason}"
    run_deployment(
        f"{lost.flow}/{lost.flow}",
        parameters={"request": lost.request.model_dump(mode="json"), "project": lost.project},
        scheduled_time=datetime.fromtimestamp(now + limits.retry_delay_s, UTC),
        timeout=0,
        as_subflow=False,
        idempotency_key=f"again/{lost.run.id}/{lost.run.run_count}",
        flow_run_name=name,
        tags=[f"{AGAIN}{again + 1}", f"{MADE}{made}"],
    )
    return f"batch {name}: its coordinator had ended ({lost.run.name}), another one is started"


def _runs(client: SyncPrefectClient, flow: str, since: datetime) -> Iterator[FlowRun]:
    """The runs of a flow that have not ended, or since then; not what a schedule has in store."""
    ended = FlowRunFilterEndTime(after_=since)  # pyright: ignore[reportArgumentType]
    for when in (FlowRunFilterEndTime(is_null_=True), ended):
        count = 0
        while page := client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
            flow_run_filter=FlowRunFilter(end_time=when),
            offset=count,
            limit=200,
        ):
            count += len(page)
            for run in page:
                if not (run.auto_scheduled and run.state_type == StateType.SCHEDULED):
                    yield run


def _read(flow: str, run: FlowRun) -> Lost | None:
    """What a run coordinates; None if nothing, or if that cannot be known any more."""
    asked, project = run.parameters.get("request", {}), run.parameters.get("project", "default")
    try:
        request: BatchRequest = MODELS[flow].model_validate(flat(asked))  # pyright: ignore[reportAssignmentType]
        if DATE in request.model_dump_json():
            request = of_night(request, night_of(run))
        batch = Batch.named(read_settings(), project, request.name)
        lost = Lost(flow, run, batch, project, request)
        return None if _refused_beside(lost) else lost
    except (ValueError, ObjectNotFound):
        return None


def _refused_beside(lost: Lost) -> bool:
    """Whether a run was refused that asked for something else under the name of a batch."""
    state, batch = lost.run.state, lost.batch
    if state is None or state.name != REFUSAL or not batch.exists():
        return False
    return batch.read()["request"] != lost.request.model_dump(mode="json")


def _last_of(known: Lost | None, run: FlowRun) -> bool:
    """Whether a run says more about its batch than the one that is known."""
    return known is None or _rank(run) > _rank(known.run)


def _rank(run: FlowRun) -> tuple[bool, datetime]:
    if run.state is None:
        return True, datetime.now(UTC)
    return not run.state.is_final(), run.state.timestamp


def _is_lost(lost: Lost) -> bool:
    """Whether a batch goes on whose last run ended; not if nobody can tell."""
    try:
        return _ended_early(lost) and not being_coordinated(lost.batch)
    except Exception as error:  # such as a folder that another release wrote; others go on
        logger.warning("%s: %s: %s", lost.batch.root, type(error).__name__, error)
        return False


def _ended_early(lost: Lost) -> bool:
    """Whether the last run of a batch ended before it, by accident or because of a person."""
    state, batch = lost.run.state, lost.batch
    if state is None or state.type not in (
        StateType.CRASHED, StateType.FAILED, StateType.CANCELLED,
    ):  # fmt: skip
        return False
    if not batch.exists():  # it was killed before it had planned
        return state.type == StateType.CRASHED
    canceled = state.type == StateType.CANCELLED
    return batch.state() in (*GOING_ON, *["paused"] * canceled)


def _number(tags: list[str], kind: str) -> int:
    """The number behind a tag's kind; -1 if there is no such tag."""
    return next((int(tag.removeprefix(kind)) for tag in tags if tag.startswith(kind)), -1)
