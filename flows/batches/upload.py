"""Takes what a shard makes to the store while the shard goes on: files, records, then the journal.

A line of the journal is written there only after all that it names, so whoever reads it finds the
files. A store that is away for a while keeps nobody waiting: results pile up on the disk, and the
shard does not end before all are delivered.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from core.progress import Throttle, counted
from core.storage.faults import StoreAwayError
from core.storage.store import LONG_S
from flows.batches.mirror import LOOK_EVERY_S, Mirror

logger = logging.getLogger(__name__)

JOURNAL_EVERY_S = 2.0
MOST = 64  # items taken along at once
AGAIN_S = 2.0
AFTER_FAILURE_S = 60.0
Load = tuple[list[Path], int]  # files, and how long the journal was when it named them


class Courier:
    """One thread between a shard and the store."""

    def __init__(self, mirror: Mirror, journal: Path) -> None:
        """Nothing happens before ``start``.

        Args:
            mirror: Of the batch; from now on kept fresh by this thread.
            journal: The shard's.
        """
        self.mirror, self.journal = mirror, journal
        self._loads: deque[Load] = deque()
        self._news, self._over = threading.Event(), threading.Event()
        self._written = self._delivered = 0
        self._lease = mirror.leases.get(f"shards/{journal.name.partition('-')[0]}")
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._forever, name="courier", daemon=True)
        self._plan_look = Throttle(LOOK_EVERY_S)
        self._journal_look = Throttle(JOURNAL_EVERY_S)

    def take(self, files: Mapping[str, Mapping[str, str]], *, noted: bool = True) -> None:
        """Deliver files of the batch.

        Args:
            files: By role, as an outcome names them.
            noted: Whether the journal's last line names them.
        """
        order = sorted(files, key=lambda role: role == "record")
        paths = [self.mirror.root / files[role]["path"] for role in order]
        self._loads.append((paths, self.journal.stat().st_size if noted else 0))
        self._news.set()

    def start(self) -> None:
        """Begin; what others did until now is known then."""
        self.mirror.refresh(now=True)
        self.mirror.led = True
        self._thread.start()

    def finish(self, patience_s: float) -> None:
        """Wait until all is delivered, the whole journal at the end.

        Raises:
            RuntimeError: It could not be; all is still on this disk.
            Exception: What stopped the thread.
        """
        self._over.set()
        self._news.set()
        if self._loads:
            logger.info("%s on the way to the store", counted(len(self._loads), "result"))
        self._thread.join(patience_s)
        self.mirror.led = False
        if self._error:
            raise self._error
        if self._thread.is_alive():
            raise RuntimeError(
                f"{counted(len(self._loads), 'result')} could not be brought to "
                f"{self.mirror.store.url}, which did not answer for {patience_s:.0f} s: others "
                f"see only what is there; all is kept in {self.mirror.root}, and the next shard "
                "of this batch on this host delivers it without making it again."
            )

    def _forever(self) -> None:
        while True:
            try:
                if self._round():
                    return
            except OSError as error:
                said = isinstance(error, StoreAwayError)
                words = "until the store is back" if said else error
                waiting = counted(len(self._loads), "result")
                logger.warning("%s waiting on this disk: %s", waiting, words)
                time.sleep(AGAIN_S)
            except Exception as error:  # the shard must hear of it, whatever it is
                self._error = error
                self.mirror.led = False
                return

    def _round(self) -> bool:
        """Deliver some of what waits; whether that was the last."""
        if not (self._loads or self._over.is_set()):
            self._news.wait(JOURNAL_EVERY_S)
        self._news.clear()
        ending = self._over.is_set()  # before looking: nothing is added after that
        if self._lease:
            self._lease.confirm()
        if self._loads:
            self._deliver([*self._loads][:MOST])
        if ending and not self._loads:
            self._write_journal(self.journal.stat().st_size if self.journal.exists() else 0)
            return True
        if self._journal_look.ready():
            self._write_journal(self._delivered)
        if not ending and self._plan_look.ready():
            self.mirror.refresh(now=True)
        return False

    def _deliver(self, loads: list[Load]) -> None:
        paths = [path for load, _ in loads for path in load]
        records = [path for path in paths if path.suffix == ".json"]
        others = [path for path in paths if path.suffix != ".json"]
        for some in (others, records):
            self.mirror.store.put(some, self.mirror.held)
        self._delivered = max([self._delivered, *(size for _, size in loads)])
        for _ in loads:
            self._loads.popleft()

    def _write_journal(self, size: int) -> None:
        if size <= self._written:
            return
        with self.journal.open("rb") as file:
            content = file.read(size)
        self.mirror.store.write(self.mirror.store.key(self.journal), content)
        self._written = size


@contextmanager
def delivering(mirror: Mirror, journal: Path) -> Iterator[Courier]:
    """A courier for the block, which ends when all is delivered.

    If the block fails, what waits is delivered if the store answers, and the failure goes on.
    """
    courier = Courier(mirror, journal)
    courier.start()
    try:
        yield courier
    except BaseException:
        try:
            courier.finish(AFTER_FAILURE_S)
        except Exception as error:
            logger.warning("%s", error)
        raise
    courier.finish(LONG_S)
