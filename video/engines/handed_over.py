"""A clip that goes on both ways by an engine that takes masks: each window is shown the last.

A window begins with frames of the one before, which are given whole, so that motion goes on and
not only a picture. Its colors are moved by what the engine made of these frames: mean and spread
of every channel, which else drift from window to window.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.operations.operation import OnStep
from video.engines.canvas import Canvas
from video.engines.chained import moved, windows_of
from video.request import VideoRequest

if TYPE_CHECKING:
    from video.engines.engine import Engine, Loaded
    from video.files.clip import Clip

OVERLAP = 9  # frames a window is shown of the one before, at most, and no more than a half of it


@dataclass(frozen=True)
class Step:
    """One window: where it begins, its frames, and which of them are given.

    Attributes:
        begin: Of the window; before the canvas where it has more frames than are missing.
        size: Frames.
        given: Frames of it that are there already.
        forward: Whether these come first; else they come last.
    """

    begin: int
    size: int
    given: int
    forward: bool


def handed_over(
    loaded: "Loaded", engine: "Engine", request: VideoRequest, canvas: Canvas, on_step: OnStep
) -> "Clip":
    """The frames before and after those that are given.

    Args:
        loaded: The engine with its weights.
        engine: The same before it was loaded.
        request: Settled; as many frames as its windows have at most.
        canvas: Whose given frames stand together.
        on_step: Told of the steps of all windows.
    """
    from video.files.clip import Clip

    frames, plan = canvas.frames.copy(), steps_of(engine, request, canvas)
    facts: dict[str, Any] = {"windows": len(plan), "frames_handed_over": plan[0].given}
    begun: list[tuple[VideoRequest, Canvas]] = []
    for number, step in enumerate(plan):
        part = window_of(frames, step)
        asked = request.model_copy(update={"num_frames": step.size, "seed": request.seed + number})

        def told(done: int, steps: int, estimate: Any, number: int = number) -> None:
            on_step(number * steps + done, len(plan) * steps, estimate)

        begun.append((asked, part))
        clip = loaded.complete(asked, part, told)
        place(clip.frames, part, frames, step)
        facts |= {k: v for k, v in clip.facts.items() if k != "given_frames"}
    for asked, part in begun:  # what is kept of each lets a clip go on that was killed
        engine.forget(asked, part)
    return Clip(frames, request.fps, facts)


def steps_of(engine: "Engine", request: VideoRequest, canvas: Canvas) -> list[Step]:
    """The windows, those after the given frames first."""
    first, last = canvas.whole[0], canvas.whole[-1]
    end, usual = len(canvas.frames), request.num_frames
    given = max(1, min(OVERLAP, last + 1 - first, usual // 2))
    plan, done = [], last + 1
    for size in windows_of(engine.rules, usual, end - done, given):
        plan.append(Step(done - given, size, given, forward=True))
        done += size - given
    done = first
    for size in windows_of(engine.rules, usual, done, given):
        plan.append(Step(done + given - size, size, given, forward=False))
        done -= size - given
    return plan


def window_of(frames: NDArray[np.uint8], step: Step) -> Canvas:
    """The canvas of a window, of whose frames those are given that lap over."""
    known = np.zeros(step.size, bool)
    known[slice(step.given) if step.forward else slice(-step.given, None)] = True
    shown = np.zeros((step.size, *frames.shape[1:]), np.uint8)
    at = step.begin + np.flatnonzero(known)
    shown[known] = frames[at]
    return Canvas(shown, np.broadcast_to(known[:, None, None], shown.shape[:3]).copy())


def place(drawn: NDArray[np.uint8], part: Canvas, frames: NDArray[np.uint8], step: Step) -> None:
    """Put a window's new frames where they belong, in the colors of those that were given.

    Args:
        drawn: (T, H, W, 3) what the engine made of the window.
        part: What it was shown.
        frames: Of the whole clip, changed.
        step: The window.
    """
    known = part.given.all((1, 2))
    new = moved(drawn[~known], drawn[known], part.frames[known])
    at = step.begin + np.flatnonzero(~known)
    inside = (at >= 0) & (at < len(frames))
    frames[at[inside]] = new[inside]
