"""What a clip under way is going to look like: a small moving picture, every few seconds.

Each engine tells after a step what it has: pixels, or something that can be decoded small. A look
that fails is left out; the clip is more than its preview.
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.operations.operation import OnStep
from core.progress import Sparing

logger = logging.getLogger(__name__)

Shown = Callable[[bytes, int, int], None]
EVERY_S, SHARE = 5.0, 0.01
MOST_FRAMES, MOST_SIDE, MOST_KB = 16, 96, 60
USUAL_FPS = 8.0


def frames_of(estimate: Any) -> NDArray[np.uint8] | None:
    """What an engine's estimate shows, (T, H, W, 3); None where it tells nothing.

    Args:
        estimate: Pixels (1, 3, T, H, W) in [-1, 1], or something with ``frames()``.
    """
    if frames := getattr(estimate, "frames", None):
        return frames()
    if getattr(estimate, "ndim", 0) != 5 or estimate.shape[1] != 3:
        return None
    from video.engines.own import to_frames

    return to_frames(estimate[:1]).numpy()


def preview_of(estimate: Any) -> bytes | None:
    """The same as a small moving WebP, of few frames."""
    frames = frames_of(estimate)
    if frames is None:
        return None
    from video.files.clip import Clip, webp_preview

    every = -(-len(frames) // MOST_FRAMES)
    coarse = -(-max(frames.shape[1:3]) // MOST_SIDE)
    thinned = np.ascontiguousarray(frames[::every, ::coarse, ::coarse])
    return webp_preview(Clip(thinned, USUAL_FPS), max_kb=MOST_KB)


def with_previews(on_step: OnStep, shown: Shown | None) -> OnStep:
    """The same, that also shows now and then what is predicted, at a hundredth of the time.

    Args:
        on_step: Called first, with everything.
        shown: Takes a WebP, steps done and in all; None to show nothing.
    """
    if shown is None:
        return on_step
    sparing = Sparing(EVERY_S, SHARE)

    def step(done: int, total: int, estimate: Any) -> None:
        on_step(done, total, estimate)
        if done >= total:
            return
        with sparing as due:
            try:
                if due and (picture := preview_of(estimate)):
                    shown(picture, done, total)
            except Exception as error:
                logger.warning("no preview of step %d: %s: %s", done, type(error).__name__, error)

    return step
