"""Measures whether clips obey boxes: `python tests/benchmarks/boxes.py LINES.jsonl NUMBER`.

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
from typing import Any, TextIO

import numpy as np

from video.engines.held_boxes import read_back
from video.engines.laid_boxes import box_of, boxed_things
from video.operations.table import OPERATIONS
from video.request import VideoRequest
from video.world.captions import caption
from video.world.scene_table import tabulate, tracks
from video.world.scenes import Scene
from video.world.world import draw_scene

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


def asked(number: int, folder: Path) -> VideoRequest:
    """A prompt of a drawn scene, and its boxes as a file."""
    scene = draw_scene(Random(1_000_000 + number))
    file = folder / f"boxes-{number}.json"
    file.write_text(json.dumps({"things": things_in(scene)}))
    return VideoRequest(prompt=caption(scene, Random(number)), boxes=str(file), seed=number)


def drawn(numbers: range, out: TextIO) -> None:
    """Draw so many prompts with boxes, and say how each was obeyed, one line each."""
    operation, model = OPERATIONS["text_to_video"], None
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            request = asked(number, Path(folder))
            told: dict[str, Any] = {"number": number, "prompt": request.prompt}
            try:
                operation.check(request)
            except ValueError as error:
                told["refused"] = str(error)
            else:
                model = model or operation.source(request).load("cpu")
                clip = operation.draw(request, operation.prepare(request), model, lambda *_: None)
                things = boxed_things(request)
                each, _ = read_back(things, clip.frames)
                told |= {"count_right": bool(each)}
                told["iou"] = [round(one, 4) for one in each or [0.0] * len(things)]
            out.write(json.dumps(told) + "\n")
            out.flush()


def measured(told: list[dict[str, Any]]) -> dict[str, Any]:
    """All of it in a row."""
    clips = [one for one in told if "refused" not in one]
    overlaps = np.array([iou for one in clips for iou in one["iou"]])
    return {
        "clips": len(clips),
        "refused": len(told) - len(clips),
        "count_right": round(float(np.mean([one["count_right"] for one in clips])), 4),
        "things": len(overlaps),
        "mean_iou": round(float(overlaps.mean()), 4),
        "things_of_iou_0.9": round(float((overlaps >= 0.9).mean()), 4),
        "least_iou": round(float(overlaps.min()), 4),
    }


def main(file: Path, number: int) -> None:
    """Go on with a file of lines until so many clips stand in it, and print the row."""
    file.touch()
    told = [json.loads(line) for line in file.read_text().splitlines()]
    with file.open("a") as out:
        drawn(range(len(told), number), out)
    told = [json.loads(line) for line in file.read_text().splitlines()][:number]
    sys.stdout.write(json.dumps(measured(told)) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
