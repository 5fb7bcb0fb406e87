"""The flow ``fill_missed_nights``: starts the nightly batches that were not made when due.

A server that was down, or a schedule that was paused, leaves nights without a batch. A night is
known by the ``{date}`` in the batch's name; however often this flow runs, a night is started once.
"""

from datetime import date
from typing import Any

from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment

from core.refusal import Refusal
from flows.batches.ledger import Batch
from flows.batches.nights import DATE, due, of_night
from flows.pages.artifacts import show_table
from flows.pages.failures import explained_flow
from flows.pages.run_log import join_run_log
from flows.requests.batch_requests import BatchRequest
from flows.requests.flow_requests import MODELS, NightsRequest
from flows.requests.forms import flat
from flows.requests.parameters import Asked
from flows.settings.settings import read_settings
from flows.stack.server_clock import server_now

Row = dict[str, Any]


@explained_flow(lambda asked: f"Missed nights of {asked.flow}")
def fill_missed_nights(request: Asked[NightsRequest]) -> list[Row]:
    """List the nights of a schedule that have no batch, and start them if asked to.

    Args:
        request: Which schedule, how far back, and what to do.
    """
    join_run_log()
    rows = [row for schedule in _schedules(request.flow) for row in _nights(request, schedule)]
    if not rows:
        raise Refusal(
            f"{request.flow} has no nightly schedule that was due in {request.nights} days: "
            "missed nights follow from a schedule by cron; add one to its deployment, or look "
            "back further."
        )
    missed = sum(row["state"] == "missed" or "run" in row for row in rows)
    show_table(f"{missed} of {len(rows)} nights were missed", rows)
    return rows


def _schedules(flow_name: str) -> list[dict[str, Any]]:
    """The schedules by cron of a flow's deployment, paused ones too, with full parameters."""
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"{flow_name}/{flow_name}")
    return [
        {
            "cron": cron,
            "zone": getattr(table.schedule, "timezone", None) or "UTC",
            "parameters": {**deployment.parameters, **table.parameters},
        }
        for table in deployment.schedules
        if (cron := getattr(table.schedule, "cron", ""))
    ]


def _nights(request: NightsRequest, schedule: dict[str, Any]) -> list[Row]:
    parameters = schedule["parameters"]
    asked: Any = MODELS[request.flow].model_validate(flat(parameters.get("request", {})))
    if DATE not in asked.name:
        raise Refusal(
            f"name={asked.name}: nights are told apart by {DATE} in the name of the schedule's "
            f"batch; set it to {asked.name}-{DATE}."
        )
    project = parameters.get("project", "default")
    dates = due(schedule["cron"], schedule["zone"], request.nights, server_now())
    return [_night(request, asked, project, night) for night in dates]


def _night(request: NightsRequest, asked: BatchRequest, project: str, night: date) -> Row:
    resolved = of_night(asked, night)
    batch = Batch.named(read_settings(), project, resolved.name)
    row: Row = {"night": night.isoformat(), "batch": resolved.name}
    if batch.exists():
        return row | {"state": batch.state()}
    if request.action == "list":
        return row | {"state": "missed"}
    run: Any = run_deployment(
        f"{request.flow}/{request.flow}",
        parameters={"request": resolved.model_dump(mode="json"), "project": project},
        scheduled_time=server_now(),
        timeout=0,
        as_subflow=False,
        idempotency_key=f"night/{request.flow}/{project}/{resolved.name}",
        flow_run_name=resolved.name,
        tags=["missed-night"],
    )
    state = run.state.name.lower() if run.state else "scheduled"
    return row | {"state": f"missed, its run is {state}", "run": str(run.id)}
