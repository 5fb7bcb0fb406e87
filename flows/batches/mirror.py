"""A batch in the store, beside its folder here: what hosts without a shared disk tell each other.

The plan (``batch.json``, ``items.jsonl``) has one object of each name, which its coordinator
writes. Journals (``shards/NNNN-PLACE.jsonl``, ``submissions-PLACE.jsonl``) carry the name of the
folder they are written in, so no two hosts ever write one object. ``batch.json`` is replaced only
if it is still as it was read, and says who coordinates, so that a coordinator that was cut off
changes nothing of its successor's.
"""

import json
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from core.progress import Throttle
from core.storage.faults import StoreAwayError, StoreRefusedError
from core.storage.journal import held
from core.storage.leases import Lease, is_held, place_in, renewed, store_time
from core.storage.objects import Held, same
from core.storage.place import place_of, replace
from core.storage.store import Store, open_store
from flows.settings.settings import Settings

LOOK_EVERY_S = 5.0
PLAN_LOOK_S = 0.2
PLAN = ("items.jsonl", "batch.json")  # the latter says that the former is there
Files = dict[str, dict[str, str]]


class Mirror:
    """One batch in the store.

    Attributes:
        store: The store.
        root: The batch's folder here.
        place: The name of this host's folder of outputs, part of each journal's name.
        led: Whether somebody calls ``refresh(now=True)`` now and then, so that reading need not.
        leases: Name to lease, of those that this process holds or has lost.
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
        self.leases: dict[str, Lease] = {}
        self._leads = False

    def refresh(self, *, now: bool = False) -> None:
        """Bring the plan and the journals of other hosts, if there is news.

        Args:
            now: Whether or not that was done a moment ago.

        Raises:
            LostLeaseError: Another host took over.
        """
        for lease in self.leases.values():
            if lease.lost:
                lease.confirm()
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

    def take_plan(self) -> str:
        """Bring ``batch.json`` as it is at this moment; its tag. Its lock is held."""
        seen, path = self.store.tagged(f"{self._folder}/batch.json"), self.root / "batch.json"
        for name in PLAN:
            self._seen.pop(name, None)  # whatever comes of it, the next look compares
        if seen is None:
            return ""
        if not path.exists() or path.read_bytes() != seen[0]:
            replace(path, seen[0])
        return seen[1]

    def give_plan(self, content: bytes, tag: str, *, items: bool = False) -> bool:
        """Write ``batch.json``; not if it is another than the one that was taken.

        Args:
            content: Its new bytes.
            tag: Of the one that was taken.
            items: Write ``items.jsonl`` first, as is done for a batch that is new in the store.
        """
        if items or not tag:
            self.store.put([self.root / "items.jsonl"])
        if self.store.swap(f"{self._folder}/batch.json", content, tag):
            return True
        time.sleep(random.uniform(0, PLAN_LOOK_S))
        return False

    def signed(self, said: Mapping[str, Any]) -> dict[str, str]:
        """What a change of ``batch.json`` says of who coordinates; nothing, if others do.

        Args:
            said: What stands there.

        Raises:
            LostLeaseError: Another host coordinates now.
        """
        if (lease := self.leases.get("batch")) is None:
            return {}
        if self._leads and said.get("coordinator") != lease.holder:
            lease.lost = True
        lease.confirm()
        self._leads = True
        return {"coordinator": lease.holder}

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
        """What a record names, if the store holds each with as many bytes.

        Signatures of one clip are of one size: those are fetched, and compared by digest.
        """
        from core.records import sha256_file

        try:
            outputs = json.loads(record.read_text(encoding="utf-8"))["outputs"]
            if any(self.held[said["file"]].size != said["bytes"] for said in outputs.values()):
                return None
            files = {
                role: {"path": f"results/{said['file']}", "sha256": said["sha256"]}
                for role, said in outputs.items()
            }
            signed = [files[role] for role, said in outputs.items() if "media_sha256" in said]
            keys = {f"{self._folder}/{said['path']}": said["sha256"] for said in signed}
            self.store.fetch(list(keys), keys)
        except StoreAwayError:
            raise  # nobody knows what it holds
        except (OSError, ValueError, KeyError, TypeError, StoreRefusedError):
            return None
        return files | {
            "record": {"path": f"results/{record.name}", "sha256": sha256_file(record)}
        }

    @contextmanager
    def leased(self, name: str) -> Iterator[bool]:
        """Hold a lease for the block; it learns whether it does, or another place has it.

        Args:
            name: ``batch``, ``plan``, or ``shards/NNNN``.
        """
        lease = Lease(self.store, f"{self._folder}/{name}.lease", self.place)
        if not lease.take():
            yield False
            return
        self.leases[name], self._leads = lease, False
        try:
            with renewed(lease):
                yield True
        finally:
            del self.leases[name]

    @contextmanager
    def at_work(self, shard: int) -> Iterator[bool]:
        """Hold the lease of a shard for the block, and no place changes the plan meanwhile.

        Whoever changes it writes down that it does and then looks for shards; a shard does it the
        other way round. So one sees the other, and the shard waits.
        """
        while True:
            with self.leased(f"shards/{shard:04d}") as ours:
                if not ours or not self.leased_elsewhere("plan."):
                    yield ours
                    return
            time.sleep(PLAN_LOOK_S)

    def leased_elsewhere(self, beginning: str = "shards/") -> bool:
        """Whether another place holds a lease whose name begins so."""
        folder, _, start = f"{self._folder}/{beginning}".rpartition("/")
        names = self.store.names(folder).items()
        leases = {
            n: x for n, x in names if n.startswith(start) and n.endswith(".lease") and x.size
        }
        now = store_time(self.store) if leases else 0.0
        held = [f"{folder}/{name}" for name, facts in leases.items() if is_held(facts, now)]
        return any(place_in(self.store.read(key) or b"") not in ("", self.place) for key in held)

    def sign_of_life(self, shard: int) -> float:
        """A number that changes while some host works on a shard, or while nobody can tell."""
        lease = self._shards.get(f"{shard:04d}.lease")
        return (lease.changed if lease else 0.0) + self._outages

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
