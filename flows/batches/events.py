"""Tells the outside of what a batch makes, as single runs do: one event for each output.

The manifest is the outbox. A thread beside the coordinator reads on in it and sends what was made
in groups, so that shards wait for nothing and need no server; how far it came stands beside the
manifest once the server has taken a group. What a server that was away did not hear is sent when
the batch is taken up again. An event's identity follows from its line, so that the server drops
one that comes twice.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from core.records import atomic_path
from core.storage.journal import Follower, held
from flows.batches.ledger import Batch, Outcome
from flows.pages.artifacts import asset_event, batch_page

logger = logging.getLogger(__name__)

Event = dict[str, Any]
PLACES = "announced.json"
EVERY_S, LATER_S, FLUSH_S = 2.0, 15.0, 30.0
GROUP = 200  # events sent at once; a line of the manifest makes at most four
BESIDE = {"record", "preview", "sheet"}  # files that only show or describe an output


@contextmanager
def announcing(batch: Batch) -> Iterator[None]:
    """Tell the server of what is made while the block lasts, and of the rest at its end."""
    over, state = threading.Event(), copy_context()
    thread = threading.Thread(
        target=state.run, args=(_keep_telling, batch, over), name="news", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(FLUSH_S)


def tell(batch: Batch, send: Callable[[list[Event]], None], related: Sequence[Event] = ()) -> int:
    """Send what was made since the last time; how many events that were.

    Args:
        batch: Whose news.
        send: Takes a group, and returns when the server has it.
        related: What the events belong to, as Prefect names it.
    """
    files = sorted((batch.root / "shards").glob("*.jsonl"))
    if not files:
        return 0
    with held(batch.root / f"{PLACES}.lock", wait=False) as ours:
        return _tell(batch, files, send, list(related)) if ours else 0


def _tell(
    batch: Batch, files: list[Path], send: Callable[[list[Event]], None], related: list[Event]
) -> int:
    places = batch.root / PLACES
    known = json.loads(places.read_text()) if places.exists() else {}
    follower = Follower(known)
    events = (
        {**event, "related": related}
        for path in files
        for outcome in follower.news(path)
        for event in events_of(batch, outcome)
    )
    count = 0
    while group := list(islice(events, GROUP)):
        send(group)
        count += len(group)
    if follower.places != known:
        with atomic_path(places, overwrite=True) as temporary:
            temporary.write_text(json.dumps(follower.places))
    return count


def events_of(batch: Batch, outcome: Outcome) -> list[Event]:
    """The events for an item's outcome, none unless it was made.

    An item is named by its content address and nothing else.
    """
    if outcome["state"] != "made":
        return []
    project, name = batch.root.parent.parent.name, batch.root.name
    folder = f"{project}/batches/{name}/{outcome['item']}"
    page = batch_page(project, name)
    events: list[Event] = []
    for role, said in outcome["files"].items():
        if role in BESIDE:
            continue
        event = asset_event(folder, role, said["sha256"], batch.root / said["path"], page)
        line = f"{event['resource']['prefect.resource.id']} {said['sha256']} {outcome['time']}"
        known = {"id": str(uuid5(NAMESPACE_URL, line)), "occurred": outcome["time"]}
        events.append(known | event)
    return events


def _keep_telling(batch: Batch, over: threading.Event) -> None:
    related, pause_s, warned, ended = _this_run(), EVERY_S, False, False
    while not ended:
        ended = over.wait(pause_s)
        try:
            tell(batch, _send, related)
            pause_s = EVERY_S
        except Exception as error:
            pause_s = LATER_S
            if not warned:
                logger.warning("what was made is announced later: %s", error)
            warned = True


def _send(events: list[Event]) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=events)


def _this_run() -> list[Event]:
    from prefect.runtime import flow_run

    if not flow_run.id:
        return []
    return [
        {
            "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
            "prefect.resource.role": "flow-run",
            "prefect.resource.name": flow_run.name or "",
        }
    ]
