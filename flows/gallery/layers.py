"""What the viewer can lay over a volume or put beside it: maps, with their units, and the scan.

A record names its scan by a path, and is not believed: the file is shown only where a request may
name it, and only if it holds the very bytes that the record tells.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from core.records import sha256_file
from core.request import title
from flows.gallery.places import kind_of, table
from flows.gallery.results import Result

NUMBER_OF_SCANS = 1000
VOLUMES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Layer:
    """A map over a volume.

    Attributes:
        words: What it is called.
        unit: What its color bar measures; empty where it has none.
        signed: Whether it falls below 0, so that 0 is in the middle.
        mask: Whether it only says where.
    """

    words: str
    unit: str = ""
    signed: bool = False
    mask: bool = False


SPREAD = "Standard deviation of the samples, in the intensity units of the scan"
KNOWN = {
    "std": Layer("Uncertainty", SPREAD),
    "consistency": Layer(
        "Unexplained",
        "Scan less what the result explains of it, in the intensity units of the scan",
        signed=True,
    ),
    "anomaly": Layer("Anomaly", "Deviation from healthy anatomy, in standard deviations"),
    "mask": Layer("Mask", mask=True),
}


def layers_of(result: Result) -> Iterator[tuple[str, Layer, Path]]:
    """The maps of a result by role, each with its file."""
    for role in table(result.record["outputs"]):
        path = result.files.get(role)
        if path is None or path == result.main or not _ending(path.name):
            continue
        layer = KNOWN.get(role, Layer(title(role), "In the units of the map"))
        yield role, replace(layer, unit=_measured(result)) if role == "std" else layer, path


def _measured(result: Result) -> str:
    """What the uncertainty map holds: the record says it, older ones hold the spread."""
    said = table(result.record.get("extra")).get("uncertainty")
    if not isinstance(said, str) or not said or said.startswith("standard deviation"):
        return SPREAD
    return said[:1].upper() + said[1:]


def scan_of(result: Result, allowed: tuple[Path, ...] | None) -> Path | None:
    """The scan that a result was made from, if it is still here and the same.

    Args:
        result: With the record that tells its digest.
        allowed: Folders below which it must lie; None where any will do.
    """
    told = table(table(result.record.get("inputs")).get("scan"))
    named, digest = result.request.get("scan"), told.get("sha256")
    if not (isinstance(named, str) and isinstance(digest, str) and digest and _ending(named)):
        return None
    try:
        path = Path(named).expanduser().resolve(strict=True)
        inside = allowed is None or any(path.is_relative_to(root.resolve()) for root in allowed)
        facts = path.stat()
        if not inside or facts.st_size != told.get("bytes"):
            return None
        same = _digest(path, facts.st_mtime_ns, facts.st_size) == digest
    except (OSError, RuntimeError, ValueError):
        return None
    return path if same else None


def scan_name(path: Path) -> str:
    """The name under which the viewer fetches a scan; its ending says how it is read."""
    return f"scan{_ending(path.name)}"


def _ending(name: str) -> str:
    ending = next((ending for ending in VOLUMES if name.lower().endswith(ending)), "")
    return ending if ending and kind_of(name) else ""


@lru_cache(NUMBER_OF_SCANS)
def _digest(path: Path, _mtime_ns: int, _size: int) -> str:
    return sha256_file(path)
