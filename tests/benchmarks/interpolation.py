"""Measures frames put between others: `python tests/benchmarks/interpolation.py CLIP... SCENES`.

Of 7 frames of each filmed clip, from the 16th on and 256 pixels wide, and of 15 frames of each
drawn scene, every second is given and those between are put back: by the mean of both, by
ffmpeg's motion-compensated filter as the product uses it, by DIS optical flow where OpenCV is
installed (a half of each flow, both ways, averaged), and, of scenes, by our own model, that fills
what is not given. PSNR over moving pixels alone: those that differ by more than 10 of 255 in a
channel among the two given frames and the true one. Last come differences of ways, with 95 %
intervals by resampling clips.
"""

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.refusal import Refusal
from video.engines.canvas import Canvas
from video.engines.own import to_frames
from video.engines.own_changes import change
from video.engines.own_engine import OwnEngine, encoder
from video.files.filters import interpolated
from video.request import VideoRequest
from video.world.rendering import render
from video.world.world import draw_scene

Frames = NDArray[np.uint8]
Values = NDArray[np.float64]
SKIPPED, TAKEN, WIDE, OF_SCENES, MOVES = 15, 7, 256, 15, 10
COMPARED, DRAWS = (("ffmpeg", "blend"), ("DIS", "ffmpeg"), ("own model", "ffmpeg")), 10_000


def filmed(path: Path) -> Frames:
    """A few frames of a clip."""
    found = []
    with av.open(str(path)) as file:
        for number, frame in enumerate(file.decode(video=0)):
            if number >= SKIPPED:
                seen = frame.to_image()
                size = WIDE, round(seen.height * WIDE / seen.width / 2) * 2
                found.append(np.asarray(seen.resize(size, Image.Resampling.BOX)))
            if len(found) == TAKEN:
                break
    if len(found) < TAKEN:
        raise Refusal(
            f"{path} has {SKIPPED + len(found) if found else 'too few'} frames: {TAKEN} from the "
            f"{SKIPPED + 1}th on are measured, {SKIPPED + TAKEN} in all; name a longer clip."
        )
    return np.stack(found)


def drawn(seed: int) -> Frames:
    """A scene of one, two or three kinds of thing."""
    shares = tuple(float(seed % 3 == number) for number in range(3))
    frames = to_frames(render([draw_scene(Random(seed), count_shares=shares)])).numpy()
    return frames[:OF_SCENES]


def by_flow(one: Frames, other: Frames) -> Values:
    """Each of two frames moved along a half of its flow, and their mean."""
    cv2: Any = importlib.import_module("cv2")
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (one, other)]
    y, x = np.mgrid[: one.shape[0], : one.shape[1]].astype(np.float32)
    moved = []
    for frame, here, there in ((one, 0, 1), (other, 1, 0)):
        across, down = np.moveaxis(flow.calc(grey[here], grey[there], None) / 2, -1, 0)
        edge = {"borderMode": cv2.BORDER_REPLICATE}
        moved.append(cv2.remap(frame, x - across, y - down, cv2.INTER_LINEAR, **edge))
    return np.mean(moved, axis=0)


def by_own_model(true: Frames, model: Any, seed: int) -> Values:
    """The frames between, filled in."""
    given = np.zeros(true.shape[:3], bool)
    given[::2] = True
    canvas = Canvas(np.where(given[..., None], true, 0).astype(np.uint8), given)
    request = VideoRequest(prompt="x", seed=seed, num_frames=len(true))
    request = request.model_copy(update={"prompt": ""})
    clip = change(request, canvas, model, encoder(), lambda *_: None)
    return clip.frames[1::2].astype(float)


def measured(true: Frames, more: dict[str, Values]) -> dict[str, float]:
    """PSNR of each way, in dB over moving pixels; empty where nothing moves."""
    before, after, middle = true[:-2:2].astype(float), true[2::2].astype(float), true[1::2]
    ways = {"blend": (before + after) / 2} | more
    ways["ffmpeg"] = interpolated(true[::2], 2)[1:-1:2].astype(float)
    if importlib.util.find_spec("cv2"):
        pairs = zip(true[:-2:2], true[2::2], strict=True)
        ways["DIS"] = np.stack([by_flow(one, other) for one, other in pairs])
    three = np.stack([before, after, middle.astype(float)])
    moving = np.ptp(three, axis=0).max(-1) > MOVES
    if not moving.any():
        return {}
    errors = {way: np.square(found - middle)[moving].mean() for way, found in ways.items()}
    least = 1e-3  # of an exact way, whose error is 0
    return {w: round(10 * float(np.log10(255**2 / max(e, least))), 2) for w, e in errors.items()}


def paired(rows: list[dict[str, float]], one: str, other: str) -> dict[str, Any]:
    """How much better one way is than another, in dB, with its 95 % interval over clips."""
    apart = np.array([row[one] - row[other] for row in rows if {one, other} <= set(row)])
    if len(apart) < 2:
        return {"clips": len(apart)}
    dice = np.random.default_rng(0)
    means = apart[dice.integers(0, len(apart), (DRAWS, len(apart)))].mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    said = {"mean": float(apart.mean()), "low": float(low), "high": float(high)}
    return {"clips": len(apart)} | {name: round(value, 2) for name, value in said.items()}


def main(words: list[str]) -> None:
    """Measure clips and scenes, row by row, and tell each kind's differences."""
    *clips, scenes = words
    if not importlib.util.find_spec("cv2"):
        sys.stderr.write("DIS optical flow is left out: it needs OpenCV (cv2).\n")
    shown = [filmed(Path(clip)) for clip in clips]  # refused before anything is measured
    rows = {"clip": [measured(frames, {}) for frames in shown], "scene": []}
    for clip, row in zip(clips, rows["clip"], strict=True):
        _say({"clip": Path(clip).name} | (row or {"nothing": "moves"}))
    network = OwnEngine("scenes-64").load("cpu") if int(scenes) else None
    for seed in range(9000, 9000 + int(scenes)):
        scene = drawn(seed)
        rows["scene"].append(measured(scene, {"own model": by_own_model(scene, network, seed)}))
        _say({"scene": seed} | (rows["scene"][-1] or {"nothing": "moves"}))
    for kind, found in rows.items():
        for one, other in COMPARED:
            _say({"of": kind, "better": one, "than": other} | paired(found, one, other))


def _say(row: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
