"""Scans in the store by their digests, for hosts that share no disk.

Beside a scan stands what its sidecars and tables tell of it, as far as its results go by that: no
more, as those name people.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.storage.objects import Held, digest_of_bytes
from core.storage.place import replace
from core.storage.store import Store
from medical.files.bids import json_of
from medical.files.container import scan_name

INPUTS = ".inputs"


def obtain_scan(store: Store, project: Path, digest: str, name: str) -> Path:
    """A scan from the store under its own name; where it would stand, if the store lacks it.

    What is told of it stands beside it then, as a sidecar of its own.

    Args:
        store: The store.
        project: The project's folder under the outputs.
        digest: Of the scan.
        name: The file's name.
    """
    path = project / INPUTS / digest / name
    told = store.read(store.key(told_path(project / INPUTS, digest)))
    if told is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path.with_name(f"{scan_name(name)}.json"), told)
    if not path.is_file():
        arrived = object_path(project / INPUTS, digest, name)
        key = store.key(arrived)
        for found in store.fetch([key], {key: digest}):
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another process here fetched it and was quicker
                found.replace(path)
    return path


def told_of(store: Store, project: Path, digest: str) -> dict[str, Any]:
    """What is told of a scan in the store; nothing where nothing is."""
    content = store.read(store.key(told_path(project / INPUTS, digest)))
    return json_of(content.decode("utf-8", errors="replace")) if content else {}


def deliver_told(store: Store, folder: Path, digest: str, scan: Path, held: Held | None) -> None:
    """Add what files beside a scan tell of it to what stands in the store.

    What stands there came from files beside the same bytes, of another host maybe, and goes only
    where files here deny it.

    Args:
        store: The store.
        folder: Of inputs.
        digest: Of the scan.
        scan: The scan, on this disk.
        held: What stands there.
    """
    from medical.files.synthetic import denied_beside, told_beside  # slow to import

    told, key = told_beside(scan), store.key(told_path(folder, digest))
    content = json.dumps(told, sort_keys=True).encode()
    if not (told or held) or (held and held.md5 == digest_of_bytes(content)):
        return
    standing = store.read(key)
    before = json_of(standing.decode("utf-8", errors="replace")) if standing else {}
    denied = denied_beside(scan)
    kept = {name: True for name, yes in before.items() if yes is True and name not in denied}
    content = json.dumps(kept | told, sort_keys=True).encode()
    if content != standing:
        store.write(key, content)


def object_path(folder: Path, digest: str, name: str) -> Path:
    """Where the bytes of a scan stand in a folder of inputs."""
    return folder / f"{digest}{'.nii.gz' if name.lower().endswith('.gz') else '.nii'}"


def told_path(folder: Path, digest: str) -> Path:
    """Where it stands what is told of a scan."""
    return folder / f"{digest}.json"
