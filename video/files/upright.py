"""Pictures turned and mirrored as their file says that they are to be seen.

The matrix is that of ISO 14496-12, 6.2.2: a point (x, y) goes to (a x + c y, b x + d y).
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MATRIX = "DISPLAYMATRIX"
NEAR = 1e-3  # of a right angle


@dataclass(frozen=True)
class Turn:
    """What is done to a picture before it is seen.

    Attributes:
        across: Whether rows become columns, first.
        rows: Whether the last row becomes the first.
        columns: Whether the last column becomes the first.
        right: Whether the matrix says just that; false where it asks for another angle.
    """

    across: bool = False
    rows: bool = False
    columns: bool = False
    right: bool = True

    def of(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture (H, W, C) as it is seen."""
        image = image.swapaxes(0, 1) if self.across else image
        return image[:: -1 if self.rows else 1, :: -1 if self.columns else 1]


def turn_of(frame: Any) -> Turn:
    """How a decoded frame is to be turned; by the nearest right angle where it is another."""
    for told in frame.side_data:
        if told.type.name == MATRIX:
            return turn_by(struct.unpack("<9i", bytes(told)[:36]))
    return Turn()


def turn_by(matrix: tuple[int, ...]) -> Turn:
    """How a matrix turns a picture.

    >>> turn_by((0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))  # clockwise
    Turn(across=True, rows=False, columns=True, right=True)
    """
    a, b, _, c, d, *_ = matrix
    along, over = max(abs(a), abs(d)), max(abs(b), abs(c))
    if not along and not over:  # which some write where they mean nothing
        return Turn()
    right = min(along, over) <= NEAR * max(along, over)
    if along >= over:
        return Turn(rows=d < 0, columns=a < 0, right=right)
    return Turn(True, b < 0, c < 0, right=right)
