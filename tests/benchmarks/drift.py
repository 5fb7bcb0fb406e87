"""Measures how clips hold over 8 windows: `python tests/benchmarks/drift.py FIRST NUMBER`.

Drawn scenes of one, two and three things in turn, 16 frames each, go on for 64 frames in windows
of 8 new ones. Of each window mean and spread of every channel are taken, in shares of the range,
and so they are of what the world's own renderer draws of the same courses on the given
background; drift is the largest change of the difference from one window to the next, so that
things that grow or leave do not count as such. A seam is the change from the last given frame to
the first new one, over the clip's median change.
"""

import json
import sys
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from video.engines.canvas import Canvas
from video.engines.layouts import read_layouts
from video.engines.own import to_frames
from video.engines.own_canvas import layout_of
from video.engines.own_changes import change, placed
from video.engines.own_engine import OwnEngine, encoder
from video.engines.things import ground_of, things_of
from video.oracle.oracle import Reading, read_clip
from video.request import VideoRequest
from video.world.rendering import render, render_things
from video.world.scenes import NUM_FRAMES
from video.world.world import draw_scene

GIVEN, WINDOW, WINDOWS = 16, 8, 8
Frames = NDArray[np.uint8]


def begun(seed: int) -> Canvas:
    """The scene's 16 frames before 64 of which nothing is given."""
    shares = tuple(float(seed % 3 == number) for number in range(3))
    frames = to_frames(render([draw_scene(Random(seed), count_shares=shares)])).numpy()
    sides = ((0, WINDOW * WINDOWS), (0, 0), (0, 0))
    return Canvas(np.pad(frames, (*sides, (0, 0))), np.pad(np.ones(frames.shape[:3], bool), sides))


def ideal(canvas: Canvas) -> Frames:
    """What the renderer draws of the same courses, 16 frames at a time."""
    layout = layout_of(placed(things_of(canvas), "", canvas), len(canvas.frames))
    ground = torch.from_numpy(ground_of(canvas)).float()[None] / 127.5 - 1
    drawn = []
    for first in range(0, len(canvas.frames), NUM_FRAMES):
        things = read_layouts(layout[:, :, first : first + NUM_FRAMES])
        shapes = things.shape.masked_fill(~things.present, -1)
        x = render_things(things.course, things.paint, ground, shapes)
        drawn.append(to_frames(x.clamp(-1, 1)).numpy())
    return np.concatenate(drawn)


def windowed(frames: Frames) -> NDArray[np.float64]:
    """Mean and spread of every channel of each window, in shares of the range: (W, 2, 3)."""
    windows = frames.reshape(-1, WINDOW, *frames.shape[1:]) / 255
    return np.stack([windows.mean((1, 2, 3)), windows.std((1, 2, 3))], 1)


def known(reading: Reading) -> tuple[str | None, list[tuple[str, str]]]:
    """What is compared of two ends of a clip."""
    looks = sorted((str(thing.shape), str(thing.color)) for thing in reading.things)
    return reading.background, looks


def measured(seed: int, model: Any) -> dict[str, Any]:
    """One scene, gone on."""
    canvas = begun(seed)
    request = VideoRequest(prompt="x", seed=seed).model_copy(update={"prompt": ""})
    frames = np.array(change(request, canvas, model, encoder(), lambda *_: None).frames)
    canvas.paste(frames)
    found = windowed(frames)
    off = found - windowed(ideal(canvas))
    steps = np.abs(np.diff(frames.astype(float), axis=0)).mean((1, 2, 3))
    kept = np.array_equal(frames[:GIVEN], canvas.frames[:GIVEN])
    same = known(read_clip(frames[:GIVEN])) == known(read_clip(frames[-GIVEN:]))
    return {
        "seed": seed,
        "given_bit_equal": kept,
        "same_things_at_the_end": same,
        "drift_of_mean": round(float(np.abs(np.diff(off[:, 0], axis=0)).max()), 4),
        "drift_of_spread": round(float(np.abs(np.diff(off[:, 1], axis=0)).max()), 4),
        "change_of_mean_with_motion": round(float(np.abs(np.diff(found[:, 0], axis=0)).max()), 4),
        "seam": round(float(steps[GIVEN - 1] / np.median(steps)), 2),
    }


if __name__ == "__main__":
    first, number = map(int, sys.argv[1:])
    loaded = OwnEngine("scenes-64").load("cpu")
    for each in range(first, first + number):
        sys.stdout.write(json.dumps(measured(each, loaded)) + "\n")
        sys.stdout.flush()
