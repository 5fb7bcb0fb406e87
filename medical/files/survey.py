"""Which files of a folder are scans to restore, and why each other one is left out.

Nothing is left out in silence: whatever looks like a scan is either taken or has a reason.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.progress import counted
from core.refusal import Refusal
from medical.files.bids_derivatives import derived_path
from medical.files.bidsignore import read_ignored
from medical.files.container import (
    ARCHIVES,
    SUFFIXES,
    is_folder,
    looks_like_scan,
    points_elsewhere,
    scan_name,
)

OWN_MAPS = ("_std", "_consistency")
NOT_RAW = ("derivatives", "sourcedata", "code")
USUAL = ("T1w",)
SAME = {"PD": "PDw"}
SHOWN = 20  # paths of one reason that a plan names

ABSENT = "its link leads nowhere, so fetch it (datalad get, git annex get) or remove it"
APPLE = "a ._ file of macOS, which holds no scan"
HIDDEN = "a hidden file"
OWN = "an uncertainty or consistency map of a result"
FORMAT = "not NIfTI, so convert it to .nii.gz"
ARCHIVE = "an archive, so unpack it"
FOLDER = "a folder, not a file"
NO_FILE = "a pipe, device or socket, not a file"
PACKED = "the same scan is taken as .nii.gz"
IGNORED = "named by .bidsignore"
OTHER = "another suffix than"
ENTITIES = "without the entities asked for:"
OUTSIDE = "not below a sub-* folder of the dataset"
TREE = f"no part of the raw dataset ({', '.join(NOT_RAW)})"
SUBFOLDER = "in a subfolder, and of a folder that is no BIDS dataset only its own files are taken"
CLASH = "restored, but not in the derivative dataset, where another scan's result has its name"
UNASKED = "of a subject that was not asked for"


@dataclass(frozen=True)
class Wanted:
    """Which images are asked for.

    Attributes:
        subjects: BIDS labels, with or without ``sub-``; empty for all.
        suffixes: Of images of a BIDS dataset.
        entities: Such as ``ses-01``; values of one entity are alternatives.
    """

    subjects: Sequence[str] = ()
    suffixes: Sequence[str] = USUAL
    entities: Sequence[str] = ()

    def unfit(self, inside: Path) -> str:
        """Why an image below the dataset's folder is not asked for; empty if it is."""
        suffix = scan_name(inside.name).rpartition("_")[2]
        if SAME.get(suffix, suffix) not in {SAME.get(name, name) for name in self.suffixes}:
            return f"{OTHER} {' or '.join(self.suffixes)}"
        return self.without(inside)

    def without(self, inside: Path) -> str:
        """The same by entities alone."""
        parts = [*inside.parts[:-1], *scan_name(inside.name).split("_")]
        has = {_entity(part) for part in parts if "-" in part}
        asked = defaultdict[str, set[tuple[str, str]]](set)
        for word in self.entities:
            key, value = _entity(word)
            asked[key].add((key, value))
        if all(has & values for values in asked.values()):
            return ""
        return f"{ENTITIES} {' '.join(self.entities)}"


def _entity(part: str) -> tuple[str, str]:
    """Key and value of ``run-01``; numbers without their zeros ahead."""
    key, _, value = part.partition("-")
    return key, value.lstrip("0") or "0" if value.isdecimal() else value


@dataclass(frozen=True)
class Survey:
    """What a folder holds.

    Attributes:
        folder: Where.
        taken: The scans, sorted by path.
        left_out: Every other file that looks like one, with the reason.
    """

    folder: Path
    taken: list[Path]
    left_out: dict[Path, str]

    def says(self) -> list[str]:
        """What is left out and why, one line a reason."""
        by_reason = defaultdict[str, list[str]](list)
        for path, reason in sorted(self.left_out.items()):
            by_reason[reason].append(str(path.relative_to(self.folder)))
        return [f"{_listed(names)}: {reason}" for reason, names in by_reason.items()]

    def restored_says(self) -> list[str]:
        """The same, and which results clash by name in a derivative dataset."""
        first: dict[Path, Path] = {}
        inside = [path.relative_to(self.folder) for path in self.taken]
        named = {path: derived_path(path, "result") for path in inside if len(path.parts) > 1}
        clashes = [
            str(path)
            for path, name in named.items()
            if name and first.setdefault(name, path) != path
        ]
        return [*self.says(), *([f"{_listed(clashes)}: {CLASH}"] if clashes else [])]


def survey(folder: Path, wanted: Wanted | None = None) -> Survey:
    """What a folder holds: a BIDS dataset, or NIfTI files side by side.

    Of a BIDS dataset ``sub-*/**/*_SUFFIX.nii[.gz]`` are taken, linked folders and all sessions
    included, and what ``.bidsignore`` names is not.

    Args:
        folder: The dataset or the folder.
        wanted: Which images; by default every T1-weighted one.

    Raises:
        Refusal: There is no such folder, no scan in it, or none of a subject.
    """
    folder, wanted = folder.expanduser().resolve(), wanted or Wanted()
    if not folder.is_dir():
        raise Refusal(
            f"scans={folder}: there is no such folder; name a BIDS dataset or a folder of NIfTI "
            "files by its full path."
        )
    subject_folders = any(path.is_dir() for path in folder.glob("sub-*"))
    found = _dataset(folder, wanted) if subject_folders else _plain(folder, wanted)
    if not found.taken and subject_folders:  # of which none holds a scan to take
        beside = _plain(folder, wanted)
        found = beside if beside.taken else found
    found = _of_subjects(found, {f"sub-{name.removeprefix('sub-')}" for name in wanted.subjects})
    if not found.taken:
        reasons = f" ({'; '.join(found.says())})" if found.left_out else ""
        raise Refusal(
            f"scans={folder}: it holds neither sub-*/*{_either(wanted)} nor NIfTI files that can "
            f"be taken{reasons}; point to a BIDS dataset or to the folder of the scans."
        )
    return found


def _either(wanted: Wanted) -> str:
    return " or ".join(f"_{suffix}.nii.gz" for suffix in wanted.suffixes)


def _dataset(folder: Path, wanted: Wanted) -> Survey:
    ignored = read_ignored(folder / ".bidsignore")
    taken, left_out = list[Path](), dict[Path, str]()
    for path in _walk(folder, frozenset()):
        inside = path.relative_to(folder)
        if path.name in NOT_RAW and path.is_dir():
            reason = TREE
        elif not inside.parts[0].startswith("sub-") or len(inside.parts) == 1:
            reason = OUTSIDE
        elif ignored(inside.as_posix()):
            reason = IGNORED
        else:
            reason = _unfit(path) or wanted.unfit(inside)
        if reason:
            left_out[path] = reason
        else:
            taken.append(path)
    packed = {path.with_name(scan_name(path.name)) for path in taken if _packed(path)}
    for path in taken:
        if not _packed(path) and path.with_name(scan_name(path.name)) in packed:
            left_out[path] = PACKED
    return Survey(folder, sorted(set(taken) - left_out.keys()), left_out)


def _plain(folder: Path, wanted: Wanted) -> Survey:
    taken, left_out = list[Path](), dict[Path, str]()
    for path in _entries(folder):
        if looks_like_scan(path):
            if reason := _unfit(path) or wanted.without(Path(path.name)):
                left_out[path] = reason
            else:
                taken.append(path)
        elif is_folder(path) and not path.name.startswith("."):
            if not path.is_symlink():  # behind a link stands anything, a whole disk maybe
                left_out |= dict.fromkeys(_walk(path, frozenset(), links=False), SUBFOLDER)
            elif any(map(looks_like_scan, _entries(path))):
                left_out[path] = SUBFOLDER
    return Survey(folder, sorted(taken), left_out)


def _of_subjects(found: Survey, wanted: set[str]) -> Survey:
    if not wanted:
        return found
    labels = {path: _labels(path.relative_to(found.folder)) for path in found.taken}
    if missing := wanted - {label for each in labels.values() for label in each}:
        raise Refusal(
            f"subjects: {', '.join(sorted(missing))} not found in {found.folder}: each named "
            "subject needs a scan there; correct the names."
        )
    others = {path: UNASKED for path, each in labels.items() if not wanted & each}
    kept = [path for path in found.taken if path not in others]
    return Survey(found.folder, kept, found.left_out | others)


def _labels(inside: Path) -> set[str]:
    """The subjects that a path below the dataset names."""
    firsts = (part.partition("_")[0] for part in inside.parts)
    return {first for first in firsts if first.startswith("sub-")}


def _unfit(path: Path) -> str:
    """Why a file that is named like a scan cannot be one; empty if it can."""
    name = path.name
    if name.startswith("."):
        return APPLE if name.startswith("._") else HIDDEN
    if not name.lower().endswith(SUFFIXES):
        return ARCHIVE if name.lower().endswith(ARCHIVES) else FORMAT
    return OWN if _own_map(path) else _unreadable(path)


def _unreadable(path: Path) -> str:
    try:
        if not path.is_file():
            return (FOLDER if path.is_dir() else NO_FILE) if path.exists() else ABSENT
        return points_elsewhere(path)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


def _own_map(path: Path) -> bool:
    """Whether a file is a map that stands beside a result, or beside the other map."""
    stem = scan_name(path.name)
    for ending in OWN_MAPS:
        if base := stem.removesuffix(ending) if stem.endswith(ending) else "":
            beside = {base, *(base + other for other in OWN_MAPS if other != ending)}
            return any(
                scan_name(other.name) in beside
                for other in _entries(path.parent)
                if looks_like_scan(other)
            )
    return False


def _walk(folder: Path, above: frozenset[str], *, links: bool = True) -> Iterator[Path]:
    """Files that look like scans below a folder, through links if asked but never in a circle.

    Hidden folders are not entered, nor those that are no part of a raw dataset.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    for path in _entries(folder):
        if looks_like_scan(path) or (path.name in NOT_RAW and is_folder(path)):
            yield path
        elif not path.name.startswith(".") and is_folder(path, links=links):
            yield from _walk(path, above | {real}, links=links)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{counted(len(names), 'file')} left out, {'; '.join(names[:SHOWN])}{more}"
