"""A batch in the store, beside its folder here: what hosts without a shared disk tell each other.

The plan (``batch.json``, ``items.jsonl``) has one object of each name, which its coordinator
writes. Journals (``shards/NNNN-PLACE.jsonl``, ``submissions-PLACE.jsonl``) carry the name of the
folder they are written in, so no two hosts ever write one object. A lease is an object that its
holder writes anew every few seconds; its age is told by the store's clock.
"""

import json
import logging
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from flows._journal import held
from flows._progress import Throttle
from flows._settings import Settings
from flows._store import Held, Store, open_store, same
from flows._store_faults import StoreAwayError, StoreRefusedError

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
LEASE_S, RENEW_S = 45.0, 10.0
PLAN = ("items.jsonl", "batch.json")  # the latter says that the former is there
Files = dict[str, dict[str, str]]


class Mirror:
    """One batch in the store.

    Attributes:
        store: The store.
        root: The batch's folder here.
        place: The name of this host's folder of outputs, part of each journal's name.
        led: Whether somebody calls ``refresh(now=True)`` now and then, so that reading need not.
    """

    def __init__(self, store: Store, root: Path) -> None:
        """Ask nothing yet."""
        self.store, self.root, self.led = store, root, False
        self.place = place_of(store.outputs)
        self._folder = store.key(root)
        self._look = Throttle(LOOK_EVERY_S)
        self._seen: dict[str, Held] = {}
        self._shards: dict[str, Held] = {}
        self._outages = 0

    def refresh(self, *, now: bool = False) -> None:
        """Bring the plan and the journals of other hosts, if there is news.

        Args:
            now: Whether or not that was done a moment ago.
        """
        if not now and (self.led or not self._look.ready()):
            return
        try:
            plan = self.store.names(self._folder)
            self._shards = self.store.names(f"{self._folder}/shards")
        except StoreAwayError:
            self._outages += 1
            raise
        ours = f"-{self.place}.jsonl"
        journals = [f"shards/{name}" for name in self._shards if name.endswith(".jsonl")]
        journals += [name for name in plan if name.startswith("submissions-")]
        there = {name: plan.get(name) or self._shards[name[7:]] for name in journals}
        self._bring(
            {
                name: facts
                for name, facts in there.items()
                if not (name.endswith(ours) and (self.root / name).exists())
            }
        )
        if "batch.json" in plan:
            with held(self._prepared() / "batch.json.lock"):
                self._bring({name: plan[name] for name in PLAN if name in plan})

    def take_plan(self) -> None:
        """Bring ``batch.json`` as it is at this moment; its lock is held."""
        content = self.store.read(f"{self._folder}/batch.json")
        path = self.root / "batch.json"
        if content is not None and (not path.exists() or path.read_bytes() != content):
            _replace(path, content)

    def give_plan(self) -> None:
        """Write the plan as it stands here; the lock of ``batch.json`` is held."""
        known = self.store.names(self._folder)
        for name in PLAN:
            self.store.put([self.root / name], known)

    def give(self, paths: Iterable[Path]) -> None:
        """Write files of the batch."""
        self.store.put(paths)

    def give_results(self) -> int:
        """Write results that stand here and not in the store, records last; how many files."""
        folder = self.root / "results"
        found = sorted(path for path in folder.glob("[!.]*") if path.name not in self.held)
        records = [path for path in found if path.suffix == ".json"]
        others = [path for path in found if path.suffix != ".json"]
        return self.store.put(others) + self.store.put(records)

    def fetch(self, files: Mapping[str, str]) -> None:
        """Bring files that are not here.

        Args:
            files: Path below the batch's folder to SHA-256, or to nothing where it is not known.
        """
        missing = {
            f"{self._folder}/{name}": digest
            for name, digest in files.items()
            if not (self.root / name).exists()
        }
        self.store.fetch(list(missing), missing)

    def move(self, old: str, new: str) -> None:
        """Give a file that was moved here its new name in the store, too."""
        self.fetch({new: ""})
        if not (self.root / new).exists():
            (self.root / new).parent.mkdir(parents=True, exist_ok=True)
            self.fetch({old: ""})
            if (self.root / old).exists():
                (self.root / old).replace(self.root / new)
        self.store.put([self.root / new])
        self.store.remove(f"{self._folder}/{old}")

    @cached_property
    def held(self) -> dict[str, Held]:
        """The results in the store, by name, as they were when this was first asked."""
        return self.store.names(f"{self._folder}/results")

    def standing(self, stem: str, outcome: Mapping[str, Any] | None) -> Files | None:
        """The files of an item that some host made, by role, if all are in the store; else None.

        Args:
            stem: The beginning of their names.
            outcome: The item's last one.
        """
        if outcome and outcome["state"] == "made":
            files: Files = outcome["files"]
            if files and all(Path(said["path"]).name in self.held for said in files.values()):
                return self._undisturbed(files)
        if f"{stem}.json" not in self.held:
            return None
        self.store.fetch([f"{self._folder}/results/{stem}.json"])
        recorded = self._as_recorded(self.root / "results" / f"{stem}.json")
        return recorded and self._undisturbed(recorded)

    def _undisturbed(self, files: Files) -> Files:
        """The same, after removing what stands under their names here and holds other bytes."""
        from core.records import sha256_file

        for said in files.values():
            path = self.root / said["path"]
            if path.is_file() and sha256_file(path) != said["sha256"]:
                path.unlink()
        return files

    def _as_recorded(self, record: Path) -> Files | None:
        """What a record names, if the store holds each with as many bytes."""
        from core.records import sha256_file

        try:
            outputs = json.loads(record.read_text(encoding="utf-8"))["outputs"]
            if any(self.held[said["file"]].size != said["bytes"] for said in outputs.values()):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        files = {
            role: {"path": f"results/{said['file']}", "sha256": said["sha256"]}
            for role, said in outputs.items()
        }
        return files | {
            "record": {"path": f"results/{record.name}", "sha256": sha256_file(record)}
        }

    @contextmanager
    def leased(self, name: str) -> Iterator[bool]:
        """Hold a lease for the block; it learns whether it does, or another place has it.

        Args:
            name: ``batch``, or ``shards/NNNN``.
        """
        key, over = f"{self._folder}/{name}-{self.place}.lease", threading.Event()
        self.store.write(key, self.place.encode())
        if self.leased_elsewhere(f"{name}-"):
            self.store.remove(key)
            yield False
            return
        self._bury(f"{name}-")

        def renew() -> None:
            while not over.wait(RENEW_S):
                with suppress(OSError, StoreRefusedError):  # the store comes back, or work ends
                    self.store.write(key, self.place.encode())

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield True
        finally:
            over.set()
            thread.join(RENEW_S)
            with suppress(OSError, StoreRefusedError):
                self.store.remove(key)

    def leased_elsewhere(self, beginning: str = "shards/") -> bool:
        """Whether another place holds a lease whose name begins so."""
        leases, ours = self._leases(beginning), f"-{self.place}.lease"
        told = {each: age for each, age in leases.items() if each.startswith(beginning)}
        others = [age for each, age in told.items() if not each.endswith(ours)]
        if not others:
            return False
        now = max((age for each, age in leases.items() if each.endswith(ours)), default=None)
        return (self._now() if now is None else now) - max(others) < LEASE_S

    def _leases(self, beginning: str) -> dict[str, float]:
        """When each lease in the folder of such names, and in the batch's, was written."""
        parts = ["", "shards/"] if beginning.startswith("shards/") else [""]
        return {
            f"{part}{each}": facts.changed
            for part in parts
            for each, facts in self.store.names(f"{self._folder}/{part}".rstrip("/")).items()
            if each.endswith(".lease")
        }

    def _bury(self, beginning: str) -> None:
        """Remove the leases of other places, which are old, as ours is held."""
        for name in self._leases(beginning):
            if name.startswith(beginning) and not name.endswith(f"-{self.place}.lease"):
                self.store.remove(f"{self._folder}/{name}")

    def _now(self) -> float:
        """The store's time."""
        name = f"now-{self.place}"
        self.store.write(f"{self._folder}/{name}", b"")
        facts = self.store.names(self._folder).get(name)
        self.store.remove(f"{self._folder}/{name}")
        return facts.changed if facts else time.time()

    def sign_of_life(self, shard: int) -> float:
        """A number that changes while some host works on a shard, or while nobody can tell."""
        leases = (
            facts.changed
            for name, facts in self._shards.items()
            if name.startswith(f"{shard:04d}-") and name.endswith(".lease")
        )
        return sum(leases) + self._outages

    def written_elsewhere(self, shard: str) -> dict[str, Held]:
        """Journals and leases of a shard that other places wrote, as last seen."""
        ours = f"{shard}-{self.place}."
        named = {name: x for name, x in self._shards.items() if name.startswith(f"{shard}-")}
        return {name: x for name, x in named.items() if not name.startswith(ours)}

    def _bring(self, wanted: Mapping[str, Held]) -> None:
        """Fetch what has changed since it was last fetched, in this order."""
        for name, facts in wanted.items():
            if self._seen.get(name) == facts:
                continue
            if not same(self._prepared() / name, facts):
                self.store.fetch([f"{self._folder}/{name}"])
            self._seen[name] = facts

    def _prepared(self) -> Path:
        for folder in (self.root / "shards", self.root / "results"):
            folder.mkdir(parents=True, exist_ok=True)
        return self.root


def mirror_of(settings: Settings, root: Path) -> Mirror | None:
    """The mirror of the batch in a folder; None where no store is named."""
    store = open_store(settings)
    return Mirror(store, root) if store else None


def place_of(outputs: Path) -> str:
    """The name of a folder of outputs: eight digits that are drawn once and kept in it."""
    path = outputs / ".place"
    if not path.exists():
        outputs.mkdir(parents=True, exist_ok=True)
        with held(outputs / ".place.lock"):
            if not path.exists():
                _replace(path, secrets.token_hex(4).encode())
    return path.read_text(encoding="ascii").strip()


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(f".part-{secrets.token_hex(6)}")
    part.write_bytes(content)
    part.replace(path)
