"""Who may read whose name: refusals that name people for their owner, and nobody for others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from core.refusal import Refusal

PERSON = re.compile(r"[^\s,;:()]*\bsub-[A-Za-z0-9]+[^\s,;:()]*")
"""A participant, or a file or folder of theirs."""


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
        raise
