"""Steps that leave time for all: with a deadline, items are drawn in fewer steps if need be.

How many follows, item by item, from the time that is left, from what is still to be made, and
from how long a step of this batch takes; never fewer than a person allowed.
"""

import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from core.progress import Throttle
from flows.batches.hours import ENDS
from flows.batches.item import Item
from flows.batches.ledger import Batch, unfinished
from flows.batches.makers import Job
from flows.requests.batch_requests import BatchRequest

KEPT = 0.9  # of the time that is left is given away
LAST = 8  # items whose pace counts
LOOK_EVERY_S = 5.0


def usual_steps(item: Item) -> int:
    """Steps of an item as it was asked for; 0 where it has none."""
    settle = getattr(item.operation, "settled", lambda request: request)
    return int(getattr(settle(item.request), "steps", 0))


def fewest_steps(item: Item, least: int) -> int:
    """Steps that an item may be drawn in at least: what is allowed, and what its engine takes."""
    rules = getattr(item.operation.source(item.request), "rules", None)
    return max(least, getattr(rules, "least_steps", 1))


def least_share(items: Sequence[tuple[Item, int]], request: BatchRequest) -> dict[str, Any]:
    """What the fewest steps take of an item's usual time, for ``batch.json``."""
    if not (request.limits.least_steps and items):
        return {}
    least, usual = fewest_steps(items[0][0], request.limits.least_steps), usual_steps(items[0][0])
    return {"least_share": min(1.0, least / usual)} if usual else {}


class Pace:
    """How many steps the next item of a shard may take."""

    def __init__(self, batch: Batch, request: BatchRequest) -> None:
        """Read what a step took so far.

        Args:
            batch: Whose items are drawn.
            request: What was asked of it.
        """
        self._batch, self._limits, self._request = batch, request.limits, request
        self._look, self._left, self._ends = Throttle(LOOK_EVERY_S), 0, ""
        self._since, self._steps_s = time.monotonic(), list[float]()

    def fit(self, job: Job) -> None:
        """Have a job take as many steps as there is time for, before it is sampled."""
        usual = usual_steps(job.item)
        if not self._limits.least_steps or not usual or getattr(job.request, "draft_after", 0):
            return
        self._read(usual)
        if not self._ends or not self._left:
            return
        left_s = (datetime.fromisoformat(self._ends) - datetime.now(UTC)).total_seconds()
        lanes = min(self._limits.shards_at_once, self._left)
        most = math.floor(KEPT * left_s * lanes / self._left / median(self._steps_s[-LAST:]))
        least = fewest_steps(job.item, self._limits.least_steps)
        if (steps := max(least, most)) < usual:
            job.steps = steps

    def took(self, job: Job) -> None:
        """Learn from an item that was sampled; the wait for its turn counts."""
        now = time.monotonic()
        if steps := job.steps or usual_steps(job.item):
            self._steps_s.append(max(1e-6, now - self._since) / steps)
        self._since = now

    def _read(self, usual: int) -> None:
        if not self._look.ready():
            return
        said, known = self._batch.read(), self._batch.outcomes()
        made = [one for one in known.values() if not unfinished(one)]
        self._left, self._ends = said["items"] - len(made), _end(said, self._limits)
        if not self._steps_s:
            found = [one["seconds"] / (one.get("steps") or usual) for one in made
                     if one["state"] == "made" and one["seconds"] > 0]  # fmt: skip
            self._steps_s = found or [max(1e-6, said["seconds_per_item"]) / usual]
            self._since = time.monotonic()


def _end(said: dict[str, Any], limits: Any) -> str:
    """By when the batch shall be ready, as ISO 8601; empty for any time."""
    ends = [said[ENDS]] if said.get(ENDS) else []
    if limits.deadline_minutes:
        begun = datetime.fromisoformat(said["started"])
        ends.append((begun + timedelta(minutes=limits.deadline_minutes)).isoformat())
    return min(ends, key=datetime.fromisoformat, default="")
