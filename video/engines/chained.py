"""A clip that goes on by an engine that begins from a picture: window after window.

Each window begins with the last frame of the one before, which such an engine keeps as it keeps
any first picture. Its colors are moved so that its first frame has those of the picture: mean
and spread of every channel, which else drift from window to window.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.operations.operation import OnStep
from core.refusal import Refusal
from video.engines.canvas import Canvas
from video.engines.engine import never
from video.engines.rules import Rules
from video.request import VideoRequest

if TYPE_CHECKING:
    from video.engines.engine import Engine, Loaded
    from video.files.clip import Clip

LEAST_SPREAD = 1.0  # of 255: a plain picture has none to go by
MOST_STRETCH = 1.5


def chained(
    loaded: "Loaded", engine: "Engine", request: VideoRequest, canvas: Canvas, on_step: OnStep
) -> "Clip":
    """The frames after those that are given.

    Args:
        loaded: The engine with its weights.
        engine: The same before it was loaded.
        request: Settled; as many frames as its windows have at most.
        canvas: Whose given frames come first.
        on_step: Told of the steps of all windows.

    Raises:
        Refusal: Frames before the given ones are asked for.
    """
    from video.files.clip import Clip

    given = canvas.whole
    if not given or given != list(range(len(given))):
        raise Refusal(
            f"engine={request.engine} asked for what does not follow a given frame: an engine "
            "that begins from a picture goes on alone; leave frames_before out, or leave engine "
            "out for our own model."
        )
    frames, done = canvas.frames.copy(), len(given)
    plan = windows_of(engine.rules, request.num_frames, len(frames) - done)
    facts: dict[str, Any] = {"windows": len(plan)}
    begun: list[VideoRequest] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, size in enumerate(plan):
            last = frames[done - 1]
            picture = Path(folder) / f"{number}.png"
            Image.fromarray(last).save(picture)
            asked = request.model_copy(
                update={"first": str(picture), "num_frames": size, "seed": request.seed + number}
            )

            def told(step: int, steps: int, estimate: Any, number: int = number) -> None:
                on_step(number * steps + step, len(plan) * steps, estimate)

            begun.append(asked)
            latents = loaded.denoise(asked, None, told, never)
            clip = loaded.decode(asked, latents)
            new = anchored(clip.frames[1:], last)[: len(frames) - done]
            frames[done : done + len(new)] = new
            done += len(new)
            facts |= {k: v for k, v in clip.facts.items() if k not in ("given_frames",)}
        for asked in begun:  # what is kept of each lets a clip go on that was killed
            engine.forget(asked)
    return Clip(frames, request.fps, facts)


def windows_of(rules: Rules, usual: int, missing: int, given: int = 1) -> list[int]:
    """How many frames each window has, those given included: lawful, and no more than needed.

    Args:
        rules: Of the engine.
        usual: Frames of a window, at most.
        missing: Frames that are not there yet.
        given: Frames of each window that are there already.
    """
    plan = []
    while missing > 0:
        need = max(given + 1, min(usual, missing + given))
        size = next(n for n in range(need, usual + 2) if rules.given(n) == n or n > usual)
        size = min(size, usual)
        plan.append(size)
        missing -= size - given
    return plan


def anchored(frames: NDArray[np.uint8], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames whose colors begin where those of a picture are.

    Args:
        frames: (T, H, W, 3), the first of which follows the picture.
        picture: (H, W, 3).
    """
    return moved(frames, frames[:1], picture[None])


def moved(
    frames: NDArray[np.uint8], own: NDArray[np.uint8], wanted: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Frames whose colors are moved as some have to be to look like others.

    Args:
        frames: (T, H, W, 3).
        own: (N, H, W, 3) of the same engine.
        wanted: (N, H, W, 3) whose mean and spread of every channel they should have.
    """
    if not len(frames):
        return frames
    here = own.reshape(-1, 3).astype(np.float64)
    there = wanted.reshape(-1, 3).astype(np.float64)
    spread = np.maximum(here.std(0), LEAST_SPREAD)
    scale = np.clip(
        np.maximum(there.std(0), LEAST_SPREAD) / spread, 1 / MOST_STRETCH, MOST_STRETCH
    )
    found = (frames - here.mean(0)) * scale + there.mean(0)
    return np.rint(np.clip(found, 0, 255)).astype(np.uint8)
