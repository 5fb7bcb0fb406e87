"""Whether frames that were written and read back look as they did."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 8  # pixels on a side of the blocks whose mean colors are compared after writing
CLOSE = 20.0  # how far a block's color may be off, in 8-bit steps; 0/255 noise measures 12
TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]],
    dtype=np.float32,
)


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
    image = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge") @ TO_YCC.T
    chroma = image[..., 1:].reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2, 2)
    image[..., 1:] = chroma.mean((1, 3)).repeat(2, 0).repeat(2, 1)
    rgb = image @ np.linalg.inv(TO_YCC).T.astype(np.float32)
    return np.clip(rgb, 0, 255, dtype=np.float32)[:height, :width]


def _block_colors(frame: NDArray[Any]) -> NDArray[np.float32]:
    rows, columns = frame.shape[0] // BLOCK, frame.shape[1] // BLOCK
    whole = frame[: rows * BLOCK, : columns * BLOCK].astype(np.float32)
    return whole.reshape(rows, BLOCK, columns, BLOCK, 3).mean((1, 3))
