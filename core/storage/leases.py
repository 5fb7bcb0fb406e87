"""Leases: who works on what, among hosts that share no disk.

A lease is one object that its holder writes anew every few seconds, each time with other bytes,
and only if it is still as that holder left it; an empty one is free. So of two hosts that reach
for one lease one gets it, and a holder that was cut off learns that it has lost it, before it
writes anything else. Its age is told by the store's clock, how long a holder may trust in it by a
clock that no one sets and that runs while a machine sleeps.
"""

import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from core.storage.faults import LostLeaseError, StoreRefusedError
from core.storage.objects import Held
from core.storage.store import Store

logger = logging.getLogger(__name__)

LEASE_S, RENEW_S = 45.0, 10.0
SURE = 0.8  # of a lease's length: so long its holder goes without asking
HOSTS = ".hosts"  # the folder where hosts are told of
REACHES = 3


class Lease:
    """One lease, as one process sees it.

    Attributes:
        key: Its object.
        holder: Who this process is; drawn anew for each lease that it takes.
        lost: Whether it has gone to another host, or was given up.

    >>> from pathlib import Path
    >>> store = Store("memory://leased", Path("outputs"))
    >>> Lease(store, "a.lease", "here").take(), Lease(store, "a.lease", "elsewhere").take()
    (True, False)
    """

    def __init__(self, store: Store, key: str, place: str) -> None:
        """Hold nothing yet.

        Args:
            store: Where hosts meet.
            key: Its object.
            place: The name of this host's folder of outputs, whose own lock the caller holds: a
                lease that another process of the same place left behind is taken at once.
        """
        self.store, self.key, self.place = store, key, place
        self.holder = secrets.token_hex(8)
        self._tag, self._sure_until = "", -1.0
        self.lost = False
        self._turn = threading.RLock()

    def take(self) -> bool:
        """Hold it from now on, unless another place does."""
        for _ in range(REACHES):
            began, seen = _clock(), self.store.tagged(self.key)
            if seen and seen[0] and self._held_elsewhere(seen[0]):
                return False
            if tag := self.store.swap(self.key, self._content(), seen[1] if seen else ""):
                self._keep(tag, began)
                return True
        return False  # others were quicker each time

    def renew(self) -> None:
        """Write it anew.

        Raises:
            LostLeaseError: Another host has it, or had it.
        """
        with self._turn:
            for _ in range(REACHES):
                if self.lost:
                    break
                began = _clock()
                if tag := self.store.swap(self.key, self._content(), self._tag):
                    self._keep(tag, began)
                    return
                self._tag = self._found_again()  # where the answer to an earlier write was lost
                self.lost = not self._tag
            raise LostLeaseError(
                f"another host took over {self.key.removesuffix('.lease')} while the store did "
                "not answer: one host at a time works on it; what was made here meanwhile stays "
                "on this disk, and what is missing is made there."
            )

    def confirm(self) -> None:
        """Whether it is held for sure, after asking the store if need be.

        Raises:
            LostLeaseError: Another host has it, or had it.
        """
        if self.lost or _clock() >= self._sure_until:
            self.renew()

    def give_up(self) -> None:
        """Leave it to others, unless it is theirs already."""
        with self._turn:
            lost, self.lost = self.lost, True  # whatever the store answers
            if not lost and self._tag:
                self.store.swap(self.key, b"", self._tag)

    def _content(self) -> bytes:
        said = {"place": self.place, "holder": self.holder, "beat": secrets.token_hex(4)}
        return json.dumps(said).encode()

    def _keep(self, tag: str, began: float) -> None:
        self._tag, self._sure_until = tag, began + SURE * LEASE_S

    def _found_again(self) -> str:
        """The tag of the object if it is ours all the same."""
        seen = self.store.tagged(self.key)
        return seen[1] if seen and _said(seen[0]).get("holder") == self.holder else ""

    def _held_elsewhere(self, content: bytes) -> bool:
        if place_in(content) == self.place:
            return False
        folder, _, name = self.key.rpartition("/")
        facts = self.store.names(folder).get(name)
        return facts is not None and is_held(facts, store_time(self.store))


def is_held(lease: Held, now: float) -> bool:
    """Whether a lease is neither free nor old.

    Args:
        lease: Its object.
        now: The store's time.
    """
    return lease.size > 0 and now - lease.changed < LEASE_S


def place_in(content: bytes) -> str:
    """Where the process works that holds a lease, by the lease's bytes."""
    return str(_said(content).get("place", ""))


def store_time(store: Store) -> float:
    """The time by the store's clock, in seconds.

    Raises:
        StoreRefusedError: This kind of store tells no times.
    """
    name = f"now-{secrets.token_hex(6)}"
    store.write(f"{HOSTS}/{name}", b"")
    facts = store.names(HOSTS).get(name)
    store.remove(f"{HOSTS}/{name}")
    if facts is None or not facts.changed:
        raise StoreRefusedError(
            f"LAMINA_STORE={store.url}: it does not tell when an object was written: hosts see by "
            "that who is alive; use a store that does and that lists at once what it holds, as S3 "
            "does."
        )
    return facts.changed


def check_turns(store: Store) -> None:
    """Whether a write gives way to one that came before it.

    Raises:
        StoreRefusedError: The store writes whatever it is told to compare.
    """
    key = f"{HOSTS}/turns-{secrets.token_hex(6)}"
    first = store.swap(key, b"first", "")
    ignored = "If-None-Match" if store.swap(key, b"second", "") else ""
    store.swap(key, b"third", first)
    ignored = "If-Match" if store.swap(key, b"fourth", first) else ignored
    store.remove(key)
    if ignored:
        raise StoreRefusedError(
            f"LAMINA_STORE={store.url}: it takes no notice of {ignored}: hosts take turns by "
            "conditional writes; use a store that has them, as Amazon's, MinIO and Ceph do."
        )


@contextmanager
def renewed(lease: Lease) -> Iterator[None]:
    """Keep a lease that was taken for the block; it is free after it."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(RENEW_S):
            try:
                lease.renew()
            except LostLeaseError:
                return  # whoever works under it asks before each step
            except (OSError, StoreRefusedError) as error:
                logger.debug("%s is not renewed: %s", lease.key, error)

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(RENEW_S)
        with suppress(OSError, StoreRefusedError):
            lease.give_up()


def _said(content: bytes) -> dict[str, str]:
    try:
        said = json.loads(content or b"{}")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _clock() -> float:
    """Seconds that pass while the machine sleeps, too."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
