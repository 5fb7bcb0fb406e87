"""What is expected at an age and sex: least squares over people, maps and sizes alike.

Of the people behind a model's weights, all together, this is a weight of the model as those of its
networks are. Heads drawn around what the people of their own pool have in common would all show
that pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medical.anatomy.filters import Floats

TERMS = 3
"""A mean, ten years of age, sex."""


@dataclass(frozen=True, eq=False)
class Expected:
    """Coefficients of a mean, of ten years of age and of sex.

    Attributes:
        wide: (TERMS, 3, X, Y, Z) of the maps of whole heads.
        deep: (TERMS, 3, X, Y, Z) of those at depth.
        sizes: (TERMS, 3) of the logarithm of extents.
        people: How many they were found from.
    """

    wide: Floats
    deep: Floats
    sizes: NDArray[np.floating]
    people: int


def expected_of(
    told: Sequence[tuple[float, str]],
    wide: NDArray[np.uint8],
    deep: NDArray[np.uint8],
    sizes: Sequence[tuple[float, float, float]],
) -> Expected:
    """Least squares over people.

    Args:
        told: Age and sex of each.
        wide: (P, 3, X, Y, Z) maps, 255 is all tissue.
        deep: (P, 3, X, Y, Z) likewise.
        sizes: Extents of each.
    """
    solve = np.linalg.pinv(_rows(told))

    def fitted(maps: NDArray[np.uint8]) -> Floats:
        found = solve.astype(np.float32) @ _fractions(maps).reshape(len(maps), -1)
        return found.reshape(TERMS, *maps.shape[1:])

    return Expected(fitted(wide), fitted(deep), solve @ np.log(sizes), len(told))


def at(coefficients: NDArray[np.floating], age: float, sex: str) -> NDArray[np.float64]:
    """What coefficients (TERMS, ...) say of an age and sex."""
    told = _rows([(age, sex)])[0] @ coefficients.reshape(TERMS, -1)
    return told.astype(np.float64).reshape(coefficients.shape[1:])


def apart(
    told: Sequence[tuple[float, str]], maps: NDArray[np.uint8], coefficients: Floats
) -> Floats:
    """(P, 3, X, Y, Z) what sets people apart from what is expected of them."""
    rows = _rows(told).astype(np.float32)
    return (_fractions(maps) - np.tensordot(rows, coefficients, 1)).astype(np.float32)


def _fractions(maps: NDArray[np.uint8]) -> Floats:
    """Stored maps, 0 to 1."""
    return maps.astype(np.float32) / np.float32(255)


def _rows(told: Sequence[tuple[float, str]]) -> NDArray[np.float64]:
    return np.array([[1.0, (age - 35.0) / 10.0, 0.5 if s == "f" else -0.5] for age, s in told])
