"""Who may read whose name: refusals that name people for their owner, and nobody for others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from core.refusal import Refusal

PERSON = re.compile(r"[^\s,;:()]*sub-(?:[^,;:()]*?\.nii(?:\.gz)?|[^\s,;:()]*)")
"""A participant, or a file or folder of theirs, whose name may hold spaces up to its ending."""


@contextmanager
def naming_nobody(who: str = "") -> Iterator[None]:
    """Refusals within say for pages and logs what they say without the people they name.

    Args:
        who: How their owner learns who it is; added to what others read.
    """
    try:
        yield
    except Refusal as error:
        words = PERSON.sub("(a person)", str(error))
        if not error.unnamed and words != str(error):
            error.unnamed = f"{words} {who}".rstrip()
        elif error.unnamed and who not in error.unnamed:
            error.unnamed = f"{error.unnamed} {who}"
        raise
