"""One head of a dataset drawn again from its record, and held against the files that stand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.progress import counted
from core.records import sha256_file
from core.refusal import Refusal
from medical.audit.keys import read_key
from medical.datasets.making import RECORD, Maker
from medical.datasets.own_people import OwnHeads
from medical.datasets.plan import Planned
from medical.datasets.publishing import publish
from medical.datasets.request import MRIDatasetRequest
from medical.datasets.standing import StandingHead
from medical.datasets.volumes import draw_volume
from medical.files.nifti import read_volume

UNTOLD = "unknown"


@dataclass(frozen=True)
class DrawnAgain:
    """How a head that was drawn again compares with the one that stands.

    Attributes:
        same: Whether every file has the same bytes.
        words: The finding in one line.
        notes: What is not as it was when the head was drawn.
    """

    same: bool
    words: str
    notes: tuple[str, ...]


def ground_of(head: StandingHead, sources: Path | None = None) -> Maker:
    """What a head followed from, as it stands today.

    Args:
        head: In its dataset.
        sources: Where the people of the dataset's own are now; by default where they were.

    Raises:
        Refusal: They, the model or the lesions are not what the head was drawn from.
    """
    asked = {name: value for name, value in head.asked.items() if name != "key"}
    if asked.get("sources"):
        asked["sources"] = str(_people_of(head, sources))
    maker = Maker.planned(MRIDatasetRequest.remembered(asked))
    if maker.plan.key != head.asked["key"]:
        raise Refusal(
            f"{head.subject} of {head.dataset.name} cannot be drawn again: "
            f"{_what_changed(head, maker)}: only what a head was drawn from makes it again; "
            f"install Lamina {_version_of(head)}, or bring back what went."
        )
    if isinstance(maker.heads, OwnHeads):
        maker.heads.map_people()
    return maker


def draw_again(head: StandingHead, maker: Maker, folder: Path) -> DrawnAgain:
    """Draw a head again into an empty folder, and compare every file.

    Args:
        head: In its dataset.
        maker: What it follows from.
        folder: Where files are written, as they stand in the dataset.

    Raises:
        Refusal: The plan has no such head.
    """
    planned = _planned(head, maker)
    attempt = int(head.record["attempt"])
    notes = _notes(head, maker)
    drawn = draw_volume(maker.request, maker.plan, planned, attempt, maker.heads, maker.atlas)
    made = publish(maker, planned, drawn, folder)["files"]
    lacking = sorted(head.files.keys() ^ made.keys())
    apart = [f"{name} (only {'then' if name in head.files else 'now'})" for name in lacking]
    for name in sorted(head.files.keys() & made.keys()):
        stands = head.dataset / name
        then = sha256_file(stands) if stands.is_file() else head.files[name]
        if made[name] != then:
            apart.append(f"{name}{_how_far(stands, folder / name)}")
    files = counted(len(made), "file")
    if apart:
        return DrawnAgain(False, f"different: {len(apart)} of {files}: {'; '.join(apart)}", notes)
    return DrawnAgain(True, f"identical: every bit of {files}", notes)


def _planned(head: StandingHead, maker: Maker) -> Planned:
    """The head's place in the plan."""
    found = [each for each in maker.plan.volumes if each.subject == head.subject]
    if not found:
        raise Refusal(
            f"{head.subject} is in a record of {head.dataset.name} and not among the "
            f"{counted(len(maker.plan.volumes), 'head')} of its plan: only planned heads are "
            "drawn again; bring back the record as it was written."
        )
    return found[0]


def _people_of(head: StandingHead, sources: Path | None) -> Path:
    """The folder of a dataset's own people."""
    key = read_key(head.dataset)
    folder = sources or (Path(key.folder) if key else None)
    if folder is None:
        raise Refusal(
            f"{head.dataset.name} was drawn from people of your own, and the key that says where "
            "they stand is not beside it: a head is drawn again from the same people; name "
            "their folder with --inputs."
        )
    here = {key.hash_of(path.name) for path in folder.glob("sub-*")} if key else set[str]()
    behind = head.record["contributors"]["anatomy"].keys()
    if not folder.is_dir():
        raise Refusal(
            f"{folder}, from whose people {head.dataset.name} was drawn, is not there: a head is "
            "drawn again from the same people; name their folder with --inputs."
        )
    if key and (gone := len(behind - here)):
        raise Refusal(
            f"{gone} of {counted(len(behind), 'person', 'people')} behind {head.subject} are not "
            f"in {folder} any more: a head is drawn again from the same people; whoever withdrew "
            "is found by lamina mri withdraw, and their heads are to be destroyed."
        )
    return folder


def _what_changed(head: StandingHead, maker: Maker) -> str:
    """Why the plan is another, as far as the record tells."""
    if isinstance(maker.heads, OwnHeads):
        return f"the scans, ages or sexes in {maker.heads.key.folder} are not those of then"
    then = head.record.get("drawn_from", {})
    now = maker.facts["drawn_from"]
    names = {"heads": "the model that heads are drawn with", "lesion_atlas": "the lesion atlas"}
    other = [
        f"{words} is {now[name][:12]} and was {str(then[name])[:12]}"
        for name, words in names.items()
        if name in then and then[name] != now[name]
    ]
    return " and ".join(other) or (
        "the model, its people, the lesion atlas or the way of planning are not those of then"
    )


def _version_of(head: StandingHead) -> str:
    """The version of Lamina that drew the dataset."""
    try:
        summary = json.loads((head.dataset / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        summary = {}
    return str(head.record.get("versions", summary).get("lamina", summary.get("version", UNTOLD)))


def _notes(head: StandingHead, maker: Maker) -> tuple[str, ...]:
    """What is not as it was: files, libraries, arithmetic."""
    notes, now = list[str](), maker.facts
    for name, digest in head.files.items():
        path = head.dataset / name
        if not path.is_file():
            notes.append(f"{name} has gone; its recorded digest is compared with")
        elif sha256_file(path) != digest:
            notes.append(f"{name} was changed after it was recorded")
    for chapter in ("versions", "compute"):
        then: Mapping[str, Any] = head.record.get(chapter, {})
        if not then:
            notes.append(f"the record does not tell its {chapter}; today's are taken")
        notes += [
            f"{name} {then[name]} then, {now[chapter].get(name, UNTOLD)} now"
            for name in then
            if then[name] != now[chapter].get(name, UNTOLD)
        ]
    return tuple(notes)


def _how_far(stands: Path, made: Path) -> str:
    """How far two images are apart; nothing for what is none, or is not there."""
    if not stands.is_file() or not made.name.endswith(".nii.gz"):
        return ""
    try:
        then, now = (read_volume(path).data.numpy() for path in (stands, made))
    except ValueError:
        return " (cannot be read)"
    if then.shape != now.shape:
        return f" ({then.shape} then, {now.shape} now)"
    off = np.abs(then.astype(np.float64) - now)
    return f" ({(off > 0).mean():.3%} of the voxels, by up to {off.max():.4g})"
