"""Plain values as people read them: times, sizes, durations, requests."""

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.progress import counted
from core.wording import rows
from flows.requests.flow_requests import MODELS


def when(iso: str) -> str:
    """Day, month, year and time in UTC from ISO time; the text itself if it is none."""
    try:
        time = datetime.fromisoformat(iso)
        time = time.astimezone(UTC) if time.tzinfo else time
    except (ValueError, OverflowError):
        return iso
    return f"{time:%d %b %Y, %H:%M}{' UTC' if time.tzinfo else ''}".lstrip("0")


def size(number: int) -> str:
    """Bytes as kB, MB or GB."""
    if number < 1000:
        return f"{counted(number, 'byte')}"
    thousands = number / 1000
    if thousands >= 1e6:
        return f"{thousands / 1e6:.3g} GB"
    return f"{thousands:.0f} kB" if thousands < 1000 else f"{thousands / 1000:.1f} MB"


def lasting(seconds: float) -> str:
    """Seconds as s, min or h."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def reproducing(task: str, main: Path | None) -> str:
    """The command that makes a result again; empty where no flow made it, but an example."""
    known = main is not None and task in MODELS
    return shlex.join(["lamina", "reproduce", str(main)]) if known else ""


def asked(task: str, request: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was asked for, as rows with the words of the form that asks for it.

    Args:
        task: Name of the flow or operation; the fields of one that is not known have their names.
        request: As the record holds it.
    """
    model = MODELS.get(task)
    fields = model.model_fields if model else {}
    spoken = model.spoken if model else {}
    found: list[tuple[str, str]] = []
    for name, given in request.items():
        told = (
            given if isinstance(given, Mapping | list) else spoken.get(name, {}).get(given, given)
        )
        named = fields[name].title if name in fields else ""
        found += [(named or words, said) for words, said in rows({name: told})]
    return found
