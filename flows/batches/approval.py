"""A person's word on a batch: what was shown, under which numbers, and what follows from it.

What is asked is written down before it is shown, so that a number means the same item however
long the answer takes. The decision, ``approval.json`` in the batch's folder, is written last: it
says that everything else about it is done.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.refusal import Refusal
from core.storage.journal import append_line, now
from flows.batches.derivatives import renew_derivatives
from flows.batches.ledger import ENDED, Batch, Outcome

FORMAT_VERSION = 1
MOST_SHOWN = 24
SHORTEST_ADDRESS = 6
Decision = Literal["accept", "reject"]


@dataclass(frozen=True)
class Question:
    """What a person is asked about.

    Attributes:
        asked: When, as ISO time.
        items: Addresses of the made items; number 1 is the first.
        titles: What each shall show.
    """

    asked: str
    items: list[str]
    titles: list[str]

    @property
    def shown(self) -> list[int]:
        """Numbers of the items on the sheet, spread over all."""
        count = len(self.items)
        most = min(MOST_SHOWN, count)
        return [1 + place * count // most for place in range(most)]

    def named(self, text: str, field: str = "rejected") -> list[str]:
        """The addresses that a person named: ``3, 5-7``, or an address's first digits.

        Args:
            text: What was named.
            field: Where, for a complaint.

        Raises:
            Refusal: There is no such item.
        """
        found: list[str] = []
        for word in re.split(r"[\s,;]+", text.strip()):
            found += self._meant(word, field) if word else []
        return list(dict.fromkeys(found))

    def _meant(self, word: str, field: str) -> list[str]:
        if len(word) >= SHORTEST_ADDRESS and "-" not in word:
            meant = [item for item in self.items if item.startswith(word)]
        elif span := re.fullmatch(r"(\d+)(?:-(\d+))?", word):
            first, last = int(span[1]), int(span[2] or span[1])
            meant = self.items[first - 1 : last] if 0 < first <= last <= len(self.items) else []
        else:
            meant = []
        if not meant:
            raise Refusal(
                f"{field}={word}: items are named by their numbers on the sheet, 1 to "
                f"{len(self.items)}, such as 3, 5-7, or by the first {SHORTEST_ADDRESS} signs of "
                "their address; correct it."
            )
        return meant


@dataclass(frozen=True)
class Answer:
    """What a person said.

    Attributes:
        decision: On the batch; single items may be rejected although it is accepted.
        by: Who says so.
        note: Why.
        rejected: Addresses.
        again: Whether rejected clips are drawn again.
    """

    decision: Decision
    by: str
    note: str
    rejected: list[str]
    again: bool


def ask(batch: Batch, run: str) -> Question:
    """The question of a run, written down the first time, with its sheet beside it.

    Raises:
        Refusal: The batch is under way, or holds nothing to look at.
    """
    from core.records import atomic_path
    from flows.batches.sheet import picture_of

    path = _folder(batch) / f"{run}.json"
    batch.fetch({f"approvals/{name}": "" for name in (path.name, sheet_path(batch, run).name)})
    if path.exists():
        return Question(**json.loads(path.read_text(encoding="utf-8")))
    if (state := batch.state()) not in ENDED:
        raise Refusal(
            f"{batch.root.name} is {state}: a batch is judged when it has ended; wait, or cancel "
            "it first."
        )
    known = batch.outcomes()
    made = [item for item, _ in batch.items() if _made(known.get(item.address))]
    if not made:
        raise Refusal(
            f"{batch.root.name} holds no result: there is nothing to judge; see `lamina batch "
            f"status {batch.root.name} --failed`."
        )
    titles = [getattr(item.request, "prompt", Path(item.row).name) for item in made]
    question = Question(now(), [item.address for item in made], titles)
    files = [known[question.items[number - 1]]["files"] for number in question.shown]
    with atomic_path(sheet_path(batch, run), overwrite=True) as temporary:
        temporary.write_text(picture_of(batch, files, question.shown), encoding="ascii")
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(vars(question), ensure_ascii=False), encoding="utf-8")
    batch.give([sheet_path(batch, run), path])
    return question


def sheet_path(batch: Batch, run: str) -> Path:
    """The sheet of a question, as a data URI."""
    return _folder(batch) / f"{run}.uri"


def decide(batch: Batch, run: str, question: Question, answer: Answer) -> dict[str, Any]:
    """Do what was decided and write it down; once, however often this is called."""
    from core.records import atomic_path

    path = batch.root / "approval.json"
    batch.fetch({"approval.json": ""})
    if path.exists() and (said := json.loads(path.read_text(encoding="utf-8")))["run"] == run:
        return said
    rejected = set(question.items if answer.decision == "reject" else answer.rejected)
    known = batch.outcomes()
    for address in question.items:
        if address in rejected and _made(known.get(address)):
            _reject(batch, known[address], answer)
    if rejected:
        renew_derivatives(batch)
    titles = dict(zip(question.items, question.titles, strict=True))
    said = {
        "format_version": FORMAT_VERSION,
        "project": batch.root.parent.parent.name,
        "batch": batch.root.name,
        "decision": answer.decision,
        "by": answer.by,
        "note": answer.note,
        "asked": question.asked,
        "decided": now(),
        "run": run,
        "again": answer.again,
        "accepted": {
            address: known[address]["files"]["record"]["sha256"]
            for address in question.items
            if address not in rejected and _made(known.get(address))
        },
        "rejected": {address: titles[address] for address in titles if address in rejected},
    }
    told = {name: value for name, value in said.items() if name != "accepted"}
    journal = _folder(batch) / batch.shard_file("decisions").name
    append_line(journal, told)
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(said, indent=1, ensure_ascii=False), encoding="utf-8")
    batch.give([journal, path])
    return said


def _reject(batch: Batch, outcome: Outcome, answer: Answer) -> None:
    """Take an item out of the results, its record first, and say so in the manifest."""
    place = Path("rejected", f"draw-{outcome['attempt']}")
    (batch.root / place).mkdir(parents=True, exist_ok=True)
    moved: dict[str, dict[str, str]] = {}
    for role in sorted(outcome["files"], key=lambda role: role != "record"):
        said = outcome["files"][role]
        target = place / Path(said["path"]).name
        if (batch.root / said["path"]).exists():
            os.replace(batch.root / said["path"], batch.root / target)
        if batch.mirror:
            batch.mirror.move(said["path"], target.as_posix())
        moved[role] = {**said, "path": target.as_posix()}
    reason = f"rejected by {answer.by}" + (f": {answer.note}" if answer.note else "")
    line = {**outcome, "state": "rejected", "files": moved, "seconds": 0.0, "sample_s": 0.0}
    line |= {"again": answer.again, "time": now(outcome["time"]), "error": reason}
    batch.note("approval", line)


def _made(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome["state"] == "made"


def _folder(batch: Batch) -> Path:
    folder = batch.root / "approvals"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
