"""Whether frames that were written and read back look as they did."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 8  # pixels on a side of the blocks whose mean colors are compared after writing
CLOSE = 20.0  # how far a block's color may be off, in 8-bit steps; 0/255 noise measures 12
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # BT.601


def compare(wrote: Iterable[NDArray[np.uint8]], seen: Iterable[NDArray[np.uint8]]) -> None:
    """Raise unless every frame (H, W, 3) shows the colors of the one that was written.

    Args:
        wrote: What was to be written.
        seen: What was decoded, of the same size or padded at its bottom and right.

    Raises:
        RuntimeError: There are fewer or more, or the colors of a block are others.
    """
    pairs = enumerate(zip(wrote, seen, strict=True))
    try:
        for index, (frame, decoded) in pairs:
            cut = decoded[: frame.shape[0], : frame.shape[1]]
            error = float(np.abs(_block_colors(cut) - _block_colors(_shown(frame))).max())
            if error > CLOSE:
                raise RuntimeError(
                    f"decoded frame {index} has a block {error:.0f} steps off: up to {CLOSE:.0f} "
                    "is encoding loss"
                )
    except ValueError as error:
        raise RuntimeError("decoded another number of frames than was written") from error


def _shown(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The frame as 4:2:0 can show it: color shared by 2 x 2 pixels, clipped to 0..255."""
    height, width, _ = frame.shape
    image = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    image = image.astype(np.float32)
    pairs = image[::2] + image[1::2]
    shared = (pairs[:, ::2] + pairs[:, 1::2]) / np.float32(4)
    color = shared - (shared @ LUMA)[..., None]
    rgb = color.repeat(2, 0).repeat(2, 1)
    rgb += (image @ LUMA)[..., None]
    return np.clip(rgb, 0, 255, dtype=np.float32)[:height, :width]


def _block_colors(frame: NDArray[Any]) -> NDArray[np.float32]:
    rows, columns = frame.shape[0] // BLOCK, frame.shape[1] // BLOCK
    whole = frame[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, -1)
    # one axis after the other: numpy takes four times as long for both at once
    sums = whole.sum(1, dtype=np.float32).reshape(rows, columns, BLOCK, 3)
    return sums.sum(2, dtype=np.float32) / np.float32(BLOCK**2)
