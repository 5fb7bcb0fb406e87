"""Scans in the store by their digests, for hosts that share no disk."""

from contextlib import suppress
from pathlib import Path

from flows.storage.store import Store

INPUTS = ".inputs"


def obtain_scan(store: Store, project: Path, digest: str, name: str) -> Path:
    """A scan from the store under its own name; where it would stand, if the store lacks it.

    Args:
        store: The store.
        project: The project's folder under the outputs.
        digest: Of the scan.
        name: The file's name.
    """
    path = project / INPUTS / digest / name
    if not path.is_file():
        arrived = object_path(project / INPUTS, digest, name)
        key = store.key(arrived)
        for found in store.fetch([key], {key: digest}):
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another process here fetched it and was quicker
                found.replace(path)
    return path


def object_path(folder: Path, digest: str, name: str) -> Path:
    """Where the bytes of a scan stand in a folder of inputs."""
    return folder / f"{digest}{'.nii.gz' if name.lower().endswith('.gz') else '.nii'}"
