"""A person's word on a dataset, and what silence means: no answer in time is a rejection.

A question is written down with its deadline before anybody is asked. The decision stands in
``approval.json``; report, tables and record of the dataset say it, too.
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
    """``unapproved``, ``approved`` or ``rejected``."""
    path = out / DECISION
    if not path.is_file():
        return UNAPPROVED
    return STATES[json.loads(path.read_text(encoding="utf-8"))["decision"]]


def ask(out: Path, hours: float, now: datetime | None = None) -> dict[str, Any]:
    """The question about a dataset, written down the first time.

    Args:
        out: Folder of the dataset.
        hours: How long an answer may take.
        now: When it is asked.

    Raises:
        Refusal: There is no finished dataset.
    """
    _check(out)
    path = out / QUESTION
    if not path.is_file():
        begun = now or datetime.now(UTC)
        until = begun + timedelta(hours=hours)
        write_json(path, {"asked": begun.isoformat(), "until": until.isoformat()})
    return json.loads(path.read_text(encoding="utf-8"))


def decide(out: Path, answer: Answer, now: datetime | None = None) -> dict[str, Any]:
    """Write a decision, and have report, tables and record say it; what was written.

    Args:
        out: Folder of the dataset.
        answer: What was decided.
        now: When.

    Raises:
        Refusal: There is no finished dataset, or heads are missing from what is accepted.
    """
    summary = _check(out)
    if answer.decision == "accept" and summary["missing"]:
        raise Refusal(
            f"{out} lacks {', '.join(summary['missing'])}: a dataset is accepted when all heads "
            "passed; reject it, or ask for another seed."
        )
    said = {
        "decision": answer.decision,
        "by": answer.by,
        "note": answer.note,
        "decided": (now or datetime.now(UTC)).isoformat(),
        "heads": {p.stem: sha256_file(p) for p in sorted((out / "volumes").glob("*.json"))},
    }
    write_json(out / DECISION, said)
    return said


def expire(out: Path, now: datetime | None = None) -> bool:
    """Write a rejection where nobody answered in time; whether it was written."""
    path = out / QUESTION
    if not path.is_file() or (out / DECISION).is_file():
        return False
    until = json.loads(path.read_text(encoding="utf-8"))["until"]
    if (now or datetime.now(UTC)) < datetime.fromisoformat(until):
        return False
    decide(out, Answer("reject", NOBODY, f"no answer until {until}"), now)
    return True


def waiting(root: Path) -> Iterator[Path]:
    """Datasets below a folder of outputs whose question is open."""
    for question in sorted(root.glob(f"*/augment_mri_dataset/*/{QUESTION}")):
        if not (question.parent / DECISION).is_file():
            yield question.parent


def _check(out: Path) -> dict[str, Any]:
    path = out / RECORD
    if not path.is_file():
        raise Refusal(
            f"{out} holds no {RECORD}: a person judges a dataset that is finished; name the "
            "folder that it was drawn into."
        )
    return json.loads(path.read_text(encoding="utf-8"))
