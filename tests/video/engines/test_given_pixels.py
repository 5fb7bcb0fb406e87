"""Pixels that are given to engines that take masks, conditions or a clip: kept bit for bit."""

import numpy as np
import pytest
from PIL import Image
from tiny_engines import save_picture

from core.refusal import Refusal
from video.change_request import EditRequest, ExtendRequest, FillRequest
from video.engines import handed_over
from video.engines.canvas import Canvas
from video.engines.conditions import UNKNOWN, shown_canvas
from video.engines.engine import never
from video.engines.handed_over import Step, window_of
from video.engines.places import states_folder
from video.engines.shelf import find_engine
from video.files.clip import Clip, write_mp4
from video.operations.table import OPERATIONS
from video.request import VideoRequest

ABILITIES = {
    "wan_vace": {"image", "last", "key", "clip", "mask"},
    "ltx_condition": {"image", "last", "key", "clip", "strength"},
    "wan_video_to_video": {"clip", "strength"},
    "cogvideox_video_to_video": {"clip", "strength"},
}
OF_PIXELS = set().union(*ABILITIES.values())
LENGTH = {"cogvideox_video_to_video": 8}


def silent(done, total, estimate):
    pass


def clip_of(path, frames, side=16):
    across = np.linspace(0, 255, side).astype(np.uint8)
    pixels = np.broadcast_to(across[None, None, :, None], (frames, side, side, 3)).copy()
    pixels[..., 1] = np.arange(frames, dtype=np.uint8)[:, None, None] * 20
    return str(write_mp4(Clip(pixels, 8.0), path))


def changed(request):
    """What an operation draws of a request, and what it was given."""
    operation = next(o for o in OPERATIONS.values() if o.request is type(request))
    operation.check(request)
    prepared, steps = operation.prepare(request), []
    model = operation.source(request).load("cpu")
    drawn = operation.draw(request, prepared, model, lambda *news: steps.append(news[:2]))
    operation.source(request).forget(prepared.asked, prepared.canvas)
    model.network.close()
    return drawn, prepared.canvas, steps


@pytest.mark.parametrize("name", ABILITIES)
def test_what_a_pipeline_can_is_told_by_its_arguments(name, made):
    made(name)
    assert find_engine(name).abilities & OF_PIXELS == ABILITIES[name]


@pytest.mark.parametrize(("name", "side"), [("wan_vace", 16), ("ltx_condition", 32)])
def test_frames_anywhere_are_kept_and_change_what_is_drawn(name, side, made, tmp_path):
    made(name)
    engine = find_engine(name)
    told = {"prompt": "a cat", "engine": name, "steps": 2, "seed": 5, "num_frames": 9}
    plain = VideoRequest.model_validate(told | {"height": side, "width": side})
    paths = [str(save_picture(tmp_path / f"{n}.png", 48, 32, level=n)) for n in (0, 90, 250)]
    request = plain.model_copy(
        update={"first": paths[0], "key": (f"4={paths[1]}",), "last": paths[2]}
    )
    engine.check(request)
    loaded = engine.ready(engine.load("cpu"))
    clips = []
    for one in (plain, request, request):
        settled = engine.settled(one)
        clips.append(loaded.decode(settled, loaded.denoise(settled, None, silent, never)))
        engine.forget(one)
    free, kept, again = clips
    for place, path in zip((0, 4, 8), paths, strict=True):
        picture = np.asarray(Image.open(path).convert("RGB"))
        assert abs(kept.frames[place].mean() - picture.mean()) < 3  # scaled and cut to fit
    facts = kept.facts["given_frames"]
    assert {one["kept_bit_for_bit"] for one in facts.values()} == {"before watermark and encoding"}
    assert facts.keys() == {"first", "key_4", "last"}
    assert np.array_equal(kept.frames, again.frames)
    others = [n for n in range(9) if n not in (0, 4, 8)]
    assert not np.array_equal(kept.frames[others], free.frames[others])
    assert engine.key(request) != engine.key(request.model_copy(update={"key": ()}))
    loaded.close()


def test_a_region_is_painted_by_an_engine_and_nothing_else_changes(made, tmp_path):
    made("wan_vace")
    clip = clip_of(tmp_path / "clip.mp4", 9)
    mask = Image.new("L", (16, 16))
    mask.paste(255, (0, 0, 8, 16))
    mask.save(tmp_path / "mask.png")
    request = FillRequest(
        clip=clip, prompt="a cat", engine="wan_vace", mask=str(tmp_path / "mask.png"), steps=2
    )
    drawn, canvas, steps = changed(request)
    assert steps == [(1, 2), (2, 2)]
    assert canvas.given.mean() == 0.5
    assert np.array_equal(drawn.frames[canvas.given], canvas.frames[canvas.given])
    assert not np.array_equal(drawn.frames[~canvas.given], canvas.frames[~canvas.given])
    assert drawn.facts["given_pixels"]["kept_bit_for_bit"] == "before encoding"
    around, canvas, _ = changed(request.model_copy(update={"mask": "", "left": 16}))
    assert around.frames.shape == (9, 16, 32, 3)
    assert np.array_equal(around.frames[:, :, 16:], canvas.frames[:, :, 16:])


@pytest.mark.parametrize(
    "name", ["wan_video_to_video", "cogvideox_video_to_video", "ltx_condition"]
)
def test_a_clip_is_changed_by_so_much_of_the_steps(name, made, tmp_path):
    made(name)
    side = 32 if name == "ltx_condition" else 16
    clip = clip_of(tmp_path / "clip.mp4", LENGTH.get(name, 9), side)
    request = EditRequest(clip=clip, prompt="a cat", engine=name, steps=4, strength=0.5, seed=3)
    drawn, canvas, steps = changed(request)
    assert drawn.frames.shape == canvas.frames.shape
    assert steps == [(1, 2), (2, 2)]
    again, *_ = changed(request)
    assert np.array_equal(drawn.frames, again.frames)
    other, *_ = changed(request.model_copy(update={"strength": 1.0}))
    assert not np.array_equal(drawn.frames, other.frames)
    operation = OPERATIONS["edit_video"]
    with pytest.raises(Refusal, match=r"strength=0.1 with steps=4: .* none would be left"):
        operation.check(request.model_copy(update={"strength": 0.1}))
    short = clip_of(tmp_path / "short.mp4", 10 if name.startswith("cog") else 8, side)
    with pytest.raises(Refusal, match=r"num_frames=\d+: .*; try \d+ or \d+"):
        operation.check(request.model_copy(update={"clip": short}))


def test_who_cannot_says_which_engines_here_can(made, tmp_path):
    for name in ("wan_vace", "wan_video_to_video"):
        made(name)
        assert find_engine(name).abilities  # looked over once
    picture = str(save_picture(tmp_path / "first.png", 16, 16))
    made("wan")
    told = {"prompt": "a cat", "num_frames": 9, "height": 16, "width": 16}
    request = VideoRequest.model_validate(told | {"engine": "wan", "key": (f"4={picture}",)})
    with pytest.raises(Refusal, match=r"wan knows no key: .*leave key out or name .*wan_vace"):
        find_engine("wan").check(request)
    clip = clip_of(tmp_path / "clip.mp4", 9)
    edit = EditRequest(clip=clip, prompt="a cat", engine="wan")
    with pytest.raises(Refusal, match=r"it takes strength.*, or name .*wan_video_to_video"):
        OPERATIONS["edit_video"].check(edit)
    drawn = VideoRequest.model_validate(told | {"engine": "wan_video_to_video"})
    with pytest.raises(Refusal, match=r"changes clips and draws none .*`lamina video edit`"):
        find_engine("wan_video_to_video").check(drawn)


def test_what_is_to_be_drawn_is_shown_as_gray_under_a_white_mask():
    frames = np.full((2, 4, 4, 3), 200, np.uint8)
    given = np.ones((2, 4, 4), bool)
    given[1, :2] = False
    shown = shown_canvas(Canvas(frames, given), None, {"video", "mask"})
    assert [np.unique(image).tolist() for image in shown["video"]] == [[200], [UNKNOWN, 200]]
    assert np.asarray(shown["mask"][1])[:, :, 0].tolist() == [[255] * 4] * 2 + [[0] * 4] * 2
    assert not np.asarray(shown["mask"][0]).any()


@pytest.mark.parametrize("more", [4, 5])
def test_a_clip_goes_on_by_an_engine_that_takes_masks_in_windows_of_its_own(more, made, tmp_path):
    made("wan_vace")
    clip = clip_of(tmp_path / "clip.mp4", 12)
    request = ExtendRequest(clip=clip, prompt="a cat", engine="wan_vace", steps=1)
    drawn, canvas, _ = changed(request.model_copy(update={"frames_after": more}))
    assert drawn.frames.shape == (12 + more, 16, 16, 3)
    assert np.array_equal(drawn.frames[:12], canvas.frames[:12])
    assert drawn.facts["windows"] == 1


def test_an_engine_of_masks_goes_on_both_ways_from_the_frames_it_was_shown(
    made, tmp_path, monkeypatch
):
    made("wan_vace")
    clip = clip_of(tmp_path / "clip.mp4", 7)
    request = ExtendRequest(
        clip=clip, prompt="a cat", engine="wan_vace", frames_after=12, frames_before=5, steps=2
    )
    operation = OPERATIONS["extend_video"]
    operation.check(request)
    begun, shown = operation.prepare(request), []
    asked = begun.asked.model_copy(update={"num_frames": 13})
    engine = operation.source(request)
    loaded = engine.ready(engine.load("cpu"))
    complete = type(loaded).complete

    def watched(self, request, canvas, on_step):
        shown.append(canvas.given.all((1, 2)).tolist())
        return complete(self, request, canvas, on_step)

    monkeypatch.setattr(type(loaded), "complete", watched)
    found = loaded.complete(asked, begun.canvas, silent)
    assert found.frames.shape == (24, 16, 16, 3)
    assert np.array_equal(found.frames[5:12], begun.canvas.frames[5:12])
    assert all(found.frames[n].any() for n in range(24))
    six, lawful = 6, {5, 9, 13}
    assert [sum(window) for window in shown[1:]] == [six] * 3
    assert {len(window) for window in shown[1:]} <= lawful
    assert [window.index(True) == 0 for window in shown[1:]] == [True, True, False]
    assert found.facts["windows"] == 3
    assert found.facts["frames_handed_over"] == six
    assert list(states_folder().glob("*.safetensors")) == []
    loaded.close()


def test_a_window_in_other_colors_is_moved_by_the_frames_it_was_shown():
    before = np.full((20, 8, 8, 3), 100, np.uint8)
    before[:, ::2] = 60
    step = Step(4, 8, 4, forward=True)
    part = window_of(before, step)
    drawn = np.clip(part.frames.astype(int) + 30, 0, 255).astype(np.uint8)
    drawn[4:] = drawn[:4]
    after = before.copy()
    after[8:] = 0
    handed_over.place(drawn, part, after, step)
    assert np.array_equal(after[8:12], before[8:12])
    assert not after[12:].any()
