"""Which files of a dataset are heads to train on, and why each other one is left out.

A head that could not teach what sharp tissue looks like is left out, and said; a head that was
meant but is damaged, dark or too small is refused where its voxels are read.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.progress import counted
from medical.files.bidsignore import read_ignored
from medical.files.container import OTHER_FORMATS, SUFFIXES, is_folder, points_elsewhere, scan_name
from medical.files.naming import naming_nobody
from medical.files.nifti import read_size
from medical.files.synthetic import marked_synthetic

T1, LABELS = "_T1w", "_dseg"
FOLDERS = ("sub-*/anat", "sub-*/ses-*/anat")
SHOWN = 20  # files of one reason that are named
NOT_RAW = ("derivatives", "sourcedata", "code")
NAMED_AS = "is named as the head"
TWICE = f"it {NAMED_AS} taken from another folder"
IGNORED = "named by .bidsignore"
NO_FILE = "it is a folder, pipe or device and no file"
FORMAT = "it is no NIfTI, so convert it to .nii.gz"
TREE = "no part of the raw dataset"
OTHER_SUFFIX = "heads are T1-weighted images, *_T1w"
MISPLACED = (
    "heads are named sub-*_T1w.nii[.gz] and stand in sub-*/anat or sub-*/ses-*/anat; rename or "
    "move it to have it taken"
)
THICKEST_MM = 2.0
MOST_UNEVEN = 2.5  # of the coarsest axis to the finest


@dataclass(frozen=True)
class HeadFiles:
    """The heads of a dataset.

    Attributes:
        taken: File of each head by its name, ``sub-01`` or ``sub-01_ses-2_run-1``.
        left_out: Every other file that is named like one, with the reason.
    """

    taken: Mapping[str, Path]
    left_out: Mapping[Path, str]

    def says(self) -> str:
        """What is left out and why, empty where nothing is."""
        names = dict[str, list[str]]()
        for path, why in self.left_out.items():
            names.setdefault(why, []).append(path.name)
        return "; ".join(f"{listed(each)}: {why}" for why, each in names.items())

    def counts(self) -> str:
        """How many are left out and why, for logs that may name nobody."""
        why = Counter(TWICE if NAMED_AS in said else said for said in self.left_out.values())
        return "; ".join(f"{counted(count, 'file')}: {said}" for said, count in why.items())


def listed(names: list[str]) -> str:
    """The names, or the first of many and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


@naming_nobody()
def find_heads(folder: str | Path, *, synthetic: bool = False) -> HeadFiles:
    """The T1w heads of a BIDS folder, with and without sessions, that ``.bidsignore`` lets pass.

    Args:
        folder: BIDS root with ``sub-*/[ses-*/]anat/sub-*_T1w.nii[.gz]``.
        synthetic: Take heads, too, that are marked as drawn.

    Raises:
        Refusal: A file's header is none.
    """
    taken, left_out = dict[str, Path](), dict[Path, str]()
    root = Path(folder)
    ignored = read_ignored(root / ".bidsignore")
    for path in _named_like_heads(root):
        name = scan_name(path.name).removesuffix(T1)
        if reason := (
            (IGNORED if ignored(path.relative_to(root).as_posix()) else "")
            or _unfit(path, synthetic)
            or (_same(path, taken[name]) if name in taken else "")
        ):
            left_out[path] = reason
        else:
            taken[name] = path
    left_out |= _strays(root, {*taken.values(), *left_out})
    return HeadFiles(dict(sorted(taken.items())), left_out)


def count_voxels(folder: str | Path, *, synthetic: bool = False) -> int:
    """Voxels of all heads of a dataset, from the heads of their files; 0 where there are none."""
    found = find_heads(folder, synthetic=synthetic).taken
    return sum(math.prod(read_size(path)[0]) for path in found.values())


def labels_beside(head: Path) -> Path | None:
    """The label map beside a head, if it has one."""
    stem = scan_name(head.name).removesuffix(T1) + LABELS
    beside = (head.with_name(stem + suffix) for suffix in SUFFIXES)
    return next((path for path in beside if path.is_file()), None)


def _named_like_heads(folder: Path) -> list[Path]:
    """Files that are named like T1w heads, those in their subject's folder and packed first."""
    found = [
        path
        for pattern in FOLDERS
        for anat in folder.glob(pattern)
        for path in anat.glob("*sub-*")
        if path.name.lower().endswith(SUFFIXES) and scan_name(path.name).endswith(T1)
    ]
    return sorted(
        found,
        key=lambda path: (
            path.name.partition("_")[0] not in path.parts,
            not path.name.lower().endswith(".gz"),
            path,
        ),
    )


def _same(path: Path, taken: Path) -> str:
    if path.with_name(scan_name(path.name)) == taken.with_name(scan_name(taken.name)):
        return "the same head is taken packed"
    return f"it stands in {_place(path)} and {NAMED_AS} taken from {_place(taken)}"


def _place(path: Path) -> str:
    """The folders of a head, from its subject's on."""
    parts = path.parent.parts
    first = max((k for k, part in enumerate(parts) if part.startswith("sub-")), default=-1)
    return "/".join(parts[first:])


def _strays(root: Path, known: Collection[Path]) -> dict[Path, str]:
    """Files and folders that may hold T1w heads and are named or stand otherwise, with why."""
    found: dict[Path, str] = {}
    for path in _below(root, set()):
        name = path.name.lower()
        if path.name in NOT_RAW and path.is_dir():
            found[path] = TREE
        elif path in known or not name.endswith((*SUFFIXES, *OTHER_FORMATS)):
            continue
        elif T1[1:].lower() in name:
            found[path] = FORMAT if name.endswith(OTHER_FORMATS) else MISPLACED
        elif path.parent.name == "anat" and not scan_name(path.name).endswith(LABELS):
            found[path] = OTHER_SUFFIX
    return found


def _below(folder: Path, seen: set[str]) -> Iterator[Path]:
    """Files, and folders that are no part of the raw data, through links but each folder once."""
    real = os.path.realpath(folder)
    readable = real not in seen and folder.is_dir() and os.access(folder, os.R_OK)
    seen.add(real)
    entries = sorted(folder.iterdir()) if readable else []
    for path in sorted(entries, key=Path.is_symlink):  # a folder's own way before a link to it
        if path.name.startswith("."):
            continue
        if path.name in NOT_RAW or not is_folder(path):
            yield path
        else:
            yield from _below(path, seen)


def _unfit(path: Path, synthetic: bool) -> str:
    """Why a file is no head to train on; empty if it may be one."""
    if path.name.startswith("."):
        return "a hidden file"
    if not path.is_file():
        return NO_FILE if path.exists() else "its link leads nowhere, so fetch it or remove it"
    if reason := points_elsewhere(path):
        return reason
    spacing = read_size(path)[1]
    if max(spacing) > THICKEST_MM or max(spacing) > MOST_UNEVEN * min(spacing):
        sizes = " x ".join(f"{size:.3g}" for size in spacing)
        return (
            f"its voxels of {sizes} mm are too thick: at most {THICKEST_MM:g} mm along each axis "
            f"and {MOST_UNEVEN:g} times the finest"
        )
    if not synthetic and (mark := marked_synthetic(path)):
        return f"{mark} says that it is synthetic, and only people's heads were asked for"
    return ""
