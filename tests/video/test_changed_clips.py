"""Clips that go on, are filled and are edited: what stays, what continues, what is refused."""

import json
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given as anything
from hypothesis import strategies as st
from PIL import Image
from tiny_engines import save_engine

from core.refusal import Refusal
from flows.jobs.pipeline import make, record_path
from video.change_request import EditRequest, ExtendRequest, FillRequest
from video.engines.canvas import Canvas
from video.engines.chained import anchored, windows_of
from video.engines.diffusers_folder import DiffusersFolder
from video.engines.own import to_frames
from video.engines.own_canvas import layout_of
from video.engines.rules import Rules
from video.engines.things import things_of
from video.files.clip import Clip, read_mp4, write_mp4
from video.operations.table import OPERATIONS
from video.oracle.oracle import read_clip
from video.world.rendering import render
from video.world.scene_table import tabulate, tracks
from video.world.scenes import SYMMETRY
from video.world.world import draw_scene

STEADY = ("left", "right", "up", "down", "spin", "stay", "orbit")


def scene(seed, shares=(1.0, 1.0, 1.0)):
    return draw_scene(Random(seed), count_shares=shares)


def drawn(seed, shares=(1.0, 1.0, 1.0)):
    return to_frames(render([scene(seed, shares)])).numpy()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A clip of two things whose motions can be told."""
    seed = next(
        n for n in range(200)
        if len(scene(n, (0, 1.0, 0)).objects) == 2
        and {o.motion for o in scene(n, (0, 1.0, 0)).objects} <= {*STEADY}
        and all(o.count == 1 for o in scene(n, (0, 1.0, 0)).objects)
    )  # fmt: skip
    path = tmp_path_factory.mktemp("clips") / "two.mp4"
    return write_mp4(Clip(drawn(seed, (0, 1.0, 0)), 8.0), path)


def made(name, request, target):
    operation = OPERATIONS[name]
    operation.check(request)
    asked = operation.read(request).request
    path = make(operation, asked, target, operation.source(asked).load("cpu"))["video"]
    return path, json.loads(record_path(path).read_text())["extra"]


def test_courses_go_on_as_the_scenes_do():
    """From half of a clip the other half follows, for motions that half of a clip tells."""
    told = missed = 0
    for seed in range(60):
        what, frames = scene(seed), drawn(seed)
        given = np.zeros(frames.shape[:3], bool)
        given[:8] = True
        true = tracks(tabulate([what]))[0].numpy()
        motions = [o.motion for o in what.objects for _ in o.centers]
        things = things_of(Canvas(frames, given))
        assert len(things) == len(motions)
        for thing in things:
            course = thing.course(16)
            slot = int(np.argmin([np.abs(course[:8, :2] - row[:8, :2]).max() for row in true[:3]]))
            assert np.abs(course[:8, :3] - true[slot, :8, :3]).max() < 0.5
            if order := SYMMETRY.get(thing.shape):
                turn = np.angle(np.exp(1j * order * (course[:8, 3] - true[slot, :8, 3])))
                assert np.abs(turn).max() < 0.5
            if motions[slot] in STEADY:
                told += 1
                missed += np.abs(course[:, :2] - true[slot, :, :2]).max() > 1.5
    assert told > 50
    assert missed <= told // 10


def test_a_clip_goes_on_both_ways_and_its_own_frames_stay(clip, tmp_path):
    own = read_mp4(clip)
    request = ExtendRequest(clip=str(clip), frames_after=16, frames_before=8, seed=4)
    operation = OPERATIONS["extend_video"]
    begun = operation.prepare(request)
    model = operation.source(request).load("cpu")
    found = operation.draw(request, begun, model, lambda *_: None)
    assert found.frames.shape == (40, 64, 64, 3)
    assert np.array_equal(found.frames[8:24], own.frames)
    before, after = read_clip(own.frames), read_clip(found.frames)
    assert len(after.things) == len(before.things) == 2
    assert {t.color for t in after.things} == {t.color for t in before.things}
    assert {t.shape for t in after.things} == {t.shape for t in before.things}
    assert after.background == before.background
    steps = np.abs(np.diff(found.frames.astype(float), axis=0)).mean((1, 2, 3))
    assert max(steps[7], steps[23]) <= 2 * np.median(steps) + 1.0
    path, said = made("extend_video", request, tmp_path / "long.mp4")
    assert said["given_pixels"]["kept_bit_for_bit"] == "before encoding"
    assert said["given_pixels_after_encoding"]["psnr_db"] > 30
    assert len(read_mp4(path).frames) == 40
    again, _ = made("extend_video", request, tmp_path / "again.mp4")
    assert again.read_bytes() == path.read_bytes()


def test_a_hole_is_filled_and_all_else_stays(clip, tmp_path):
    """What a moving box covers is painted: the thing in it goes, the others do not."""
    own = read_mp4(clip)
    given = np.ones(own.frames.shape[:3], bool)
    thing = things_of(Canvas(own.frames, given))[0]
    course, reach = thing.course(16), 1.4
    boxes = {
        str(n): [max(0, x - r * reach - 1), max(0, y - r * reach - 1),
                 min(64, x + r * reach + 1), min(64, y + r * reach + 1)]
        for n, (x, y, r, _) in enumerate(course.tolist())
    }  # fmt: skip
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps({"things": [{"boxes": boxes}]}))
    request = FillRequest(clip=str(clip), boxes=str(file))
    operation = OPERATIONS["fill_video"]
    begun = operation.prepare(request)
    found = operation.draw(request, begun, operation.source(request).load("cpu"), lambda *_: None)
    kept = begun.canvas.given
    assert np.array_equal(found.frames[kept], own.frames[kept])
    assert 0 < (~kept).mean() < 0.5
    assert len(read_clip(found.frames).things) == 1
    _path, said = made("fill_video", request, tmp_path / "filled.mp4")
    assert said["given_pixels"]["share"] == round(float(kept.mean()), 4)


def test_more_is_painted_around_a_clip(clip, tmp_path):
    request = FillRequest(clip=str(clip), left=8, bottom=16)
    path, _said = made("fill_video", request, tmp_path / "wide.mp4")
    assert read_mp4(path).frames.shape == (16, 80, 72, 3)


def test_an_edit_changes_looks_and_keeps_places(clip, tmp_path):
    own = read_clip(read_mp4(clip).frames)
    path, _ = made(
        "edit_video",
        EditRequest(clip=str(clip), prompt="a white star and a cyan star on a black background"),
        tmp_path / "edited.mp4",
    )
    seen = read_clip(read_mp4(path).frames)
    assert seen.background == "black"
    assert {t.color for t in seen.things} == {"white", "cyan"}
    places = [t.positions.mean(0) for t in seen.things]
    for thing in own.things:
        assert min(np.linalg.norm(thing.positions.mean(0) - p) for p in places) < 3


def test_a_mask_is_a_picture_or_a_clip_of_the_same_size(clip, tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[10:30, 10:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    frames = np.repeat(mask[None, ..., None], 16, 0).repeat(3, -1)
    write_mp4(Clip(frames, 8.0), tmp_path / "mask.mp4")
    holes = [
        OPERATIONS["fill_video"].prepare(FillRequest(clip=str(clip), mask=str(tmp_path / name)))
        for name in ("mask.png", "mask.mp4")
    ]
    assert np.array_equal(holes[0].canvas.given, holes[1].canvas.given)
    assert np.array_equal(~holes[0].canvas.given[0], mask > 0)


def test_a_mask_clip_of_another_size_is_refused_at_its_first_frame(clip, tmp_path, monkeypatch):
    from video.engines.regions import region_of_mask
    from video.files.footage import Footage

    decoded, seen = [], Footage._seen
    monkeypatch.setattr(Footage, "_seen", lambda *x: decoded.append(1) or seen(*x))
    write_mp4(Clip(np.zeros((16, 32, 32, 3), np.uint8), 8.0), tmp_path / "mask.mp4")
    with pytest.raises(Refusal, match=r"16 frames of 32 x 32: the clip has 16 of 64 x 64"):
        region_of_mask(tmp_path / "mask.mp4", (16, 64, 64, 3))
    assert len(decoded) == 1


REFUSED = {
    "no file": ("", "no such file"),
    "no json": ("{", "cannot be read"),
    "no things": ('{"things": []}', "cannot be read"),
    "another key": ('{"things": [{"boxes": {"0": [0, 0, 9, 9]}, "x": 1}]}', "x"),
    "outside": ('{"things": [{"boxes": {"0": [0, 0, 90, 9]}}]}', "lie in this order"),
    "no order": ('{"things": [{"boxes": {"0": [9, 0, 3, 9]}}]}', "lie in this order"),
    "late": ('{"things": [{"boxes": {"16": [0, 0, 9, 9]}}]}', "frames 0 to 15"),
    "everything": ('{"things": [{"boxes": {"0": [0, 0, 64, 64]}}]}', "marks everything"),
    "no number": ('{"things": [{"boxes": {"0": [0, 0, NaN, 64]}}]}', "lie in this order"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_boxes_that_are_none_are_refused(case, clip, tmp_path):
    text, words = REFUSED[case]
    file = tmp_path / "boxes.json"
    if text:
        file.write_text(text)
    with pytest.raises(Refusal, match=words):
        OPERATIONS["fill_video"].check(FillRequest(clip=str(clip), boxes=str(file)))


@pytest.mark.parametrize("field", ["frames", "steps", "size"])
def test_what_is_longer_larger_or_finer_is_said_to_take_longer(field, clip, tmp_path):
    """Every window costs its steps, so the estimate rises with both, evenly."""
    wide = write_mp4(Clip(np.zeros((16, 128, 128, 3), np.uint8), 8.0), tmp_path / "wide.mp4")
    rising = {
        "frames": [ExtendRequest(clip=str(clip), frames_after=n) for n in (16, 32, 48, 112)],
        "steps": [ExtendRequest(clip=str(clip), steps=n) for n in (4, 8, 12, 28)],
        "size": [ExtendRequest(clip=str(path)) for path in (clip, wide)],
    }[field]
    told = [OPERATIONS["extend_video"].cost(request).seconds for request in rising]
    assert all(later > 1.1 * earlier for earlier, later in pairwise(told))
    if field != "size":
        steps = np.diff(told) / (1, 1, 4)
        np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


def test_requests_that_ask_for_nothing_are_refused(clip):
    with pytest.raises(ValueError, match="frames_after=0"):
        ExtendRequest(clip="a.mp4", frames_after=0)
    for places in ({}, {"mask": "m.png", "left": 4}, {"mask": "m.png", "boxes": "b.json"}):
        with pytest.raises(Refusal, match="where to paint"):
            OPERATIONS["fill_video"].check(FillRequest(clip=str(clip), **places))
    with pytest.raises(ValueError, match="empty"):
        EditRequest(clip="a.mp4", prompt=" ")
    request = EditRequest(clip=str(clip), prompt="a red cat")
    with pytest.raises(Refusal, match="cat"):
        OPERATIONS["edit_video"].read(request, strict=True)


def test_clips_of_another_size_than_the_model_paints_are_refused(tmp_path):
    path = write_mp4(Clip(np.zeros((4, 48, 320, 3), np.uint8), 8.0), tmp_path / "wide.mp4")
    with pytest.raises(Refusal, match="16 to 256 pixels"):
        OPERATIONS["extend_video"].check(ExtendRequest(clip=str(path)))


@anything(usual=st.integers(1, 6), missing=st.integers(1, 60))
def test_windows_are_lawful_and_enough(usual, missing):
    rules = Rules(frames=(1, 5, 9, 13), packing=4)
    plan = windows_of(rules, 1 + 4 * usual, missing)
    assert all(rules.given(size) == size for size in plan)
    assert missing <= sum(size - 1 for size in plan) < missing + 4 * usual


def test_colors_are_anchored_to_the_picture():
    random = np.random.default_rng(0)
    picture = random.integers(40, 200, (16, 16, 3), np.uint8)
    faded = np.rint(picture[None].repeat(3, 0) * 0.8 + 20).astype(np.uint8)
    found = anchored(faded, picture)
    assert np.abs(found[0].astype(int) - picture).max() <= 1
    assert anchored(faded[:0], picture).shape == (0, 16, 16, 3)


def test_a_layout_says_where_things_are():
    course = np.tile([20.0, 40.0, 8.0, 0.3], (24, 1))
    layout = layout_of([("star", (255, 0, 0), course)], 24)
    assert layout.shape[1:] == (15, 24, 3, 1)
    from video.engines.layouts import read_layouts

    things = read_layouts(layout[:, :, :16])
    assert things.present.tolist() == [[True, False, False]]
    np.testing.assert_allclose(things.course[0, 0].numpy(), course[:16], atol=1e-4)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    return tmp_path_factory.mktemp("engines")


def test_an_engine_that_begins_from_a_picture_goes_on_and_keeps_what_is_given(
    shelf, tmp_path, monkeypatch
):
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    engine = str(save_engine("ltx_image_to_video", shelf))
    random = np.random.default_rng(1)
    frames = random.integers(0, 256, (3, 32, 32, 3), np.uint8)
    path = write_mp4(Clip(frames, 8.0), tmp_path / "a.mp4")
    own = read_mp4(path).frames
    request = ExtendRequest(
        clip=str(path), prompt="a cat", engine=engine, frames_after=10, steps=2, seed=3
    )
    operation = OPERATIONS["extend_video"]
    operation.check(request)
    begun = operation.prepare(request)
    small = begun.asked.model_copy(update={"num_frames": 9})
    model = operation.source(request).load("cpu")
    found = operation.source(request).ready(model).complete(small, begun.canvas, lambda *_: None)
    assert found.frames.shape == (13, 32, 32, 3)
    assert np.array_equal(found.frames[:3], own)
    assert found.facts["windows"] == 2
    with pytest.raises(Refusal, match="frames_before=2"):
        operation.check(request.model_copy(update={"frames_before": 2}))
    with pytest.raises(Refusal, match="prompt"):
        operation.check(request.model_copy(update={"prompt": ""}))


def test_an_engine_of_text_alone_is_refused_with_what_it_can(shelf, clip, tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    engine = str(save_engine("wan", shelf))
    asked = {"clip": str(clip), "prompt": "a cat", "engine": engine}
    for name, request in {
        "extend_video": ExtendRequest(**asked),
        "edit_video": EditRequest(**asked),
        "fill_video": FillRequest(**asked, left=8),
    }.items():
        with pytest.raises(Refusal, match=f"{name} by the engine wan: .* this one can do"):
            OPERATIONS[name].check(request)


@pytest.mark.parametrize("ability", ["mask", "strength", "clip"])
def test_an_engine_is_refused_before_it_is_loaded_whatever_else_it_can(
    ability, shelf, clip, tmp_path, monkeypatch
):
    """Each operation takes an ability of its own; another is none."""
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    folder = shelf / "wan"
    engine = str(folder if folder.is_dir() else save_engine("wan", shelf))
    able = frozenset({"text", "decode_apart", ability})
    monkeypatch.setattr(DiffusersFolder, "abilities", able)
    monkeypatch.setattr(DiffusersFolder, "load", lambda *_: pytest.fail("it was loaded"))
    asked = {"clip": str(clip), "prompt": "a cat", "engine": engine}
    requests = {
        "image": ExtendRequest(**asked),
        "strength": EditRequest(**asked),
        "mask": FillRequest(**asked, left=8),
    }
    for needed, request in requests.items():
        if needed == ability:
            continue
        operation = next(o for o in OPERATIONS.values() if o.request is type(request))
        words = f"it takes {needed}, and this one can do .*{ability}.*leave engine out for our own"
        with pytest.raises(Refusal, match=words) as refused:
            operation.check(request)
        assert str(refused.value).startswith(f"{operation.name} by the engine wan")
