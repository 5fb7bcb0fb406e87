"""What a shard says: of each item in its manifest, and of itself when it ends."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.progress import Clock, Meter
from core.storage.journal import append_line, now
from flows.batches.ledger import Batch, Outcome, gives_out, intact, unfinished
from flows.batches.makers import Job
from flows.requests.batch_requests import ShardRequest

logger = logging.getLogger(__name__)


@dataclass
class Report:
    """What a shard did.

    Attributes:
        counts: ``made``, ``failed``, ``rejected`` now, and ``stood`` before.
        left: Items still to be made.
        ended: Why it ended before its items did; empty otherwise.
    """

    counts: Counter[str] = field(default_factory=Counter)
    left: int = 0
    ended: str = ""

    def plain(self) -> dict[str, Any]:
        """As a flow returns it."""
        return {**self.counts, "left": self.left, "ended": self.ended}


class Ledger:
    """What was known of a shard's items, and what becomes of them now; threads may share it.

    Attributes:
        report: The shard's.
        left: Addresses of the items still to be made.
        total: How many draws there will be, as far as is known.
    """

    def __init__(
        self,
        batch: Batch,
        asked: ShardRequest,
        meter: Meter,
        deliver: Callable[..., None],
        draws: int,
    ) -> None:
        """Read nothing yet.

        Args:
            batch: Whose shard.
            asked: Which one.
            meter: Told how many draws are through.
            deliver: Told the files of each item that stands.
            draws: How often an item may be drawn.
        """
        self._batch, self._asked, self._meter = batch, asked, meter
        self._deliver, self._draws = deliver, draws
        self._clock, self._done = Clock(), 0
        self._noting, self._seen = threading.Lock(), dict[str, str]()
        self.report, self.left, self.total = Report(), set[str](), 0

    def missing(self) -> deque[Job]:
        """The jobs to do; what stands without an outcome gets one."""
        known, jobs, unsaid = self._batch.outcomes(), deque[Job](), list[tuple[Job, Any]]()
        self._seen = {address: outcome["time"] for address, outcome in known.items()}
        for item, _ in self._batch.items(self._asked.shard):
            outcome = known.get(item.address)
            if files := intact(self._batch, item, outcome):
                self.report.counts["stood"] += 1
                self._deliver(files, noted=False)
                if outcome is None or outcome["state"] != "made":
                    unsaid.append((Job(item), files))
            elif outcome and outcome["state"] != "made" and not unfinished(outcome, self._draws):
                self.report.counts["stood"] += 1
            else:
                drawn = outcome["attempt"] if outcome and outcome["state"] == "rejected" else 0
                jobs.append(Job(item, draw=drawn + 1))
        for job, files in unsaid:
            self.note(job, "made", files=files)
        self.total, self.left = len(jobs), {job.item.address for job in jobs}
        return jobs

    def note(
        self, job: Job, state: str, files: dict[str, Any] | None = None, error: str = ""
    ) -> None:
        """Add what became of an item to the manifest, and tell whoever shows it.

        Args:
            job: The item, with what it took.
            state: ``made``, ``failed`` or ``rejected``.
            files: By role.
            error: In words, if there was one.
        """
        line = self._outcome(job, state, files or {}, error)
        with self._noting:
            append_line(self._batch.shard_file(self._asked.shard), line)
            self._deliver(line["files"])
            self.report.counts[state] += 1
            if not unfinished(line, self._draws):
                self.left.discard(job.item.address)
            if job.timings or state != "made":  # and not found standing
                self._done += 1
                total = max(self._done, self.total)
                self._meter(self._done, total, self._clock.says(self._done, total))

    def failed(self, job: Job, error: Exception) -> None:
        """Note a failed item, unless the next ones would fail likewise.

        Raises:
            OSError: The disk gave out, with its number.
            RuntimeError: The device did.
        """
        if gives_out(error):
            words = (
                f"{job.item.row}: {error}: without disk or device no item can be made; the shard "
                "ends here and is started again for what is missing."
            )
            number = getattr(error, "errno", None)
            raise (OSError(number, words) if number else RuntimeError(words)) from error
        words = " ".join(f"{type(error).__name__}: {error}".split())
        logger.warning("%s (%s) failed: %s", job.item.address, job.item.row, words)
        self.note(job, "failed", error=words[:1000])

    def _outcome(self, job: Job, state: str, files: dict[str, Any], error: str) -> Outcome:
        line = {
            "item": job.item.address,
            "state": state,
            "files": files,
            "seconds": round(sum(job.timings.values()), 4),
            "sample_s": round(job.timings.get("sample", 0.0), 4),
            "attempt": job.draw,
            "try": self._asked.attempt,
            "time": now(self._seen.get(job.item.address, "")),
            "error": error,
        }
        line |= {"steps": job.steps} if job.steps else {}
        return line if job.score is None else {**line, "score": round(job.score, 4)}
