"""Sees a planned batch through: hands out shards, watches them, starts again what is missing.

What became of the items is read from the manifest, never from the server; a shard counts as ended
when its run has ended or shows no sign of life. Who runs the shards is somebody else's
(``batches/shard_runs.py``): a work pool, or this machine.
"""

import errno
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from core.progress import Clock, Meter, counted
from core.storage.faults import LostLeaseError
from core.storage.journal import seconds_since
from flows.batches.counts import Tally
from flows.batches.derivatives import renew_derivatives
from flows.batches.hours import end_of, no_more, passed
from flows.batches.inputs import deliver_inputs
from flows.batches.ledger import GOING_ON, STORE_FAULTS, Batch, Sight
from flows.batches.locks import being_made, confirm_coordinated, coordinated, sign_of_life
from flows.batches.needs import check_items
from flows.batches.pace import least_share
from flows.batches.plan import ends_early
from flows.batches.start import (
    clear_leftovers,
    free_bytes,
    items_here_or_planned,
    open_batch,
    plan_batch,
    start_batch,
    under_way,
)
from flows.machines.resources import Resources
from flows.requests.batch_requests import BatchRequest, ShardRequest
from flows.settings.settings import Settings
from flows.storage.quota import Quota

logger = logging.getLogger(__name__)

SILENCE_S = 180.0  # a shard's process starts within this and then beats every few seconds
STORE_S, STORE_LOOK_S = 900.0, 1.0  # how long the folder of a batch may be away; looks meanwhile
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
Answer = TypeVar("Answer")


class Hands(Protocol):
    """Who runs shards."""

    look_every_s: float

    def offers(self, settings: Settings) -> list[Resources]:
        """What each machine that may run a shard offers; none where they do not tell."""
        ...

    def start(self, asked: ShardRequest, key: str) -> str:
        """Start a shard and return its run; a second call with the same key is the same run."""
        ...

    def look(self, run: str) -> Sight:
        """How a run stands."""
        ...

    def end(self, run: str) -> None:
        """Cancel a run, or bury one that died unnoticed."""
        ...


@dataclass
class Attempt:
    """A shard's run under way; ``beat`` is the last sign of life and when it was seen."""

    run: str
    number: int
    beat: tuple[float, float]


@dataclass
class Coordinator:
    """One batch, from now to its end.

    Attributes:
        batch: Planned and running.
        request: What was asked.
        hands: Who runs shards.
        meter: Told how many items are through.
        tally: What became of the items.
    """

    batch: Batch
    request: BatchRequest
    hands: Hands
    meter: Meter
    tally: Tally
    clock: Clock = field(default_factory=Clock)
    _active: dict[int, Attempt] = field(default_factory=dict)
    _tried: dict[int, int] = field(default_factory=dict)
    _not_before: dict[int, float] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """Coordinate until nothing is left to do; how the batch ended."""
        said = self._patiently(self.batch.read)
        self._created, self._began = said["created"], said.get("started", said["created"])
        self._total = len(self.tally.missing) or 1
        self._patiently(self._take_over)
        while not self._patiently(self._look):
            time.sleep(self.hands.look_every_s)
        return self._patiently(self._close)

    def _patiently(self, act: Callable[[], Answer]) -> Answer:
        """The answer of ``act``; a store that is full or away is waited for."""
        since: float | None = None
        while True:
            try:
                return act()
            except (OSError, ValueError) as error:
                number = getattr(error, "errno", None)
                if number not in STORE_FAULTS and self.batch.exists():
                    raise
                words = _told(error)
                if since is None:
                    since = time.monotonic()
                    logger.warning("the folder of the batch %s; looking again", words)
                if time.monotonic() - since > STORE_S:
                    raise OSError(
                        number or errno.ENOENT,
                        f"{self.batch.root} {words}, for {STORE_S / 60:.0f} minutes: a batch "
                        "stands there; free some space or bring it back and start the same "
                        "request again.",
                    ) from error
            time.sleep(max(STORE_LOOK_S, self.hands.look_every_s))

    def _look(self) -> bool:
        """Read the news, hand out what is to do; whether that was the last of it."""
        confirm_coordinated(self.batch)
        self.tally.update()
        state = self._state()
        self._see_to_active(state)
        if state in ("cancelled", "stopped", "finished"):
            return True
        if state == "running":
            self._hand_out()
        self._tell()
        return not self._active and not self._to_come()

    def _take_over(self) -> None:
        """Go on with the runs of a coordinator that ended before its batch did."""
        for line in self.batch.submissions():
            shard = line["shard"]
            if line.get("ended"):
                self._active.pop(shard, None)
            elif self.tally.left(shard):
                attempt = Attempt(line["run"], line["try"], (0.0, time.monotonic()))
                self._active[shard], self._tried[shard] = attempt, 1
        self.batch.read()  # a folder that is not there has no submissions either

    def _state(self) -> str:
        """The batch's state, after holding it against its budgets."""
        minutes = seconds_since(self._began) / 60
        spent = passed(self.batch) or self.tally.spent(self.request, minutes)
        if spent and self.tally.missing:
            self.batch.change(only_from=("running",), state="stopped", reason=spent)
        return self.batch.state()

    def _see_to_active(self, state: str) -> None:
        for shard, attempt in list(self._active.items()):
            over = state in ("cancelled", "stopped")
            silent = self.hands.look(attempt.run) == "running" and self._silent(shard, attempt)
            if over or silent:
                logger.info("ending run %s of shard %d", attempt.run, shard)
                self.hands.end(attempt.run)
            if over or silent or self.hands.look(attempt.run) == "ended":
                self.tally.update(now=True)
                self._ended(shard, attempt, state)

    def _ended(self, shard: int, attempt: Attempt, state: str) -> None:
        left, running = self.tally.left(shard), state == "running"
        free_of_charge = left and (not running or being_made(self.batch, shard))
        self._note(shard, attempt, ended=True)  # from here on nothing fails halfway
        del self._active[shard]
        if left:
            delay = self.request.limits.retry_delay_s if running else 0.0
            self._not_before[shard] = time.monotonic() + delay
            self._tried[shard] = self._tried.get(shard, 1) - bool(free_of_charge)
            logger.warning("shard %d ended with %s missing", shard, counted(left, "item"))

    def _hand_out(self) -> None:
        for shard in self._to_come():
            if len(self._active) >= self.request.limits.shards_at_once:
                return
            if shard in self._active or time.monotonic() < self._not_before.get(shard, 0):
                continue
            number = self._next_number(shard)
            said = self.batch.read()
            asked = ShardRequest(
                project=said["project"], batch=said["name"], shard=shard, attempt=number
            )
            key = f"{said['project']}/{said['name']}/{self._created}/{shard}/{number}"
            run = self.hands.start(asked, key)
            self._active[shard] = attempt = Attempt(run, number, (0.0, time.monotonic()))
            self._tried[shard] = self._tried.get(shard, 0) + 1
            self._note(shard, attempt)

    def _to_come(self) -> list[int]:
        """Shards with missing items and tries left."""
        tries = self.request.limits.tries
        if no_more(self.batch):
            return []
        return [s for s in self.tally.open_shards if self._tried.get(s, 0) < tries]

    def _next_number(self, shard: int) -> int:
        lines = self.batch.submissions()
        return 1 + max((line["try"] for line in lines if line["shard"] == shard), default=0)

    def _silent(self, shard: int, attempt: Attempt) -> bool:
        """Whether the shard's process gave no sign of life for long, by this process's clock."""
        touched = sign_of_life(self.batch, shard)
        if touched != attempt.beat[0]:
            attempt.beat = touched, time.monotonic()
        return time.monotonic() - attempt.beat[1] > SILENCE_S

    def _note(self, shard: int, attempt: Attempt, *, ended: bool = False) -> None:
        line = {"shard": shard, "try": attempt.number, "run": attempt.run, "ended": ended}
        self.batch.note_submission(line)

    def _tell(self) -> None:
        done = self._total - len(self.tally.missing)
        words = ", ".join(f"{n} {state}" for state, n in sorted(self.tally.counts.items()))
        self.meter(done, self._total, words)

    def _close(self) -> dict[str, Any]:
        counts, left = self.tally.counts, len(self.tally.missing)
        seconds, count = self.tally.item_s
        state = "stopped" if left else "finished"
        tries = self.request.limits.tries
        reason = (
            f"{counted(left, 'item')} still missing, every try spent ({tries})" if left else ""
        )
        if left and no_more(self.batch):
            reason = f"no more can be ready by {self.request.limits.until}"
        self.batch.change(only_from=GOING_ON, state=state, reason=reason)
        if count:
            self.batch.change(seconds_per_item=round(seconds / count, 4))
        clear_leftovers(self.batch)
        renew_derivatives(self.batch)
        self._tell()
        said = self.batch.read()
        return {
            "batch": said["name"],
            "state": said["state"],
            "reason": said["reason"],
            "items": said["items"],
            **{name: counts[name] for name in ("made", "failed", "rejected")},
            "missing": left,
            "minutes": round(self.clock.passed() / 60, 2),
        }


def _told(error: OSError | ValueError) -> str:
    """What is the matter with a store, as the end of a sentence."""
    reason = getattr(error, "strerror", None) or "it is not there"
    full = getattr(error, "errno", None) in UNWRITABLE
    return f"{'cannot be written' if full else 'is away'}: {reason}"


def coordinate(
    settings: Settings, project: str, request: BatchRequest, hands: Hands, meter: Meter
) -> dict[str, Any]:
    """Plan a batch or take up its plan, and see it through; how it ended.

    Raises:
        Refusal: The request cannot be met, or another one of that name is under way.
    """
    items = items_here_or_planned(settings, project, request)
    check_items(items[0], hands.offers(settings))
    batch = open_batch(settings, project, request)
    with coordinated(batch) as ours:
        if not ours:
            return under_way(batch, request)
        tally = Tally(batch, request.most_draws)
        tally.skip()
        plan = plan_batch(batch, request, items)
        Quota(settings, project).check(plan.bytes_needed)
        ends = end_of(batch, request.limits.until) | least_share(plan.items, request)
        try:
            start_batch(batch, request, plan)
            if ends:
                batch.change(**ends)
            deliver_inputs(batch, (item for item, shard in plan.items if shard >= 0))
            if batch.mirror:
                batch.mirror.give_results()
            tally.begin({item.address for item, shard in plan.items if shard >= 0})
            for line in [*plan.says(free_bytes(batch.root)), *ends_early(request)]:
                logger.info(line)
            return Coordinator(batch, request, hands, meter, tally).run()
        except LostLeaseError as error:
            logger.warning("%s", error)
            return {"batch": request.name, "state": "running", "reason": str(error)}
