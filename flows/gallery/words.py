"""Plain values as people read them: times, sizes, durations, tables."""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any


def when(iso: str) -> str:
    """Day, month, year and time in UTC from ISO time; the text itself if it is none."""
    try:
        time = datetime.fromisoformat(iso)
        time = time.astimezone(UTC) if time.tzinfo else time
    except (ValueError, OverflowError):
        return iso
    return f"{time:%d %b %Y, %H:%M}{' UTC' if time.tzinfo else ''}".lstrip("0")


def size(number: int) -> str:
    """Bytes as kB or MB."""
    if number < 1000:
        return f"{number} bytes"
    thousands = number / 1000
    return f"{thousands:.0f} kB" if thousands < 1000 else f"{thousands / 1000:.1f} MB"


def lasting(seconds: float) -> str:
    """Seconds as s, min or h."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def number(found: Any) -> float:
    """A number of a record; 0 where it is none that a page can show."""
    try:
        plain = float(found) if isinstance(found, int | float) else 0.0
    except OverflowError:
        return 0.0
    return plain if math.isfinite(plain) else 0.0


def table(found: Any) -> Mapping[str, Any]:
    """A table of a record; an empty one where it is something else."""
    return found if isinstance(found, Mapping) else {}


def value(found: Any) -> str:
    """One value of a record: numbers short, lists with commas."""
    if isinstance(found, bool) or found is None:
        return {True: "yes", False: "no", None: "none"}[found]
    if isinstance(found, float):
        return f"{found:.6g}"
    if isinstance(found, list | tuple):
        return ", ".join(map(value, found))
    return str(found)


def rows(table: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, str]]:
    """A nested table as rows of dotted names and values, empty ones left out."""
    for key, found in table.items():
        full = f"{name}.{key}" if name else str(key)
        if isinstance(found, Mapping):
            yield from rows(found, full)
        elif found not in ("", None, []):
            yield full, value(found)
