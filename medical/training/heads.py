"""Which files of a dataset are heads to train on, and why each other one is left out.

A head that could not teach what sharp tissue looks like is left out, and said; a head that was
meant but is damaged, dark or too small is refused where its voxels are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medical.files.container import scan_name
from medical.files.nifti import read_size
from medical.files.synthetic import marked_synthetic

T1, LABELS = "_T1w", "_dseg"
SUFFIXES = (".nii.gz", ".nii")
FOLDERS = ("sub-*/anat", "sub-*/ses-*/anat")
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
        return "; ".join(f"{path.name}: {why}" for path, why in self.left_out.items())


def find_heads(folder: str | Path, *, synthetic: bool = False) -> HeadFiles:
    """The T1w heads of a BIDS folder, with and without sessions.

    Args:
        folder: BIDS root with ``sub-*/[ses-*/]anat/sub-*_T1w.nii[.gz]``.
        synthetic: Take heads, too, that are marked as drawn.

    Raises:
        Refusal: A file's header is none.
    """
    taken, left_out = dict[str, Path](), dict[Path, str]()
    for path in _named_like_heads(Path(folder)):
        name = scan_name(path.name).removesuffix(T1)
        if reason := _unfit(path, synthetic) or (
            "the same head is taken packed" if name in taken else ""
        ):
            left_out[path] = reason
        else:
            taken[name] = path
    return HeadFiles(dict(sorted(taken.items())), left_out)


def labels_beside(head: Path) -> Path | None:
    """The label map beside a head, if it has one."""
    stem = scan_name(head.name).removesuffix(T1) + LABELS
    beside = (head.with_name(stem + suffix) for suffix in SUFFIXES)
    return next((path for path in beside if path.is_file()), None)


def _named_like_heads(folder: Path) -> list[Path]:
    """Files that are named like T1w heads, packed ones of a folder first."""
    found = [
        path
        for pattern in FOLDERS
        for anat in folder.glob(pattern)
        for path in anat.glob("*sub-*")
        if path.name.lower().endswith(SUFFIXES) and scan_name(path.name).endswith(T1)
    ]
    return sorted(found, key=lambda path: (not path.name.lower().endswith(".gz"), path))


def _unfit(path: Path, synthetic: bool) -> str:
    """Why a file is no head to train on; empty if it may be one."""
    if path.name.startswith("."):
        return "a hidden file"
    if not path.is_file():
        return "its link leads nowhere, so fetch it or remove it"
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
