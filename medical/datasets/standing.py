"""Which head of which dataset a file belongs to. Light: whoever asks may not have loaded torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.refusal import Refusal

REQUEST = "request.json"
ASKED = {"key", "count", "contrasts", "formats"}
TABLES = ("files", "contributors")
TOLD = ("versions", "compute", "drawn_from")
DEEPEST = 7
"""Folders between a file of a dataset and the dataset."""


@dataclass(frozen=True)
class StandingHead:
    """A head that stands in a dataset.

    Attributes:
        dataset: The folder.
        asked: The request, and the ``key`` of the plan that followed from it.
        record: Of the head.
    """

    dataset: Path
    asked: Mapping[str, Any]
    record: Mapping[str, Any]

    @property
    def subject(self) -> str:
        """Its name."""
        return str(self.record["subject"])

    @property
    def files(self) -> Mapping[str, str]:
        """Digests of its files, by their place in the dataset."""
        return self.record["files"]


def standing_head(file: Path) -> StandingHead | None:
    """The head that a file of a dataset belongs to, or that a record is of.

    None where it lies in no dataset, or was made by something that left a record of its own.

    Raises:
        Refusal: It is of the dataset and of no single head, or the head's record is damaged.
    """
    file = file.absolute()
    for dataset in [file, *file.parents][: DEEPEST + 1]:
        asked = _table(dataset / REQUEST)
        if asked.keys() >= ASKED:
            break
    else:
        return None
    place = file.relative_to(dataset).as_posix()
    for path in sorted((dataset / "volumes").glob("*.json")):
        record = _table(path)
        if path == file or place in _files(record):
            _check_whole(path, record)
            return StandingHead(dataset, asked, record)
    if "outputs" in _table(file.with_name(f"{file.name.partition('.')[0]}.json")):
        return None
    raise Refusal(
        f"{file.name} belongs to no single head that stands in {dataset.name}: of a dataset one "
        f"head at a time is made again; name {dataset / 'volumes' / 'sub-001.json'}, for instance."
    )


def _files(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Digests of a head's files; none where a record does not tell them."""
    found = record.get("files")
    return found if isinstance(found, dict) else {}


def _check_whole(path: Path, record: Mapping[str, Any]) -> None:
    """Refuse a record of a head that does not tell what is needed to draw it again."""
    kinds = dict.fromkeys(TABLES, dict) | {"subject": str, "attempt": int, "seed": int}
    lacking = [name for name, kind in kinds.items() if not isinstance(record.get(name), kind)]
    lacking += [name for name in TOLD if not isinstance(record.get(name, {}), dict)]
    people = lacking or record["contributors"].get("anatomy")
    if not isinstance(people, dict):
        raise Refusal(
            f"{path} does not tell its {', '.join(lacking) or 'contributors'} as a head's record "
            "does: a head is drawn again from a whole record alone; bring back the file as it "
            "was written."
        )


def _table(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
