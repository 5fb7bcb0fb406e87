"""By when a batch shall be ready: ``07:00`` of the next morning, on whichever night it goes on."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.refusal import Refusal
from flows.batches.ledger import GOING_ON, Batch

ENDS, UNTIL = "ends", "until"  # in batch.json
TAKEN_UP = timedelta(hours=1)  # a batch that lost its coordinator is taken up again in less


def next_end(until: str, now: datetime) -> datetime:
    """The next time that such a clock shows.

    Args:
        until: ``07:00``, by this host's clock, or ``07:00 Europe/Berlin``.
        now: With its zone.

    Raises:
        Refusal: There is no such zone.
    """
    clock, _, zone = until.partition(" ")
    try:
        here = now.astimezone(ZoneInfo(zone) if zone else None)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Refusal(
            f"until={until}: there is no time zone {zone} here: one is named as in Europe/Berlin; "
            "correct it, or leave it out for this host's own."
        ) from error
    hour, minute = map(int, clock.split(":"))
    for days in range(3):
        day = (here + timedelta(days=days)).date()
        found = datetime(day.year, day.month, day.day, hour, minute)
        # without a zone, the host's own offset is that of the day found, not of today
        found = found.replace(tzinfo=here.tzinfo) if zone else found.astimezone()
        if found > now:
            return found.astimezone(UTC)
    raise AssertionError(until)


def end_of(batch: Batch, until: str) -> dict[str, Any]:
    """By when a batch shall be ready, as ``batch.json`` shall hold it.

    One that is taken up as it was left keeps its night, unless that was over long ago or another
    time is asked for; one that had ended has a new one.

    Args:
        batch: Before it is started.
        until: What was asked; empty for any time.
    """
    before = batch.read() if batch.exists() else {}
    if not until:
        return {ENDS: "", UNTIL: ""} if before.get(ENDS) else {}
    ends, now = str(before.get(ENDS, "")), datetime.now(UTC)
    left = bool(ends) and before["state"] in GOING_ON and before.get(UNTIL, until) == until
    if left and now - datetime.fromisoformat(ends) <= TAKEN_UP:
        return {ENDS: ends, UNTIL: until}
    return {ENDS: next_end(until, now).isoformat(), UNTIL: until}


def no_more(batch: Batch) -> bool:
    """Whether an item that is begun now would not be ready in time, as items went so far."""
    said = batch.read()
    seconds = said.get("seconds_per_item", 0.0) * said.get("least_share", 1.0)
    return _is_late(said.get(ENDS, ""), seconds)


def passed(batch: Batch) -> str:
    """That the time is over, in words; empty while it is not."""
    return "the deadline has passed" if _is_late(batch.read().get(ENDS, "")) else ""


def _is_late(ends: str, seconds: float = 0.0) -> bool:
    then = datetime.now(UTC) + timedelta(seconds=seconds)
    return bool(ends) and then > datetime.fromisoformat(ends)
