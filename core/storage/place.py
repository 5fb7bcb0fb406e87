"""Which folder of outputs this is, for hosts that share no disk, and where no file can be."""

import json
import secrets
from pathlib import Path

from core.storage.journal import held

FILE = ".place"
KERNEL = (Path("/proc"), Path("/sys"))


def place_of(outputs: Path) -> str:
    """Eight digits that are drawn once and kept in the folder.

    The file that holds them says which file of its disk it is, so that a copy of the folder, made
    onto another host or restored from a backup, is a place of its own.
    """
    path = outputs / FILE
    if not (name := _read(path)):
        outputs.mkdir(parents=True, exist_ok=True)
        with held(outputs / f"{FILE}.lock"):
            name = _read(path) or _write(path)
    return name


def is_of_the_kernel(path: Path) -> bool:
    """Whether a place lies where no file can be made, whoever asks, or none should be."""
    path = path.resolve()
    if any(path.is_relative_to(root) for root in KERNEL):
        return True
    above = next(part for part in (path, *path.parents) if part.exists())
    return above.stat().st_dev in [root.stat().st_dev for root in KERNEL if root.is_mount()]


def replace(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    part = path.with_name(f".part-{secrets.token_hex(6)}")
    part.write_bytes(content)
    part.replace(path)


def _read(path: Path) -> str:
    """The name in a file, nothing if it is none or was copied."""
    try:
        said = json.loads(path.read_text(encoding="ascii"))
        return str(said["place"]) if said["inode"] == path.stat().st_ino else ""
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _write(path: Path) -> str:
    name, part = secrets.token_hex(4), path.with_name(f".part-{secrets.token_hex(6)}")
    part.touch()
    part.write_text(json.dumps({"place": name, "inode": part.stat().st_ino}), encoding="ascii")
    part.replace(path)
    return name
