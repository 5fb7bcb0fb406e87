"""The plain background of a clip that goes on: what is drawn is held to the given color of it.

A network paints a background nearly in its color, and window after window a little farther from
it. Where what is given has a plain one, each drawn frame's is moved back to it; things stay.
"""

import numpy as np
from numpy.typing import NDArray

from video.engines.canvas import Canvas
from video.engines.things import ground_of

NEAR = 16.0  # RGB distance within which a pixel is the background's
PLAIN = 0.5  # share of pixels from which a background is one
FARTHEST = 40.0  # RGB distance within which what is drawn is meant for it
LEAST = 0.1  # share of a frame from which it is


def held_ground(frames: NDArray[np.uint8], canvas: Canvas) -> NDArray[np.uint8]:
    """Frames whose plain background has the color of the given one.

    Pixels on the way from the background to a thing are moved in part, by how much of the
    background is in them.

    Args:
        frames: (T, H, W, 3) as drawn.
        canvas: What is given; nothing changes where that has no plain background.
    """
    ground = plain_ground(canvas)
    if ground is None:
        return frames
    held = frames.copy()
    for frame in np.flatnonzero(~canvas.given.all((1, 2))):
        held[frame] = _moved(frames[frame].astype(np.float64), ground)
    return held


def plain_ground(canvas: Canvas) -> NDArray[np.float64] | None:
    """The color of the background of what is given; None where that is not plain."""
    if not canvas.given.any():
        return None
    ground = ground_of(canvas)
    seen = canvas.frames[canvas.given].astype(np.float64)
    plain = np.linalg.norm(seen - ground, axis=-1) < NEAR
    return ground if plain.mean() >= PLAIN else None


def _moved(frame: NDArray[np.float64], ground: NDArray[np.float64]) -> NDArray[np.uint8]:
    meant = np.linalg.norm(frame - ground, axis=-1) < FARTHEST  # (H, W)
    if meant.mean() < LEAST:
        return frame.astype(np.uint8)
    drawn = np.median(frame[meant], axis=0)
    off, away = ground - drawn, np.linalg.norm(frame - drawn, axis=-1)
    share = np.clip(2 - away / NEAR, 0, 1)[..., None]
    return np.rint(np.clip(frame + share * off, 0, 255)).astype(np.uint8)
