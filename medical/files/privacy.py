"""Words in headers that may name a person: which there are, and headers without them.

Scanners and converters write names, dates and notes into the free fields of a NIfTI header and
into its extensions. None of it is handed on; what was there is told by the field's name alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from core.refusal import Refusal

SINGLE, DOUBLE = 348, 540  # bytes of a header of NIfTI-1 and of NIfTI-2
DESCRIPTION = "descrip"
FREE = {
    SINGLE: {
        "data_type": (4, 10),
        "db_name": (14, 18),
        DESCRIPTION: (148, 80),
        "aux_file": (228, 24),
        "intent_name": (328, 16),
    },
    DOUBLE: {
        DESCRIPTION: (240, 80),
        "aux_file": (320, 24),
        "intent_name": (508, 16),
        "unused_str": (525, 15),
    },
}
"""Free fields by the size of the header: first byte, length."""
DESCRIPTION_BYTES = 80
SYNTHETIC = "Synthetic"
YES = ("yes", "true", "1", "1.0")  # marks of a drawn head, in any case
SHOWN = 6  # fields that a remark names
WHO = ("PatientName", "PatientID")  # before all others
DRAWN_HEAD = f"{SYNTHETIC} (Lamina). Not a person."
DRAWN_SERIES = f"{SYNTHETIC}, as the DICOM series says"
DRAWN_BESIDE = f"{SYNTHETIC}, as a file beside it says"
DRAWN_LESIONS = "lesions, drawn"
OWN = re.compile(
    rf"{re.escape(DRAWN_HEAD)}|{re.escape(DRAWN_SERIES)}|{re.escape(DRAWN_BESIDE)}"
    rf"|(?:{SYNTHETIC}\. )?(?:{DRAWN_LESIONS}"
    r"|Lamina (?:map|anomalies|tissues|structures); research use"
    r"|Lamina SR, mean of \d{1,3}, seed \d{1,10}; research use"
    r"(?:; (?:expected RMSE|std|std unknown))?)",
    re.ASCII,
)
"""Whole descriptions that are written here; they name nobody and are kept. No others are."""


def own_description(header: bytes) -> str:
    """What a header's description says, if it was written here; else nothing."""
    start, length = FREE[len(header)][DESCRIPTION]
    text = header[start : start + length].split(b"\0")[0].decode("utf-8", errors="replace")
    return text if OWN.fullmatch(text) else ""


def as_marked(text: str, *, synthetic: bool) -> str:
    """A description of what was made from a scan, which hands on that no scanner made it."""
    return f"{SYNTHETIC}. {text}" if synthetic else text


def marks_synthetic(mark: object, kinds: object = ()) -> bool:
    """Whether a mark, or one of an image's kinds, says in any case that no scanner made it.

    >>> marks_synthetic("Yes"), marks_synthetic(None, ["DERIVED", "synthetic"]), marks_synthetic(0)
    (True, True, False)

    Args:
        mark: What stands in a field or column of its own, for instance ``SyntheticData``.
        kinds: ``ImageType``: words, or one.
    """
    if str(mark).strip().lower() in YES:
        return True
    words = kinds.split("\\") if isinstance(kinds, str) else kinds  # as DICOM writes several
    words = words if isinstance(words, Iterable) else (words,)
    return SYNTHETIC.lower() in {str(word).strip().lower() for word in words}


def checked_description(text: str) -> bytes:
    """A description as a header holds it.

    Raises:
        Refusal: It is too long.
    """
    encoded = text.encode("utf-8", errors="replace")
    if len(encoded) > DESCRIPTION_BYTES:
        raise Refusal(
            f"description {text!r} takes {len(encoded)} bytes: NIfTI keeps {DESCRIPTION_BYTES}; "
            "shorten it."
        )
    return encoded


def without_words(header: bytes) -> bytes:
    """A header whose free fields are empty, but for a description that was written here."""
    clean = bytearray(header)
    for name, (start, length) in FREE[len(header)].items():
        kept = own_description(header) if name == DESCRIPTION else ""
        clean[start : start + length] = kept.encode().ljust(length, b"\0")
    return bytes(clean)


def words_removed(header: bytes, extensions: Sequence[int] = ()) -> tuple[str, ...]:
    """The names of free fields that hold something and are not handed on.

    Args:
        header: As it stands in the file.
        extensions: Codes of the header's extensions.
    """
    clean = without_words(header)
    fields = [
        name
        for name, (start, length) in FREE[len(header)].items()
        if header[start : start + length] != clean[start : start + length]
    ]
    return (*fields, *(f"extension of code {code}" for code in sorted(set(extensions))))


def removal_remarks(removed: Sequence[str]) -> tuple[str, ...]:
    """What a person is told of it, in one line; none where nothing was there."""
    if not removed:
        return ()
    told = [name for name in removed if name.startswith(("Patient", "Institution"))]
    told.sort(key=lambda name: name not in WHO)
    shown = [*told, *(name for name in removed if name not in told)][:SHOWN]
    more = len(removed) - len(shown)
    rest = f" and {more} more, all named in the record" if more else ""
    return (f"left out of every output: {', '.join(shown)}{rest}",)
