"""Which files a request may name: those below the operator's folders, by no way around.

A form is open to whoever may start a run, and what it names is opened by a worker, with that
one's rights. So where others may ask, every path of a request must lie below the inputs, the
results or the models after each link and each ``..``; whether anything stands elsewhere is not
told. The command line runs as the person who types, and is not held to it.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel

from core.refusal import Refusal
from core.request import OnDisk
from flows.settings.environment import is_shared
from flows.settings.settings import Settings


def roots(settings: Settings) -> tuple[Path, ...] | None:
    """The folders below which a request may name files; None where it may name any.

    Any only where the operator named no folders and the server is this person's own.
    """
    if not settings.inputs and not is_shared(settings):
        return None
    demonstration = settings.home / "demo"
    return (*settings.inputs, settings.outputs, *settings.models, *settings.engines, demonstration)


def check_paths(request: BaseModel, settings: Settings) -> None:
    """Raise a ``Refusal`` if a request names a file that it may not.

    Args:
        request: Of any flow; all its paths are of the type ``core.request.DiskPath``.
        settings: Places.
    """
    allowed = roots(settings)
    if allowed is None:
        return
    for field, text in named_paths(request):
        if not _lies_in(text, allowed):
            raise Refusal(_refusal(field, text, settings))


def check_files(files: Iterable[str], settings: Settings, field: str = "scans") -> None:
    """Raise a ``Refusal`` if one of the files that were found lies elsewhere, by a link."""
    allowed = roots(settings)
    for file in files if allowed is not None else ():
        if not _lies_in(file, allowed or ()):
            raise Refusal(_refusal(field, file, settings))


def named_paths(request: BaseModel, before: str = "") -> Iterator[tuple[str, str]]:
    """Every path that a request names, after the name of its field: ``limits.file``."""
    for name, field in type(request).model_fields.items():
        value = getattr(request, name)
        if isinstance(value, BaseModel):
            yield from named_paths(value, f"{before}{name}.")
        elif any(isinstance(mark, OnDisk) and mark.keyed for mark in field.metadata):
            pairs = (text.partition("=") for text in value)
            yield from ((f"{before}{name}_{key}", path) for key, _, path in pairs)
        elif value and any(_opens(mark, str(value)) for mark in field.metadata):
            yield before + name, str(value)


def _opens(mark: object, value: str) -> bool:
    """Whether a field so marked opens its value as a path."""
    is_name = "/" not in value and value[0].isalnum()
    return isinstance(mark, OnDisk) and not (mark.names and is_name)


def _lies_in(text: str, allowed: tuple[Path, ...]) -> bool:
    """Whether a path lies below one of the folders, however it is read."""
    if "\0" in text or "://" in text:
        return False
    try:  # some readers take ~ for a home, some for a name
        meant = {Path(way).resolve() for way in (text, os.path.expanduser(text))}
    except (OSError, RuntimeError):  # links in a circle
        return False
    return all(any(path.is_relative_to(root) for root in allowed) for path in meant)


def _refusal(field: str, text: str, settings: Settings) -> str:
    inputs = ", ".join(map(str, settings.inputs)) or "of which there are none"
    return (
        f"{field}={text}: a request names files below the inputs ({inputs}), the results or the "
        "models; put it there and write its whole path, or have the operator add its folder to "
        "LAMINA_INPUTS."
    )
