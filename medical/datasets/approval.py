"""A person's word on a dataset, and what silence means: no answer in time is a rejection.

A question is written down with its deadline before anybody is asked. The decision stands in
``approval.json``, with those before it; report, tables and record of the dataset say it, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from core.records import sha256_file
from core.refusal import Refusal
from medical.files.bids import write_json

DECISION, QUESTION, RECORD, REQUEST = (
    "approval.json", "question.json", "dataset.json", "request.json",
)  # fmt: skip
UNAPPROVED = "unapproved"
STATES = {"accept": "approved", "reject": "rejected"}
NOBODY = "nobody"


@dataclass(frozen=True)
class Answer:
    """What was decided.

    Attributes:
        decision: On the dataset as a whole.
        by: Who says so.
        note: Why.
    """

    decision: Literal["accept", "reject"]
    by: str
    note: str = ""


def status(out: Path) -> str:
    """``unapproved``, ``approved`` or ``rejected``; heads that changed are not approved."""
    said = decided(out)
    if not said or (said["decision"] == "accept" and said["heads"] != _digests(out)):
        return UNAPPROVED
    return STATES[said["decision"]]


def decided(out: Path) -> dict[str, Any]:
    """The decision that stands, as it was written; empty for none."""
    path = out / DECISION
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def ask(out: Path, hours: float, now: datetime | None = None) -> dict[str, Any]:
    """The question about a dataset, written down the first time.

    Args:
        out: Folder of the dataset.
        hours: How long an answer may take.
        now: When it is asked.

    Raises:
        Refusal: There is no finished dataset.
    """
    finished(out)
    path = out / QUESTION
    if not path.is_file():
        begun = now or datetime.now(UTC)
        until = begun + timedelta(hours=hours)
        write_json(path, {"asked": begun.isoformat(), "until": until.isoformat()})
    return json.loads(path.read_text(encoding="utf-8"))


def decide(out: Path, answer: Answer, now: datetime | None = None) -> dict[str, Any]:
    """Write a decision; what was written, with the decisions before it under ``earlier``.

    An answer that comes after the deadline finds the rejection that silence means. The same
    answer twice is one.

    Args:
        out: Folder of the dataset.
        answer: What was decided.
        now: When.

    Raises:
        Refusal: There is no finished dataset, or heads are missing from what is accepted.
    """
    summary = finished(out)
    if answer.decision == "accept" and summary["missing"]:
        raise Refusal(
            f"{out} lacks {', '.join(summary['missing'])}: a dataset is accepted when all heads "
            "passed; reject it, or ask for another seed."
        )
    if answer.by != NOBODY:
        expire(out, now)
    said = {"decision": answer.decision, "by": answer.by, "note": answer.note}
    heads, before = _digests(out), decided(out)
    if before and {**before, **said, "heads": heads} == before:
        return before
    said = {**said, "decided": (now or datetime.now(UTC)).isoformat(), "heads": heads}
    if before:
        said["earlier"] = [*before.pop("earlier", []), before]
    write_json(out / DECISION, said)
    return said


def due(out: Path, now: datetime | None = None) -> bool:
    """Whether a question is open whose time is over."""
    path = out / QUESTION
    if not path.is_file() or (out / DECISION).is_file():
        return False
    until = json.loads(path.read_text(encoding="utf-8"))["until"]
    return (now or datetime.now(UTC)) >= datetime.fromisoformat(until)


def expire(out: Path, now: datetime | None = None) -> bool:
    """Write a rejection where nobody answered in time; whether it was written."""
    if not due(out, now):
        return False
    until = json.loads((out / QUESTION).read_text(encoding="utf-8"))["until"]
    decide(out, Answer("reject", NOBODY, f"no answer until {until}"), now)
    return True


def waiting(root: Path) -> Iterator[Path]:
    """Datasets below a folder of outputs whose question is open or whose decision is not said."""
    for question in sorted(root.glob(f"*/augment_mri_dataset/*/{QUESTION}")):
        if not _said(question.parent):
            yield question.parent


def _said(out: Path) -> bool:
    """Whether a decision stands and the record of the dataset says it."""
    try:
        return bool(decided(out)) and finished(out)["approval"] == status(out)
    except (OSError, ValueError, KeyError):  # Refusal among them: whoever sees to it tells
        return False


def _digests(out: Path) -> dict[str, str]:
    """Digests of the records of heads, which hold those of their files."""
    return {p.stem: sha256_file(p) for p in sorted((out / "volumes").glob("*.json"))}


def finished(out: Path) -> dict[str, Any]:
    """The record of a dataset.

    Raises:
        Refusal: It is not finished.
    """
    path = out / RECORD
    if not path.is_file():
        raise Refusal(
            f"{out} holds no {RECORD}: a person judges a dataset that is finished; name the "
            "folder that it was drawn into."
        )
    return json.loads(path.read_text(encoding="utf-8"))
