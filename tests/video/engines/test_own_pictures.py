"""Pictures that are frames of a clip by our own model: kept, obeyed, read from rows, refused."""

import json
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from core.refusal import Refusal
from core.seeds import generator
from flows.batches.items import items_of
from flows.jobs.origins import find_origin
from flows.jobs.pipeline import make, record_path
from flows.requests.batch_requests import ClipBatchRequest
from flows.requests.roots import named_paths
from video.engines.layouts import read_layouts
from video.engines.own import to_frames
from video.engines.own_pictures import DRAWN, pinned_layout
from video.engines.pictures import given
from video.engines.things import Thing
from video.operations.table import OPERATIONS
from video.oracle.oracle import read_clip, score
from video.request import VideoRequest
from video.world.prompts import parse_caption
from video.world.rendering import render
from video.world.scenes import BACKGROUNDS, COLORS, SYMMETRY
from video.world.world import draw_scene

PROMPT = "a red circle moving right on a navy background"


@pytest.fixture
def pictures(tmp_path):
    """Frames 0, 8 and 15 of a clip of the prompt that a person drew, as files."""
    rows = np.arange(64) + 0.5
    found = {}
    for frame in (0, 8, 15):
        pixels = np.full((64, 64, 3), BACKGROUNDS["navy"], np.uint8)
        pixels[np.hypot(rows[None] - 14 - 2.2 * frame, rows[:, None] - 30) < 8] = COLORS["red"]
        found[frame] = tmp_path / f"{frame}.png"
        Image.fromarray(pixels).save(found[frame])
    return found


def drawn(request):
    operation = OPERATIONS["text_to_video"]
    operation.check(request)
    model = operation.source(request).load("cpu")
    return operation.draw(request, operation.prepare(request), model, lambda *_: None)


def test_what_pictures_show_moves_as_the_prompt_says_and_they_are_frames(pictures):
    key = (f"8={pictures[8]}",)
    first, last = str(pictures[0]), str(pictures[15])
    request = VideoRequest(prompt=PROMPT, first=first, last=last, key=key, seed=3)
    clip = drawn(request)
    kept = given(request)
    assert set(kept) == {"first", "last", "key_8"}
    for field, frame in (("first", 0), ("key_8", 8), ("last", 15)):
        assert np.array_equal(clip.frames[frame], kept[field].pixels)
    seen = read_clip(clip.frames)
    assert all(score(seen, parse_caption(PROMPT)).values())
    way = seen.things[0].positions[:, 0]
    assert np.abs(way - (14 + 2.2 * np.arange(16))).max() < 1.5  # along the line between them
    steps = np.abs(np.diff(clip.frames.astype(float), axis=0)).mean((1, 2, 3))
    assert max(steps[[0, 7, 8, 14]]) < 2 * np.median(steps)
    assert clip.facts["given_frames"]["key_8"]["kept_bit_for_bit"]


def test_a_record_tells_them_and_makes_the_clip_again(pictures, tmp_path):
    request = VideoRequest(
        prompt=PROMPT, first=str(pictures[0]), key=(f"8={pictures[8]}",), seed=0
    )
    operation = OPERATIONS["text_to_video"]
    model = operation.source(request).load("cpu")
    path = make(operation, request, tmp_path / "clip.mp4", model, sign=False)["video"]
    record = json.loads(record_path(path).read_text())
    assert set(record["inputs"]) == {"first", "key_8"}
    assert record["extra"]["given_pixels_after_encoding"]["psnr_db"] > 30
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    pictures[8].rename(moved / "8.png")
    with pytest.raises(Refusal, match=r"key_8=.*is not where it was"):
        find_origin(path)
    found = find_origin(path, moved).request
    assert found == request.with_files({"key_8": str(moved / "8.png")})
    again = make(operation, found, tmp_path / "again.mp4", model, sign=False)["video"]
    assert again.read_bytes() == path.read_bytes()


def test_rows_name_pictures_and_places_do_not_count(pictures, tmp_path):
    def item(first, middle):
        rows = tmp_path / "rows.jsonl"
        rows.write_text(json.dumps({"prompt": PROMPT, "first": str(first), "key": f"8={middle}"}))
        (made,), _ = items_of(ClipBatchRequest.model_validate({"prompt_file": str(rows)}))
        return made

    made = item(pictures[0], pictures[8])
    assert made.request.key == (f"8={pictures[8]}",)
    assert set(made.inputs) == {"first", "key_8"}
    copy = tmp_path / "copy.png"
    copy.write_bytes(pictures[8].read_bytes())
    assert item(pictures[0], copy).address == made.address
    assert item(pictures[0], pictures[15]).address != made.address


def test_the_layout_follows_the_motion_and_passes_through_what_is_seen():
    """Of a thing whose course is known all along, its own network's draws are moved onto it."""
    from video.engines.own import VideoModel, embed

    model = VideoModel.load("scenes-64")
    cond = embed(VideoRequest(prompt="a red square spinning fast", seed=0), model.encoder)
    assert model.network.layouts is not None
    starts = torch.randn(DRAWN, 15, 16, 3, 1, generator=generator(0))
    row = np.array([[20.0, 40.0, 7.0, 0.4]])
    thing = Thing("square", "red", (255.0, 0.0, 0.0), [0], row)
    seen = read_layouts(pinned_layout(model.network.layouts, cond, starts, [thing]))
    slot = int(seen.present[0].nonzero()[0, 0])
    course = seen.course[0, slot]
    assert torch.allclose(course[0, :3], torch.tensor([20.0, 40.0, 7.0]), atol=1e-3)
    part = 2 * np.pi / SYMMETRY["square"]
    assert abs((float(course[0, 3]) - 0.4 + part / 2) % part - part / 2) < 1e-3
    turned = np.unwrap(course[:, 3].numpy())
    assert abs(turned[-1] - turned[0]) > 1.0
    assert torch.hypot(*(course[:, :2] - course[0, :2]).T).max() < 2.0


def test_first_frames_of_scenes_go_on_as_their_captions_say(tmp_path):
    from video.world.captions import caption

    met = asked = 0
    for seed in range(500, 508):
        scene = draw_scene(Random(seed))
        path = tmp_path / f"{seed}.png"
        Image.fromarray(to_frames(render([scene])).numpy()[0]).save(path)
        prompt = caption(scene, Random(seed))
        verdict = score(
            read_clip(drawn(VideoRequest(prompt=prompt, first=str(path), seed=0)).frames),
            parse_caption(prompt),
        )
        met += sum(verdict.values())
        asked += len(verdict)
    assert met >= 0.9 * asked


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"key": ("x",)}, "key=x: a picture of a frame is written FRAME=PICTURE"),
        ({"key": ("3=a.png", "3=b.png")}, "key=3= is named twice"),
        ({"key": "2=a.png; -1=b.png"}, "key=-1=b.png"),
    ],
)
def test_what_is_no_frame_and_picture_is_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        VideoRequest.model_validate({"prompt": PROMPT, **changes})


def test_frames_that_there_are_not_are_refused_before_anything_is_drawn(pictures):
    path = str(pictures[0])
    check = OPERATIONS["text_to_video"].check
    for changes, words in (
        ({"key": (f"16={path}",)}, "key=16= with num_frames=16: the clip has frames 0 to 15"),
        ({"key": (f"0={path}",), "first": path}, "key=0= beside first="),
        ({"num_frames": 1, "first": path}, "some frame is left to draw"),
        ({"key": (f"3={path}.none",)}, "no such file"),
    ):
        with pytest.raises(Refusal, match=words):
            check(VideoRequest.model_validate({"prompt": PROMPT, **changes}))


def test_pictures_of_frames_are_held_to_the_operators_folders():
    request = VideoRequest(prompt=PROMPT, first="a.png", key=("3=/b.png", "5=c.png"), seed=0)
    assert dict(named_paths(request)) == {"first": "a.png", "key_3": "/b.png", "key_5": "c.png"}
