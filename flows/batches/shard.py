"""One shard of a batch: the model loaded once, and a short assembly line.

While one item is sampled, the next are prepared and those before are encoded, verified and
recorded. Each outcome is appended to the shard's manifest as soon as the item's files stand; an
item that stands already is not made again. Without Prefect: ``python -m flows.batches.shard
PROJECT BATCH SHARD ATTEMPT``.
"""

import errno
import logging
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from typing import Any

from core.operations.operation import NotAsAskedError
from core.progress import Meter, Throttle, timed
from core.storage.journal import held
from flows.batches.hours import no_more
from flows.batches.inputs import at_hand, with_models
from flows.batches.item import Item
from flows.batches.ledger import GOING_ON, Batch, files_of
from flows.batches.locks import alone, delivering
from flows.batches.makers import Job, Maker
from flows.batches.pace import Pace
from flows.batches.plan import check_room, expected_bytes, patience_s
from flows.batches.shard_report import Ledger, Report
from flows.jobs.signing import check_signing
from flows.jobs.under_way import RunPreviews, run_previews
from flows.machines.ray_workers import Workers, spread
from flows.machines.watchdog import Watchdog, watched
from flows.requests.batch_requests import BatchRequest, ShardRequest
from flows.requests.endings import ending
from flows.settings.settings import Settings, read_settings
from flows.storage.quota import Quota

logger = logging.getLogger(__name__)

AHEAD = 3  # items prepared before their turn
BEHIND = 4  # items sampled whose files do not stand yet
LOOK_EVERY_S = 0.5
LOADING_S = 900.0


def run_shard(settings: Settings, asked: ShardRequest, meter: Meter) -> Report:
    """Make what is missing of a shard.

    Args:
        settings: Places.
        asked: Which shard.
        meter: Told how many items are through.

    Raises:
        OSError: The disk gave out; what is missing can be tried again.
        RuntimeError: The device did, or the batch's folder is gone; likewise.
    """
    batch = Batch.named(settings, asked.project, asked.batch)
    try:
        batch.read()
        with held(batch.root / "plan.lock", shared=True), alone(batch, asked.shard) as only_one:
            if not only_one:
                return Report(ended="another process makes this shard")
            with delivering(batch, asked.shard) as deliver:
                here = with_models(settings, batch)
                return _Shard(here, batch, asked, meter, deliver).run()
    except (OSError, ValueError) as error:
        if batch.exists():
            raise
        raise RuntimeError(
            f"{batch.root} is gone: a shard reads and writes there; it is started again for "
            "what is missing when the folder is back."
        ) from error


class _Shard:
    """The assembly line."""

    def __init__(
        self,
        settings: Settings,
        batch: Batch,
        asked: ShardRequest,
        meter: Meter,
        deliver: Callable[..., None] = lambda *_, **__: None,
    ) -> None:
        from flows.machines.devices import choose_device

        self.batch, self.asked = batch, asked
        self.request: BatchRequest = batch.request()
        self.draws = self.request.most_draws
        self.ledger = Ledger(batch, asked, meter, deliver, self.draws)
        self.device = choose_device(settings.device)
        self.watchdog: Watchdog
        self.settings, self.quota = settings, Quota(settings, asked.project)
        self.workers: Workers | None = None
        self._look, self.pace = Throttle(LOOK_EVERY_S), Pace(batch, self.request)

    def run(self) -> Report:
        """Make what is missing, in order."""
        jobs, report = self.ledger.missing(), self.ledger.report
        if not jobs:
            return report
        hired = spread(self.settings, len(jobs))
        with watched(self.batch.shard_file(self.asked.shard)) as self.watchdog:
            self.watchdog.says(LOADING_S)
            check_signing(operation := jobs[0].item.operation, operation.endings[0])
            maker = self._maker()
            with hired as self.workers:
                (self.workers or maker).load(jobs[0].item)
                self._work(jobs, maker)
        report.left = len(self.ledger.left)
        return report

    def _maker(self) -> Maker:
        here = partial(at_hand, self.batch)
        shown = partial(_shown, self.batch)
        return Maker(self.device, judge=self.request.judged, at_hand=here, shown=shown)

    def _work(self, waiting: deque[Job], maker: Maker) -> None:
        behind: dict[Future[str], Job] = {}
        ahead: dict[str, Future[Any]] = {}
        hands, most, soon = self._room()
        with ThreadPoolExecutor(1) as preparing, ThreadPoolExecutor(hands) as finishing:
            try:
                while waiting or behind:
                    if not waiting or len(behind) >= most:
                        wait(behind, return_when=FIRST_COMPLETED)
                    self._collect(behind, waiting)
                    if self._ended():
                        waiting.clear()
                    for job in islice(waiting, soon):
                        if job.item.address not in ahead:
                            ahead[job.item.address] = preparing.submit(_prepare, maker, job)
                    if waiting:
                        job = waiting.popleft()
                        prepared = ahead.pop(job.item.address)
                        if begun := self._begun(finishing, maker, job, prepared):
                            behind[begun] = job
            finally:
                if self.workers:
                    self.workers.stop()
                preparing.shutdown(cancel_futures=True)
                wait(behind)
                self._collect(behind, deque())

    def _room(self) -> tuple[int, int, int]:
        """How many threads finish, how many items may be with them, and how many are prepared."""
        if self.workers:  # as many threads wait for a sample as finish one
            return 2 * self.workers.width, 2 * self.workers.width, AHEAD + self.workers.width
        return max(1, min(4, (os.cpu_count() or 2) - 1)), BEHIND, AHEAD

    def _begun(
        self, finishing: ThreadPoolExecutor, maker: Maker, job: Job, prepared: Future[Any]
    ) -> Future[str] | None:
        """One item on its way to its end in a thread; None if it could not be sampled."""
        if self.workers:
            return finishing.submit(self._made, maker, job, prepared)
        sampled = self._sampled(maker, job, prepared)
        return finishing.submit(self._finished, maker, job) if sampled else None

    def _sampled(self, maker: Maker, job: Job, prepared: Future[Any]) -> bool:
        """Sample one item when it is this shard's turn; whether that went well."""
        from flows.machines.devices import slot

        try:
            job.prepared = prepared.result()
            self._check_room(job.item)
            self.watchdog.says(0)
            self.pace.fit(job)
            limit_s = patience_s(job.item, self.request.limits.item_minutes)
            if self.workers:
                self.workers.sample(job, limit_s)
                self.pace.took(job)
                return True
            with slot(self.device, urgent=False):
                self.watchdog.says(limit_s, job.item.address, job.draw)
                with timed(job.timings, "sample"):
                    job.sampled = maker.sample(job)
            self.pace.took(job)
        except CancelledError:
            return False
        except Exception as error:
            self.ledger.failed(job, error)
            return False
        return True

    def _made(self, maker: Maker, job: Job, prepared: Future[Any]) -> str:
        """Have a worker sample one item and finish it, in a thread; what became of it."""
        return self._finished(maker, job) if self._sampled(maker, job, prepared) else "failed"

    def _finished(self, maker: Maker, job: Job) -> str:
        """Write one item and its outcome down, in a thread; what became of it."""
        try:
            paths = maker.finish(job, self.batch)
            self.ledger.note(job, "made", files=files_of(self.batch, paths))
            return "made"
        except NotAsAskedError as error:
            job.score = error.score
            self.ledger.note(job, "rejected", error=f"draw {job.draw}: {error}")
            return "rejected"
        except Exception as error:
            self.ledger.failed(job, error)
            return "failed"
        finally:
            job.sampled = None

    def _collect(self, behind: dict[Future[str], Job], waiting: deque[Job]) -> None:
        """Let go of items that are through; rejected ones queue up again."""
        for future in [future for future in behind if future.done()]:
            job = behind.pop(future)
            if future.result() == "rejected" and job.draw < self.draws:
                self.ledger.total += 1
                waiting.appendleft(Job(job.item, draw=job.draw + 1))

    def _ended(self) -> bool:
        """Whether a person or a budget ended the batch meanwhile."""
        if not self.ledger.report.ended and self._look.ready():
            state = self.batch.state()
            self.ledger.report.ended = "" if state in GOING_ON else f"the batch is {state}"
            if no_more(self.batch):
                self.ledger.report.ended = "no more can be ready in time"
        return bool(self.ledger.report.ended)

    def _check_room(self, item: Item) -> None:
        free, size = shutil.disk_usage(self.batch.root).free, expected_bytes(item)
        checks = {
            errno.ENOSPC: lambda: check_room(size, free, self.request.limits.reserve_gb),
            errno.EDQUOT: lambda: self.quota.check(size),
        }
        for number, check in checks.items():
            try:
                check()
            except ValueError as error:
                raise OSError(number, str(error)) from error


def _shown(batch: Batch, job: Job) -> AbstractContextManager[RunPreviews | None]:
    project, item = batch.root.parent.parent, job.item
    return run_previews(item.operation, job.request, project, item.address, page=False)


def _prepare(maker: Maker, job: Job) -> Any:
    with timed(job.timings, "prepare"):
        return maker.prepare(job)


def main(words: list[str]) -> int:
    """Run one shard in this process."""
    from core.progress import terminal_meter
    from flows.settings.environment import adopt

    settings = read_settings()
    adopt(settings)
    project, batch, shard, attempt = words
    asked = ShardRequest(project=project, batch=batch, shard=int(shard), attempt=int(attempt))
    try:
        with terminal_meter(f"shard {shard}") as meter:
            run_shard(settings, asked, meter)
    except Exception as error:
        if (told := ending(error)) is None:
            raise
        sys.stderr.write(f"shard {shard}: {told[1]}\n")
        return told[0]
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
