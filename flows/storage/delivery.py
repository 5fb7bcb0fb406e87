"""Single results and the store: a finished run's folder goes there, and comes from there.

Nothing happens where no store is named.
"""

import json
from pathlib import Path

from core.storage.store import LONG_S, Store, open_store
from flows.settings.settings import read_settings
from flows.storage.inputs import obtain_scan

ENDINGS = (".nii.gz", ".nii", ".mp4", ".webm", ".gif", ".json", ".webp", ".png", ".jpg", ".jpeg")
MAPS = ("_std", "_consistency")


def check_store() -> None:
    """Ask the store before anything depends on it.

    Raises:
        StoreAwayError: It does not answer.
        StoreRefusedError: It cannot be used as it is set up.
    """
    if store := open_store(read_settings()):
        from core.storage.leases import check_turns

        store.names("")
        check_turns(store)


def deliver(folder: Path) -> None:
    """Show other hosts the files of a finished run, its record last.

    Raises:
        StoreAwayError: The store did not answer for long; all is kept here.
        StoreRefusedError: It cannot be used as it is set up.
    """
    if store := open_store(read_settings(), LONG_S):
        files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
        store.put(path for path in files if path.suffix != ".json")
        store.put(path for path in files if path.suffix == ".json")


def obtain(file: Path) -> Path | None:
    """Have a result here with its record, its maps and its scan, if the store holds them.

    Args:
        file: One of the result's files, where it would stand under the outputs.

    Returns:
        The folder of the scan that it was made from, if that came from the store.
    """
    settings = read_settings()
    path = file.expanduser().resolve()
    stem = stem_of(path)
    record = path.with_name(f"{stem}.json")
    store = open_store(settings) if path.is_relative_to(settings.outputs) else None
    if store is None:
        return None
    if not (path.exists() and record.exists()):
        folder = store.key(path.parent)
        names = [name for name in store.names(folder) if stem_of(Path(name)) == stem]
        missing = [name for name in names if not (path.parent / name).exists()]
        store.fetch([f"{folder}/{name}" for name in missing])
    return _scan_of(record, store)


def _scan_of(record: Path, store: Store) -> Path | None:
    """The folder of the scan that a record names, if it is not where it was but in the store."""
    try:
        said = json.loads(record.read_text(encoding="utf-8"))
        scan, digest = Path(said["request"]["scan"]), str(said["inputs"]["scan"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if scan.exists():
        return None
    project = store.outputs / record.relative_to(store.outputs).parts[0]
    found = obtain_scan(store, project, digest, scan.name)
    return found.parent if found.exists() else None


def bare(path: Path) -> str:
    """A file's name without its ending."""
    name = path.name
    return next((name.removesuffix(e) for e in ENDINGS if name.endswith(e)), path.stem)


def stem_of(path: Path) -> str:
    """What the names of a result's files have in common."""
    stem = bare(path)
    return next((stem.removesuffix(end) for end in MAPS if stem.endswith(end)), stem)
