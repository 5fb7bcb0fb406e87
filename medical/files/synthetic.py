"""Scans that no scanner made, known by the marks that travel with them.

A drawn head that is taken for a person's teaches a model its own mistakes. A mark stands in the
header (NIfTI written here, or (0008,001C) of DICOM), in a sidecar that BIDS puts beside an image
or above it (``SyntheticData``, ``ImageType`` with SYNTHETIC), or in the dataset's
``participants.tsv`` (a column ``synthetic``).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from medical.files.bids import LEVELS, entities_of, is_stripped, people_table, sidecars
from medical.files.nifti import read_header
from medical.files.privacy import DRAWN_BESIDE, as_marked, marks_synthetic
from medical.files.volume import Volume

COLUMN = "synthetic"
MARKS = ("SyntheticData", "SkullStripped")


def marked_synthetic(scan: str | Path) -> str:
    """Where a scan is marked as synthetic, in words; empty where nothing says so.

    Args:
        scan: NIfTI file, or folder of a DICOM series.

    Raises:
        Refusal: It is no scan.
    """
    scan = Path(scan)
    if scan.is_dir():
        from medical.files.dicom import open_series  # noqa: PLC0415  a NIfTI scan needs none

        return "its DICOM files (0008,001C)" if open_series(scan).synthetic else ""
    return "its header" if read_header(scan).synthetic else said_beside(scan)


def said_beside(scan: str | Path) -> str:
    """The name of a file beside a NIfTI scan that says it is synthetic; empty where none does."""
    scan = Path(scan)
    for name, said in sidecars(scan):
        if marks_synthetic(said.get("SyntheticData"), said.get("ImageType")):
            return name
    subject = entities_of(scan.name)[0].get("sub", "")
    for folder in scan.absolute().parents[:LEVELS]:
        table = folder / "participants.tsv"
        if subject and table.is_file() and f"sub-{subject}" in _drawn(table, _changed(table)):
            return table.name
    return ""


def as_said_beside(volume: Volume, path: str | Path) -> Volume:
    """A volume whose header says, too, what a file beside it says: that no scanner made it."""
    if volume.header.synthetic or not said_beside(path):
        return volume
    said = volume.header.description
    words = as_marked(said, synthetic=True) if said else DRAWN_BESIDE
    return replace(volume, header=replace(volume.header, description=words))


def told_beside(scan: Path) -> dict[str, bool]:
    """What files beside a scan tell of it that its results go by, as its own sidecar would."""
    told = {"SyntheticData": bool(said_beside(scan)), "SkullStripped": is_stripped(scan)}
    return {name: True for name, yes in told.items() if yes}


def denied_beside(scan: Path) -> set[str]:
    """What the nearest sidecar that speaks of it says is false, of what results go by."""
    nearest: dict[str, object] = {}
    for _, said in sidecars(scan):
        nearest = {name: said[name] for name in MARKS if name in said} | nearest
    return {name for name, yes in nearest.items() if yes is False}


def _changed(table: Path) -> int:
    return table.stat().st_mtime_ns


@lru_cache(maxsize=8)
def _drawn(table: Path, changed: int) -> frozenset[str]:
    """Who of a table is marked as drawn; ``changed`` tells versions of the file apart."""
    columns, rows = people_table(table)
    marks = [place for place, name in enumerate(columns) if name == COLUMN]
    drawn = [row for row in rows if any(marks_synthetic(row[k]) for k in marks if k < len(row))]
    who = columns.index("participant_id") if drawn else 0
    return frozenset(f"sub-{row[who].removeprefix('sub-')}" for row in drawn)
