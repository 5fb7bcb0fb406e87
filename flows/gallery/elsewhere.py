"""What other hosts made, where hosts meet in a store: fetched when somebody looks.

Manifests and records come all, when they are new; pictures when they are shown; clips and volumes
when the page of their result is opened.
"""

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from core.storage.faults import StoreRefusedError
from core.storage.journal import held
from core.storage.objects import Held, same
from core.storage.place import place_of
from core.storage.store import Store
from flows.gallery.places import BATCHES, BRING, PART

logger = logging.getLogger(__name__)

PATIENCE_S = 3.0
LOOK_EVERY_S = 5.0
REST = 10.0  # times what a look took, so that a large store is not looked at all the time
PLAN = ("items.jsonl", "approval.json", "batch.json")
SHOWN = (".json", ".webp", ".png")


class Elsewhere:
    """The gallery's eye on the store."""

    def __init__(self, store: Store) -> None:
        """Ask nothing yet."""
        self._store, self._known = store, dict[str, Held]()
        self._fetched: dict[str, Held] = {}
        self._ours = f"-{place_of(store.outputs)}.jsonl"
        self._looking, self._next = threading.Lock(), 0.0

    def look(self) -> None:
        """Fetch manifests and records that are new; a store that is away is left alone."""
        if time.monotonic() < self._next or not self._looking.acquire(blocking=not self._known):
            return
        try:
            began = time.monotonic()
            if began < self._next:
                return  # somebody looked while we waited
            try:
                self._known = self._store.walk()
                self._fetch_new({key: facts for key, facts in self._known.items() if _told(key)})
            except (OSError, ValueError, StoreRefusedError) as error:
                logger.warning("the gallery shows what is on this disk: %s", error)
            took = time.monotonic() - began
            self._next = time.monotonic() + max(LOOK_EVERY_S, REST * took)
        finally:
            self._looking.release()

    def bring(self, path: Path, *, whole: bool) -> bool:
        """Fetch a file that is not here, if the store has it; whether it is here now.

        Args:
            path: Where it would stand.
            whole: Also if it is large.
        """
        if not path.is_relative_to(self._store.outputs):
            return False
        key = self._store.key(path)
        if key not in self._known or not (whole or path.name.endswith(SHOWN)):
            return False
        try:
            return bool(self._store.fetch([key]))
        except (OSError, ValueError, StoreRefusedError) as error:
            logger.warning("%s: %s", key, error)
            return False

    def _fetch_new(self, wanted: Mapping[str, Held]) -> None:
        new = {
            key: facts
            for key, facts in wanted.items()
            if self._fetched.get(key) != facts and self._wanted_here(key, facts)
        }
        plans = [key for key in new if key.endswith(PLAN)]
        self._store.fetch([key for key in new if key not in plans])
        for key in sorted(plans, key=lambda key: key.endswith("batch.json")):
            lock = self._store.path(key).with_name("batch.json.lock")
            lock.parent.mkdir(parents=True, exist_ok=True)
            with held(lock):
                self._store.fetch([key])
        self._fetched |= wanted

    def _wanted_here(self, key: str, facts: Held) -> bool:
        """Whether an object is not here yet; never if a link in the outputs leads it away."""
        try:
            path = self._store.path(key)
        except ValueError as error:
            logger.warning("the gallery leaves out %s", error)
            return False
        return not (key.endswith(self._ours) and path.exists()) and not same(path, facts)


class Watching:
    """An application whose pages know what is in the store."""

    def __init__(self, app: ASGIApp, elsewhere: Elsewhere) -> None:
        """Wrap the pages."""
        self._app, self._elsewhere = app, elsewhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, after a look at the store."""
        if scope["type"] == "http" and "/static/" not in scope.get("path", ""):
            await run_in_threadpool(self._elsewhere.look)
        token = BRING.set(self._elsewhere.bring)
        try:
            await self._app(scope, receive, send)
        finally:
            BRING.reset(token)


def _told(key: str) -> bool:
    """Whether an object is a manifest, or the record of a single run."""
    parts = PurePosixPath(key).parts
    if not all(PART.fullmatch(part) for part in parts) or len(parts) < 4:
        return False
    if parts[1] != BATCHES:
        return len(parts) == 4 and key.endswith(".json")
    if len(parts) == 4:
        return parts[3] in PLAN
    return len(parts) == 5 and parts[3] == "shards" and key.endswith(".jsonl")
