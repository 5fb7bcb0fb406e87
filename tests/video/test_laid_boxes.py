"""Clips that are laid out by boxes: where things end up, and which boxes are refused."""

import json

import numpy as np
import pytest
import torch

from core.refusal import Refusal
from flows.jobs.pipeline import make, record_path
from video.engines.canvas import Canvas
from video.engines.laid_boxes import SIDES, box_of, boxed_things
from video.engines.things import things_of
from video.files.clip import read_mp4
from video.operations.table import OPERATIONS
from video.request import VideoRequest
from video.world.rendering import coverage

TWO = "a red circle and a blue square"
SQUARE = {"shape": "square", "boxes": {"0": [6, 40, 20, 54]}}
CIRCLE = {"boxes": {"0": [4, 6, 20, 22], "15": [44, 6, 60, 22]}}


def asked(tmp_path, things, prompt=TWO, **changes):
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps({"things": things}))
    return VideoRequest.model_validate({"prompt": prompt, "boxes": str(file), **changes})


def test_things_stand_in_their_boxes(tmp_path):
    operation, request = OPERATIONS["text_to_video"], asked(tmp_path, [SQUARE, CIRCLE], seed=2)
    operation.check(request)
    model, path = operation.source(request).load("cpu"), tmp_path / "clip.mp4"
    make(operation, request, path, model)
    frames = read_mp4(path).frames
    seen = {t.color: t for t in things_of(Canvas(frames, np.ones(frames.shape[:3], bool)))}
    assert {color: thing.shape for color, thing in seen.items()} == {
        "red": "circle", "blue": "square"
    }  # fmt: skip
    for thing in boxed_things(request):
        wanted, found = thing.course, seen[thing.color].course(16)
        assert np.abs(found[:, :3] - wanted[:, :3]).max() < 2
    record = json.loads(record_path(path).read_text())
    assert record["request"]["boxes"] == request.boxes
    assert record["inputs"]["boxes"]
    make(operation, request, tmp_path / "again.mp4", model)
    assert (tmp_path / "again.mp4").read_bytes() == path.read_bytes()


def test_a_request_without_boxes_is_what_it_was():
    assert "boxes" not in VideoRequest(prompt=TWO, seed=0).model_dump()


def test_sides_of_shapes_are_those_that_are_rendered():
    pixel = (torch.arange(640) + 0.5 - 320) / 4
    for shape in SIDES:
        share = coverage(shape, pixel[None], pixel[:, None], torch.tensor(40.0), torch.tensor(0.0))
        down, across = np.nonzero(share.numpy() > 0.5)
        course = np.array([[0.0, 0.0, 40.0, 0.0]])
        found = [float(pixel[n]) for n in (across.min(), down.min(), across.max(), down.max())]
        assert np.abs(box_of(shape, course)[0] - found).max() < 0.6


REFUSED = {
    "fewer": ([CIRCLE], {}, "has things: 1, and the prompt: 2"),
    "another shape": ([{**SQUARE, "shape": "star"}, CIRCLE], {}, "words beside boxes"),
    "another color": ([{**SQUARE, "color": "green"}, CIRCLE], {}, "words beside boxes"),
    "oblong": ([{"boxes": {"0": [4, 40, 40, 52]}}, CIRCLE], {}, "times as wide"),
    "small": ([{"boxes": {"0": [4, 40, 7, 43]}}, CIRCLE], {}, "pixels wide"),
    "lapping": ([{"boxes": {"0": [10, 10, 24, 24]}}, CIRCLE], {}, "two things lap at frame"),
    "longer": ([SQUARE, CIRCLE], {"num_frames": 32}, "leave num_frames"),
    "larger": ([SQUARE, CIRCLE], {"height": 96}, "64 x 96"),
    "no color": ([SQUARE, CIRCLE], {"prompt": "a circle and a square"}, "of no color"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_boxes_that_are_not_the_prompts_are_refused(case, tmp_path):
    things, changes, words = REFUSED[case]
    request = asked(tmp_path, things, **changes)
    with pytest.raises(Refusal, match=words):
        OPERATIONS["text_to_video"].check(request)


def test_other_engines_take_no_boxes(tmp_path):
    request = asked(tmp_path, [SQUARE, CIRCLE], engine="wan")
    with pytest.raises(Refusal, match="our own model alone is laid out"):
        OPERATIONS["text_to_video"].check(request)
