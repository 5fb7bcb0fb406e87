"""A batch on disk: its request, its items, and what became of each, in plain JSON lines.

``batch.json`` says what was asked and how things stand, ``items.jsonl`` what each item is and
which shard makes it, ``shards/NNNN.jsonl`` what became of it: lines are only ever appended, each
flushed to the disk, and the last one of an item counts. Results stand in ``results``; an item's
record is written last and says that the item is whole. This folder, and not the server, is the
truth about a batch.
"""

import errno
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows._batch_items import Item
from flows._batch_requests import NAME, BatchRequest, ClipBatchRequest, ScanBatchRequest
from flows._journal import held, read_lines
from flows._settings import Settings

FORMAT_VERSION = 1
STATES = ("planned", "running", "paused", "finished", "cancelled", "stopped")
STORE_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE)
Outcome = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """The folder of one batch."""

    root: Path

    @classmethod
    def named(cls, settings: Settings, project: str, name: str) -> "Batch":
        """The batch of that name, which need not exist yet.

        Raises:
            ValueError: A name could lead out of its folder.
        """
        for role, word in {"project": project, "batch": name}.items():
            if not re.fullmatch(NAME, word):
                raise ValueError(
                    f"{role}={word!r}: a name has lower case letters, digits and single dashes; "
                    "choose such a name."
                )
        return cls(settings.outputs / project / "batches" / name)

    @property
    def results(self) -> Path:
        """Where the items' files stand."""
        return self.root / "results"

    def exists(self) -> bool:
        """Whether it was planned; not if its folder does not answer."""
        with suppress(OSError):
            return (self.root / "batch.json").is_file()
        return False

    def read(self) -> dict[str, Any]:
        """What ``batch.json`` says.

        Raises:
            ValueError: There is no such batch, or another release wrote it.
        """
        try:
            said = json.loads((self.root / "batch.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ValueError(
                f"{self.root.name}: there is no such batch in {self.root.parent}; see "
                "`lamina batch status`."
            ) from error
        if said.get("format_version") != FORMAT_VERSION:
            raise ValueError(
                f"{self.root} has format_version {said.get('format_version')!r}: this release "
                f"reads {FORMAT_VERSION}; use the release that planned it or another name."
            )
        return said

    def request(self) -> BatchRequest:
        """What was asked."""
        said = self.read()
        model = ClipBatchRequest if said["kind"] == "video" else ScanBatchRequest
        return model.model_validate(said["request"])

    def state(self) -> str:
        """One of ``STATES``."""
        return self.read()["state"]

    def change(self, *, only_from: tuple[str, ...] = STATES, **fields: Any) -> bool:
        """Change fields of ``batch.json``; whether its state was one of ``only_from``."""
        self.read()  # there is such a batch
        with held(self.root / "batch.json.lock"):
            said = self.read()
            if said["state"] not in only_from:
                return False
            self._replace("batch.json", [said | fields], indent=2)
            return True

    def create(self, said: dict[str, Any], items: list[tuple[Item, int]]) -> None:
        """Write items and ``batch.json``, the latter last; over what stood there."""
        for folder in (self.root, self.root / "shards", self.results):
            folder.mkdir(parents=True, exist_ok=True)
        self._replace("items.jsonl", [item.line() | {"shard": shard} for item, shard in items])
        with held(self.root / "batch.json.lock"):
            self._replace("batch.json", [{"format_version": FORMAT_VERSION, **said}], indent=2)

    def items(self, shard: int | None = None) -> list[tuple[Item, int]]:
        """The items with their shards, or those of one shard."""
        lines = read_lines(self.root / "items.jsonl")
        return [(Item.of_line(x), x["shard"]) for x in lines if shard in (None, x["shard"])]

    def outcomes(self) -> dict[str, Outcome]:
        """The last outcome of every item that has one."""
        found: dict[str, Outcome] = {}
        for path in sorted((self.root / "shards").glob("*.jsonl")):
            last = {line["item"]: line for line in read_lines(path)}
            found |= {x: line for x, line in last.items() if _newer(line, found.get(x))}
        return found

    def shard_file(self, shard: int) -> Path:
        """The outcomes of one shard."""
        return self.root / "shards" / f"{shard:04d}.jsonl"

    def _replace(self, name: str, values: list[dict[str, Any]], indent: int | None = None) -> None:
        from core.records import atomic_path

        lines = (json.dumps(value, indent=indent, ensure_ascii=False) + "\n" for value in values)
        with atomic_path(self.root / name, overwrite=True) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")


def _newer(line: Outcome, known: Outcome | None) -> bool:
    """Across files, which of two outcomes came later: each says it came after those it saw."""
    return known is None or line["time"] >= known["time"]


def intact(batch: Batch, item: Item) -> dict[str, dict[str, str]] | None:
    """The item's files by role if all stand as its record says, else None."""
    from core.records import sha256_file

    record = batch.results / f"{item.stem}.json"
    try:
        outputs = json.loads(record.read_text(encoding="utf-8"))["outputs"]
        found = {role: batch.results / said["file"] for role, said in outputs.items()}
        if any(sha256_file(path) != outputs[role]["sha256"] for role, path in found.items()):
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
        return not outcome["error"].startswith("ValueError")
    if "again" in outcome:  # a person rejected it and said what follows
        return outcome["again"]
    return outcome["state"] == "rejected" and outcome["attempt"] < draws
