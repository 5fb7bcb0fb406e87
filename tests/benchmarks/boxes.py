"""Measures whether clips obey boxes: `python tests/benchmarks/boxes.py NUMBER [FIRST]`.

Prompts and boxes are those of drawn scenes of the procedural world; each thing's box encloses it,
not turned, in frames 0, 5, 10 and 15. The oracle's eye reads the things back as courses; a clip's
count is right where it finds as many things as were asked for, and a thing's overlap is the mean,
over frames, of intersection over union of its box with the asked one. Wrong counts overlap by 0.
"""

import json
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from video.engines.canvas import Canvas
from video.engines.laid_boxes import box_of, boxed_things
from video.engines.things import things_of
from video.operations.table import OPERATIONS
from video.oracle.oracle import read_clip
from video.request import VideoRequest
from video.world.captions import caption
from video.world.scene_table import tabulate, tracks
from video.world.scenes import Scene
from video.world.world import draw_scene

Rows = NDArray[np.float64]
NAMED = (0, 5, 10, 15)


def things_in(scene: Scene) -> list[dict[str, Any]]:
    """The scene's things as a file of boxes has them."""
    course = tracks(tabulate([scene]))[0].numpy().astype(float)
    shapes = [(o.shape, o.color) for o in scene.objects for _ in o.centers]
    found = []
    for (shape, color), rows in zip(shapes, course, strict=False):
        sides = np.clip(box_of(shape, rows), 0, 64).round(2)
        boxes = {str(n): sides[n].tolist() for n in NAMED}
        found.append({"shape": shape, "color": color, "boxes": boxes})
    return found


def overlap(one: Rows, other: Rows) -> float:
    """Mean over frames of intersection over union of boxes (T, 4)."""
    first, last = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    shared = np.clip(last - first, 0, None).prod(1)
    areas = [(box[:, 2:] - box[:, :2]).prod(1) for box in (one, other)]
    return float((shared / (areas[0] + areas[1] - shared)).mean())


def read_back(request: VideoRequest, frames: NDArray[np.uint8]) -> tuple[bool, list[float]]:
    """Whether the count is right, and each asked thing's overlap."""
    asked = [box_of(thing.shape, thing.course) for thing in boxed_things(request)]
    things = things_of(Canvas(frames, np.ones(frames.shape[:3], bool)))
    seen = [box_of(thing.shape, thing.course(len(frames))) for thing in things]
    if not len(read_clip(frames).things) == len(seen) == len(asked):
        return False, [0.0] * len(asked)
    table = np.array([[overlap(one, other) for other in seen] for one in asked])
    return True, table[linear_sum_assignment(-table)].tolist()


def measured(number: int, first: int = 0) -> dict[str, Any]:
    """Draw so many prompts with boxes, and read them back."""
    operation, model, counts, overlaps, refused = OPERATIONS["text_to_video"], None, [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + number):
            scene = draw_scene(Random(1_000_000 + seed))
            file = Path(folder) / "boxes.json"
            file.write_text(json.dumps({"things": things_in(scene)}))
            request = VideoRequest(prompt=caption(scene, Random(seed)), boxes=str(file), seed=seed)
            try:
                operation.check(request)
            except ValueError:
                refused += 1
                continue
            model = model or operation.source(request).load("cpu")
            prepared = operation.prepare(request)
            clip = operation.draw(request, prepared, model, lambda *_: None)
            right, each = read_back(request, clip.frames)
            counts.append(right)
            overlaps += each
    return {
        "clips": len(counts),
        "refused": refused,
        "count_right": round(float(np.mean(counts)), 4),
        "things": len(overlaps),
        "mean_iou": round(float(np.mean(overlaps)), 4),
        "things_of_iou_0.9": round(float(np.mean(np.array(overlaps) >= 0.9)), 4),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measured(*map(int, sys.argv[1:]))) + "\n")
