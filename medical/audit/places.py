"""Which files of a dataset are audited, and what its records say of who contributed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.progress import counted
from core.records import sha256_file
from core.refusal import Refusal
from medical.audit.seen import Seen, see, seen_labels
from medical.files.bids import DERIVATIVE
from medical.files.container import SUFFIXES
from medical.files.nifti import read_volume

PATTERNS = ("sub-*/anat/sub-*_T1w.*", "sub-*/ses-*/anat/sub-*_T1w.*")
LABELS = (
    f"{DERIVATIVE}/sub-*/anat/sub-*_dseg.*",
    f"{DERIVATIVE}/sub-*/ses-*/anat/sub-*_dseg.*",
)
LATER = "longitudinal"
"""What a record tells of a drawn head's sessions: they are of one anatomy, so one is held."""


@dataclass(frozen=True)
class HeadFile:
    """A head to be looked at: its name, its file, whether that holds labels alone."""

    name: str
    path: Path
    labels: bool = False

    def see(self) -> Seen:
        """The head."""
        if self.labels:
            return seen_labels(read_volume(self.path), self.name)
        return see(self.path, self.name)


def root_of(dataset: Path) -> Path:
    """The BIDS folder of a dataset: itself, or the one that was drawn into it."""
    return dataset / "bids" if (dataset / "bids").is_dir() else dataset


def heads_of(dataset: Path) -> list[HeadFile]:
    """All heads of a dataset.

    Raises:
        Refusal: There are none.
    """
    root, twice = root_of(dataset), _later_sessions(dataset)
    found = _volumes(root, PATTERNS)
    heads = [HeadFile(path.name.split("_T1w")[0], path) for path in found]
    if not heads:
        labels = _volumes(root, LABELS)
        heads = [HeadFile(path.name.split("_dseg")[0], path, labels=True) for path in labels]
    if not heads:
        raise Refusal(
            f"{dataset} holds no sub-*/anat/sub-*_T1w.nii.gz and no tissue labels in "
            f"{DERIVATIVE}: heads are held against people by their anatomy, which is read from "
            "T1-weighted images; name a BIDS folder that has them."
        )
    return [head for head in heads if head.name not in twice]


def people_of(folder: Path, least: int) -> list[HeadFile]:
    """One head of each person of a BIDS folder.

    Raises:
        Refusal: They are too few to say what strangers look like.
    """
    first: dict[str, HeadFile] = {}
    for path in _volumes(folder, PATTERNS):
        name = path.name.split("_")[0]
        first.setdefault(name, HeadFile(name, path))
    if len(first) < least:
        raise Refusal(
            f"against={folder} holds T1-weighted heads of "
            f"{counted(len(first), 'person', 'people')}: what strangers "
            f"look like is learned from {least} or more; name a BIDS folder with more people."
        )
    return [first[name] for name in sorted(first)]


def further_heads(folder: Path) -> str:
    """What ``people_of`` leaves out, in a sentence; empty for nothing."""
    more = len(_volumes(folder, PATTERNS)) - len(people_of(folder, 0))
    if not more:
        return ""
    return f"of each person of {folder} one head is held: {counted(more, 'other')} left out"


def _volumes(root: Path, patterns: Sequence[str]) -> list[Path]:
    """NIfTI files, in the order of the patterns."""
    found = [path for pattern in patterns for path in sorted(root.glob(pattern))]
    return [path for path in found if path.name.lower().endswith(SUFFIXES)]


def evenly(heads: Sequence[HeadFile], most: int) -> list[HeadFile]:
    """So many of a list, evenly spread over it."""
    count = min(most, len(heads))
    return [heads[k * len(heads) // count] for k in range(count)]


def root_of_records(dataset: Path) -> Path:
    """The folder that a dataset was drawn into, also where its BIDS folder is named."""
    beside = dataset.resolve().name == "bids" and not (dataset / "volumes").is_dir()
    return dataset.resolve().parent if beside else dataset


def contributors(dataset: Path) -> dict[str, Mapping[str, float]]:
    """By head, the people whom records name behind its anatomy; empty without records.

    Records stand in the folder that a dataset was drawn into; its BIDS folder leads there, too.
    """
    found = {}
    for record in _records(dataset):
        found[record["subject"]] = people = record["contributors"]["anatomy"]
        found |= dict.fromkeys(_sessions(record), people)
    return found


def _later_sessions(dataset: Path) -> set[str]:
    """Names of all sessions of drawn heads but their first."""
    return {name for record in _records(dataset) for name in _sessions(record)[1:]}


def _sessions(record: Mapping[str, Any]) -> list[str]:
    sessions = sorted(record.get(LATER, {}).get("sessions", ()))
    return [f"{record['subject']}_{session}" for session in sessions]


def _records(dataset: Path) -> Iterator[Mapping[str, Any]]:
    for path in sorted((root_of_records(dataset) / "volumes").glob("sub-*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def digest_of(heads: Sequence[HeadFile]) -> str:
    """One digest of the names and bytes of heads, in their order; empty for none."""
    lines = [f"{head.name} {sha256_file(head.path)}" for head in heads]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""
