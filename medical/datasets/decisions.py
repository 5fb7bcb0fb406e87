"""A person's decision on a dataset, written and then said by its report, tables and record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.refusal import Refusal
from medical.datasets.approval import (
    RECORD,
    Answer,
    decide,
    due,
    expire,
    finished,
    status,
    waiting,
)
from medical.datasets.audited import audit_verdict, keep_audit
from medical.datasets.making import finish
from medical.datasets.people import shipped_card
from medical.datasets.request import MRIDatasetRequest
from medical.datasets.standing import REQUEST

OnFault = Callable[[Path, Exception], None]


@dataclass(frozen=True)
class _Standing:
    """All that a report is written from."""

    request: MRIDatasetRequest
    summary: Mapping[str, Any]
    records: list[dict[str, Any]]


def approve(out: Path, answer: Answer) -> dict[str, Any]:
    """Write a person's decision, and have all that tells of the dataset say it.

    Args:
        out: Folder of the dataset.
        answer: What was decided.

    Raises:
        Refusal: There is no finished dataset of this version, or heads are missing from what is
            accepted.
    """
    standing = _standing(out)
    said = decide(out, answer)
    _restate(out, standing)
    return said


def say_audit(out: Path, facts: Mapping[str, Any]) -> bool:
    """Have the report of a drawn dataset tell what an audit found; whether there is one.

    Args:
        out: The folder that was audited.
        facts: What was found.
    """
    if not (out / RECORD).is_file():
        return False
    try:
        standing = _standing(out)
    except Refusal:  # of an earlier version: the page of the audit stands all the same
        return False
    keep_audit(out, facts)
    _restate(out, standing)
    return True


def expire_questions(root: Path, on_fault: OnFault = lambda out, fault: None) -> list[Path]:
    """Write rejections where nobody answered in time, and finish what was left half-said.

    Args:
        root: Folder of outputs.
        on_fault: Told of each dataset that could not be seen to, and why.

    Returns:
        The datasets that are rejected now.
    """
    late = []
    for out in waiting(root):
        try:
            if _seen_to(out):
                late.append(out)
        except Exception as fault:  # the others are seen to all the same
            on_fault(out, fault)
    return late


def _seen_to(out: Path) -> bool:
    """Whether a dataset is rejected now; what its record says is mended where it is not so."""
    late = due(out)
    if not late and finished(out)["approval"] == status(out):
        return False
    standing = _standing(out)
    if late:
        expire(out)
    _restate(out, standing)
    return late


def _standing(out: Path) -> _Standing:
    """A dataset as it was written.

    Raises:
        Refusal: There is none, or its report cannot be written again.
    """
    summary = {k: v for k, v in finished(out).items() if k != "files"}
    asked = json.loads((out / REQUEST).read_text(encoding="utf-8"))
    places = sorted((out / "volumes").glob("sub-*.json"))
    records = [json.loads(place.read_text(encoding="utf-8")) for place in places]
    older = [p.stem for p, one in zip(places, records, strict=True) if "quality" not in one]
    if older:
        raise _of_before(out, f"{', '.join(older[:3])} lack quality")
    try:
        request = MRIDatasetRequest(**{k: v for k, v in asked.items() if k != "key"})
    except ValidationError as error:
        raise _of_before(out, f"{REQUEST} reads otherwise now ({error})") from error
    return _Standing(request, summary, records)


def _of_before(out: Path, words: str) -> Refusal:
    return Refusal(
        f"{out} is of an earlier version, {words}: a decision is written with its report, and "
        "that cannot be written again; draw the dataset anew into another folder."
    )


def _restate(out: Path, standing: _Standing) -> None:
    """Write report, tables and record of a dataset again, its heads as they are."""
    summary: dict[str, Any] = {
        **standing.summary,
        "approval": status(out),
        "audit": audit_verdict(out),
    }
    card = shipped_card() if summary["plan"]["people"] else ""
    finish(standing.request, summary, standing.records, out, card)
