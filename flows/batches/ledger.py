"""A batch on disk: its request, its items, and what became of each, in plain JSON lines.

``batch.json`` says what was asked and how things stand, ``items.jsonl`` what each item is and
which shard makes it, ``shards/NNNN.jsonl`` what became of it: lines are only ever appended, each
flushed to the disk, and the last one of an item counts. Results stand in ``results``; an item's
record is written last and says that the item is whole. This folder, and not the server, is the
truth about a batch; where hosts share no disk, a mirror in the store is (``batches/mirror.py``).
"""

import errno
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.refusal import Refusal
from core.storage.journal import append_line, held, now, read_lines
from flows.batches.item import Item
from flows.requests.batch_requests import BATCHES, NAME, BatchRequest
from flows.settings.settings import Settings

if TYPE_CHECKING:
    from flows.batches.mirror import Mirror

FORMAT_VERSION = 1
STATES = ("planned", "running", "paused", "finished", "cancelled", "stopped")
GOING_ON = ("planned", "running")
Sight = Literal["waiting", "running", "ended"]  # of a shard's run
ENDED = ("finished", "stopped", "cancelled")
STORE_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE)
Outcome = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """The folder of one batch, and its mirror in the store where there is one."""

    root: Path
    mirror: "Mirror | None" = field(default=None, compare=False, repr=False)

    @classmethod
    def named(cls, settings: Settings, project: str, name: str) -> "Batch":
        """The batch of that name, which need not exist yet.

        Raises:
            Refusal: A name could lead out of its folder.
        """
        for role, word in {"project": project, "batch": name}.items():
            if not re.fullmatch(NAME, word):
                raise Refusal(
                    f"{role}={word!r}: a name has lower case letters, digits and single dashes; "
                    "choose such a name."
                )
        root = settings.outputs / project / "batches" / name
        if not settings.store:
            return cls(root)
        from flows.batches.mirror import mirror_of

        return cls(root, mirror_of(settings, root))

    @classmethod
    def all(cls, settings: Settings, project: str) -> "list[Batch]":
        """Every planned batch of a project, by name."""
        beside = cls.named(settings, project, "x")
        folder, mirror = beside.root.parent, beside.mirror
        names = {path.parent.name for path in folder.glob("*/batch.json")}
        names |= set(mirror.store.folders(mirror.store.key(folder)) if mirror else ())
        named = sorted(name for name in names if re.fullmatch(NAME, name))
        found = (cls.named(settings, project, name) for name in named)
        return [batch for batch in found if batch.exists()]

    @property
    def results(self) -> Path:
        """Where the items' files stand."""
        return self.root / "results"

    def exists(self) -> bool:
        """Whether it was planned; not if its folder does not answer."""
        with suppress(OSError):
            self._refresh()
        with suppress(OSError):
            return (self.root / "batch.json").is_file()
        return False

    def read(self) -> dict[str, Any]:
        """What ``batch.json`` says.

        Raises:
            Refusal: There is no such batch, or another release wrote it.
        """
        self._refresh()
        return self._said()

    def _said(self) -> dict[str, Any]:
        try:
            said = json.loads((self.root / "batch.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise Refusal(
                f"{self.root.name}: there is no such batch in {self.root.parent}; see "
                "`lamina batch status`."
            ) from error
        if said.get("format_version") != FORMAT_VERSION:
            raise Refusal(
                f"{self.root} has format_version {said.get('format_version')!r}: this release "
                f"reads {FORMAT_VERSION}; use the release that planned it or another name."
            )
        return said

    def request(self) -> BatchRequest:
        """What was asked."""
        said = self.read()
        return BATCHES[said["kind"]].model_validate(said["request"])

    def state(self) -> str:
        """One of ``STATES``."""
        return self.read()["state"]

    def change(self, *, only_from: tuple[str, ...] = STATES, **fields: Any) -> bool:
        """Change fields of ``batch.json``; whether its state was one of ``only_from``."""
        self.read()  # there is such a batch
        with held(self.root / "batch.json.lock"):
            while True:
                tag = self.mirror.take_plan() if self.mirror else ""
                said = self._said()
                if said["state"] not in only_from:
                    return False
                if self._replaced(said, said | fields, tag):
                    return True

    def create(self, said: dict[str, Any], items: list[tuple[Item, int]]) -> None:
        """Write items and ``batch.json``, the latter last; over what stood there."""
        for folder in (self.root, self.root / "shards", self.results):
            folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(x.line() | {"shard": n}, ensure_ascii=False) for x, n in items]
        with held(self.root / "batch.json.lock"):
            while True:
                tag = self.mirror.take_plan() if self.mirror else ""
                before = self._said() if (self.root / "batch.json").exists() else {}
                self._write("items.jsonl", "".join(f"{line}\n" for line in lines))
                new = {"format_version": FORMAT_VERSION, **said}
                if self._replaced(before, new, tag, items=True):
                    return

    def items(self, shard: int | None = None) -> list[tuple[Item, int]]:
        """The items with their shards, or those of one shard."""
        self._refresh()
        lines = read_lines(self.root / "items.jsonl")
        return [(Item.of_line(x), x["shard"]) for x in lines if shard in (None, x["shard"])]

    def outcomes(self) -> dict[str, Outcome]:
        """The last outcome of every item that has one."""
        found: dict[str, Outcome] = {}
        for path in self.shard_files():
            last = {line["item"]: line for line in read_lines(path)}
            found |= {x: line for x, line in last.items() if _newer(line, found.get(x))}
        return found

    def shard_file(self, shard: int | str) -> Path:
        """The outcomes of one shard, or of a person's doing; with a store, those of this host."""
        name = shard if isinstance(shard, str) else f"{shard:04d}"
        return self.root / "shards" / f"{name}{self._mark()}.jsonl"

    def shard_files(self, *, now: bool = False) -> list[Path]:
        """All files of outcomes; with ``now``, as they are in the store at this moment."""
        self._refresh(now=now)
        return sorted((self.root / "shards").glob("*.jsonl"))

    def note(self, journal: str, line: Outcome) -> None:
        """Add an outcome that a person brought about."""
        path = self.shard_file(journal)
        append_line(path, line)
        self.give([path])

    def submissions(self) -> list[dict[str, Any]]:
        """What became of the shards' runs, the last try of each last."""
        self._refresh()
        lines = [x for path in self.root.glob("submissions*.jsonl") for x in read_lines(path)]
        return sorted(
            lines, key=lambda line: (line["shard"], line["try"], bool(line.get("ended")))
        )

    def note_submission(self, line: dict[str, Any]) -> None:
        """Write down that a shard's run was started, or has ended."""
        path = self.root / f"submissions{self._mark()}.jsonl"
        append_line(path, {**line, "time": now()})
        self.give([path])

    def give(self, paths: Iterable[Path]) -> None:
        """Show other hosts files of this batch, if they look into a store."""
        if self.mirror:
            self.mirror.give(paths)

    def fetch(self, files: Mapping[str, str]) -> None:
        """Have files here that another host made: path below the batch's folder to SHA-256."""
        if self.mirror:
            self.mirror.fetch(files)

    def _mark(self) -> str:
        return f"-{self.mirror.place}" if self.mirror else ""

    def _refresh(self, *, now: bool = False) -> None:
        if self.mirror:
            self.mirror.refresh(now=now)

    def _replaced(
        self, before: dict[str, Any], said: dict[str, Any], tag: str, *, items: bool = False
    ) -> bool:
        """Write ``batch.json``; not if another host wrote it since it was taken."""
        signed = self.mirror.signed(before) if self.mirror else {}
        text = json.dumps(said | signed, indent=2, ensure_ascii=False) + "\n"
        if self.mirror and not self.mirror.give_plan(text.encode(), tag, items=items):
            return False
        self._write("batch.json", text)
        return True

    def _write(self, name: str, text: str) -> None:
        from core.records import atomic_path

        with atomic_path(self.root / name, overwrite=True) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _newer(line: Outcome, known: Outcome | None) -> bool:
    """Across files, which of two outcomes came later: each says it came after those it saw."""
    return known is None or line["time"] >= known["time"]


def intact(
    batch: Batch, item: Item, outcome: Outcome | None = None
) -> dict[str, dict[str, str]] | None:
    """The item's files by role if all stand as its record says, here or in the store, else None.

    Args:
        batch: Whose item.
        item: The item.
        outcome: Its last one, if it is known.
    """
    found = _intact_here(batch, item)
    if batch.mirror is None or (found and not _outdated(found, outcome)):
        return found
    if found:  # the record first: it says that the others stand
        (batch.root / found["record"]["path"]).unlink(missing_ok=True)
        for path in batch.results.glob(f"{item.address}-*"):  # its pictures, too
            path.unlink(missing_ok=True)
    return batch.mirror.standing(item.stem, outcome)


def _outdated(found: dict[str, dict[str, str]], outcome: Outcome | None) -> bool:
    """Whether another host put something else in the place of files that stand here still."""
    said = outcome["files"].get("record") if outcome else None
    if outcome is None or said is None:
        return False
    same = said["sha256"] == found["record"]["sha256"]
    return same if outcome["state"] == "rejected" else not same


def _intact_here(batch: Batch, item: Item) -> dict[str, dict[str, str]] | None:
    from flows.jobs.signing import is_as_recorded

    record = batch.results / f"{item.stem}.json"
    try:
        outputs = json.loads(record.read_text(encoding="utf-8"))["outputs"]
        found = {role: batch.results / said["file"] for role, said in outputs.items()}
        if not all(is_as_recorded(path, outputs[role]) for role, path in found.items()):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files_of(batch, {**found, "record": record})


def files_of(batch: Batch, paths: dict[str, Path]) -> dict[str, dict[str, str]]:
    """Files as an outcome names them: path below the batch's folder, and digest."""
    from core.records import sha256_file

    return {
        role: {"path": str(path.relative_to(batch.root)), "sha256": sha256_file(path)}
        for role, path in paths.items()
    }


def gives_out(error: Exception) -> bool:
    """Whether disk or device failed, and not the item; a CUDA error never leaves its process."""
    return getattr(error, "errno", None) in STORE_FAULTS or "CUDA error" in str(error)


def unfinished(outcome: Outcome | None, draws: int = 1) -> bool:
    """Whether an item is still to be made: not if it is made, was refused, or drawn in vain."""
    if outcome is None:
        return True
    if outcome["state"] == "failed":
        return not outcome["error"].startswith(("Refusal", "PolicyRefusal", "ValueError"))
    if "again" in outcome:  # a person rejected it and said what follows
        return outcome["again"]
    return outcome["state"] == "rejected" and outcome["attempt"] < draws
