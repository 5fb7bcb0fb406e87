"""Nights of a schedule: ``{date}`` in a batch's name and places, and which nights have no batch.

A night is the date on which its run was due, in the schedule's own time zone; a run that starts
late or again is still of the night it was due.
"""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flows.requests.batch_requests import BatchRequest

DATE = "{date}"
DATED = ("name", "prompt_file", "scans")  # fields that may hold it


def of_night(request: BatchRequest, night: date) -> BatchRequest:
    """The request with the night's date, such as 2026-11-23, wherever ``{date}`` stands."""
    fields = request.model_dump()
    dated = {
        name: fields[name].replace(DATE, night.isoformat()) for name in DATED if name in fields
    }
    return type(request).model_validate(fields | dated)


def due(cron: str, zone: str, nights: int, now: datetime) -> list[date]:
    """The dates of the last nights on which a schedule was due, the oldest first.

    Args:
        cron: The schedule, as cron writes it.
        zone: Its time zone, such as ``Europe/Berlin``.
        nights: How many days to look back.
        now: Nothing later counts.
    """
    from prefect.server.schemas.schedules import CronSchedule

    schedule = CronSchedule(cron=cron, timezone=zone)
    found = asyncio.run(schedule.get_dates(start=now - timedelta(days=nights), end=now))
    return sorted({when.astimezone(ZoneInfo(zone)).date() for when in found if when <= now})


def night_of(run: Any) -> date:
    """The night of a flow run: when it was due, where its deployment's schedule lives."""
    when = run.expected_start_time or datetime.now(UTC)
    return when.astimezone(ZoneInfo(_zone(run))).date()


def _zone(run: Any) -> str:
    """The time zone of the schedule that a run is due by; of the first one if none is."""
    from prefect.client.orchestration import get_client

    if run.deployment_id is None:
        return "UTC"
    with get_client(sync_client=True) as client:
        schedules = client.read_deployment(run.deployment_id).schedules
    key = getattr(run, "idempotency_key", None) or ""  # names the schedule
    ours = [table for table in schedules if str(getattr(table, "id", None)) in key] or schedules
    zones = [getattr(table.schedule, "timezone", None) for table in ours]
    return next(filter(None, zones), "UTC")


def dated_name(request: BatchRequest) -> str:
    """The name of a batch, of the night that its run is of."""
    from prefect.context import get_run_context

    if DATE not in request.name:
        return request.name
    run: Any = get_run_context()
    return of_night(request, night_of(run.flow_run)).name
