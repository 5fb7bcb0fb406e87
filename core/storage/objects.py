"""Objects of a store as its listings tell of them, and whether one holds a file's bytes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

CHANGED = ("LastModified", "last_modified", "mtime", "updated", "created")  # by kind of store


@dataclass(frozen=True)
class Held:
    """An object of the store.

    Attributes:
        size: In bytes.
        changed: When, in seconds, by the store's own clock; 0 where it does not tell.
        md5: Of its bytes, where the store tells; empty otherwise.

    >>> Held(size=5, changed=0.0).size
    5
    """

    size: int
    changed: float
    md5: str = ""


def held_of(facts: Mapping[str, Any]) -> Held:
    """An object as a listing tells of it; each kind of store has words of its own."""
    changed = next((facts[name] for name in CHANGED if facts.get(name)), 0.0)
    if isinstance(changed, str):
        changed = datetime.fromisoformat(changed)
    seconds = changed.timestamp() if isinstance(changed, datetime) else float(changed)
    tag = tag_of(facts).strip('"')
    return Held(int(facts.get("size") or 0), seconds, tag if len(tag) == 32 else "")


def tag_of(facts: Mapping[str, Any]) -> str:
    """What a store calls this very content of an object, where it does."""
    return str(facts.get("ETag") or "")


def same(path: Path, held: Held | None) -> bool:
    """Whether an object is known to hold a file's bytes."""
    if held is None or not held.md5 or not path.is_file() or held.size != path.stat().st_size:
        return False
    return digest_of(path, "md5") == held.md5


def digest_of_bytes(content: bytes) -> str:
    """The MD5 of an object's bytes, as a store tells it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def digest_of(path: Path, kind: str) -> str:
    """The digest of a file, hexadecimal."""
    with path.open("rb") as file:
        made = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False))
    return made.hexdigest()
