"""Scans that no scanner made, known by the marks that travel with them.

A drawn head that is taken for a person's teaches a model its own mistakes. A mark stands in the
header (NIfTI written here, or (0008,001C) of DICOM), in the sidecar that BIDS puts beside an image
(``ImageType`` with SYNTHETIC), or in the dataset's ``participants.tsv`` (a column ``synthetic``).
"""

from __future__ import annotations

import csv
import json
from functools import lru_cache
from pathlib import Path

from medical.files.bids import entities_of
from medical.files.container import scan_name
from medical.files.dicom import open_series
from medical.files.nifti import read_header

COLUMN = "synthetic"


def marked_synthetic(scan: str | Path) -> str:
    """Where a scan is marked as synthetic, in words; empty where nothing says so.

    Args:
        scan: NIfTI file, or folder of a DICOM series.

    Raises:
        Refusal: It is no scan.
    """
    scan = Path(scan)
    if scan.is_dir():
        return "its DICOM files (0008,001C)" if open_series(scan).synthetic else ""
    if read_header(scan).synthetic:
        return "its header"
    sidecar = scan.with_name(f"{scan_name(scan.name)}.json")
    if _says_so(sidecar):
        return sidecar.name
    subject = entities_of(scan.name)[0].get("sub", "")
    for folder in scan.resolve().parents[:4]:
        table = folder / "participants.tsv"
        if subject and table.is_file() and f"sub-{subject}" in _drawn(table, _changed(table)):
            return table.name
    return ""


def _says_so(sidecar: Path) -> bool:
    try:
        said = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(said, dict):
        return False
    kind = said.get("ImageType")
    parts = kind if isinstance(kind, list) else [kind]
    return "SYNTHETIC" in map(str, parts) or said.get("SyntheticData") in ("YES", True)


def _changed(table: Path) -> int:
    return table.stat().st_mtime_ns


@lru_cache(maxsize=8)
def _drawn(table: Path, changed: int) -> frozenset[str]:
    """Who of a table is marked as drawn; ``changed`` tells versions of the file apart."""
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return frozenset(
            row.get("participant_id") or ""
            for row in rows
            if str(row.get(COLUMN)).strip().lower() in ("true", "yes", "1")
        )
