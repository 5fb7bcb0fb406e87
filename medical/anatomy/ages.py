"""Ten years of age instead of an age, which may be that of one person."""

from __future__ import annotations

BAND_YEARS = 10


def band_of(age: float) -> int:
    """The first year of the ten that an age lies in.

    >>> band_of(44.5)
    40
    """
    return int(round(age, 1)) // BAND_YEARS * BAND_YEARS


def words_of_band(first: int) -> str:
    """Ten years in words.

    >>> words_of_band(40)
    '40 to 49'
    """
    return f"{first} to {first + BAND_YEARS - 1}"


def middle_of_band(first: int) -> float:
    """The age that is told for ten years.

    >>> middle_of_band(40)
    45.0
    """
    return first + BAND_YEARS / 2
