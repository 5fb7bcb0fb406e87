"""A clip whose first steps were shown as a draft goes on from there; one that was killed, too."""

import os
from pathlib import Path

import numpy as np
import pytest
from tiny_engines import FAMILIES, SHAPES, save_picture

from core.progress import RESUMED
from core.refusal import Refusal
from video.change_request import EditRequest, ExtendRequest, FillRequest
from video.engines import kept_walk
from video.engines.engine import never
from video.engines.places import states_folder
from video.engines.shelf import engine_of
from video.files.clip import Clip, write_mp4
from video.operations.table import OPERATIONS
from video.request import VideoRequest

STEPS = 6
QUICK = {"wan_22", "cogvideox", "cogvideox_dpm", "ltx"}
DRAWN = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in (*FAMILIES, "cogvideox_dpm")
]


def silent(done, total, estimate):
    pass


def drawn(request, loaded, on_step=silent):
    engine = engine_of(request)
    settled = engine.settled(request)
    prepared = engine.encode(settled)
    return loaded.decode(settled, loaded.denoise(settled, prepared, on_step, never))


def states():
    return list(states_folder().glob("*.safetensors"))


@pytest.mark.parametrize("name", DRAWN)
def test_the_first_steps_of_an_engine_are_shown_and_gone_on_from(name, made):
    made(name)
    told = {"prompt": "a cat", "engine": name, "steps": STEPS, "seed": 5, **SHAPES[name]}
    if "image_to_video" in name:
        told["first"] = str(save_picture(Path(os.environ["LAMINA_ENGINES"], "a.png"), 48, 32))
    request = VideoRequest.model_validate(told)
    engine = engine_of(request)
    loaded = engine.ready(engine.load("cpu"))
    draft = request.model_copy(update={"draft_after": 4})
    if not engine.goes_on(request):
        with pytest.raises(Refusal, match=r"draft_after=4 .*leave draft_after out"):
            OPERATIONS["text_to_video"].check(draft)
        return
    whole = drawn(request, loaded)
    engine.forget(request)
    steps = []
    first = drawn(draft, loaded, lambda *news: steps.append(news[:2]))
    assert steps == [(n, 4) for n in range(1, 5)]
    assert first.frames.shape == whole.frames.shape
    assert len(states()) == 1
    told = []
    final = drawn(request, loaded, lambda *news: told.append(news))
    assert np.array_equal(final.frames, whole.frames)
    assert told[0] == (4, STEPS, RESUMED)
    assert final.facts["resumed_at_step"] == 4
    calls = whole.facts["network_calls"]
    assert first.facts["network_calls"] == calls * 4 // STEPS
    assert final.facts["network_calls"] == calls - first.facts["network_calls"]
    again = drawn(draft, loaded)  # whose state has come farther
    assert np.array_equal(again.frames, first.frames)
    engine.forget(request)
    assert states() == []
    loaded.close()


@pytest.mark.parametrize(("name", "told"), [("ltx", True), ("wan_22", False)])
def test_another_rate_is_another_clip_where_the_network_is_told_it(name, told, made):
    made(name)
    request = VideoRequest(prompt="a cat", engine=name, **SHAPES[name], fps=8)
    engine = engine_of(request)
    assert ("fps" in engine.survey.words) == told
    other = engine.key(request.model_copy(update={"fps": 24}))
    assert (engine.key(request) != other) == told


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"sampler": "heun"},
        pytest.param({"sampler": "dpmpp_2m"}, marks=pytest.mark.slow),
        {"first": 1},
    ],
)
def test_the_first_steps_of_our_own_model_are_shown_and_gone_on_from(
    change, tmp_path, monkeypatch
):
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    if "first" in change:
        change = {"first": str(save_picture(tmp_path / "a.png", 64, 64))}
    told = {"prompt": "a red circle", "num_frames": 4, "height": 32, "width": 32, "seed": 5}
    request = VideoRequest.model_validate({**told, "steps": STEPS} | change)
    engine = engine_of(request)
    loaded = engine.ready(engine.load("cpu"))
    calls = counted_calls(loaded.model.network, monkeypatch)
    whole, all_calls = drawn(request, loaded), len(calls)
    engine.forget(request)
    calls.clear()
    draft = request.model_copy(update={"draft_after": 4})
    steps = []
    first, of_draft = drawn(draft, loaded, lambda *news: steps.append(news[:2])), len(calls)
    assert steps == [(n, 4) for n in range(1, 5)]
    assert first.frames.shape == whole.frames.shape
    assert not np.array_equal(first.frames[1:], whole.frames[1:])
    calls.clear()
    told = []
    final = drawn(request, loaded, lambda *news: told.append(news))
    assert np.array_equal(final.frames, whole.frames)
    assert told[0] == (4, STEPS, RESUMED)
    assert final.facts["resumed_at_step"] == 4
    assert 0 < of_draft < all_calls
    assert len(calls) == all_calls - of_draft
    calls.clear()
    assert np.array_equal(drawn(draft, loaded).frames, first.frames)
    engine.forget(request)
    assert states() == []
    loaded.close()


def test_each_sampler_of_a_long_walk_keeps_nothing_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(kept_walk, "MOST_STATE_BYTES", 90_000)
    told = {"prompt": "a red circle", "num_frames": 4, "height": 32, "width": 32}
    request = VideoRequest.model_validate({**told, "steps": STEPS, "draft_after": 2})
    engine = engine_of(request)
    drawn(request, engine.ready(engine.load("cpu")))
    assert states() == []


def test_a_draft_whose_state_would_be_too_large_is_refused_and_heun_asks_twice():
    told = {"prompt": "a red circle", "num_frames": 64, "height": 128, "width": 128}
    fits = VideoRequest.model_validate({**told, "steps": 50, "draft_after": 30})
    assert engine_of(fits).goes_on(fits)
    for changes in ({"draft_after": 32}, {"sampler": "heun"}):
        large = fits.model_copy(update=changes)
        assert not engine_of(large).goes_on(large)
        with pytest.raises(Refusal, match="nothing of this clip can be kept"):
            OPERATIONS["text_to_video"].check(large)


@pytest.fixture
def clip(tmp_path):
    frames = np.zeros((9, 32, 32, 3), np.uint8)
    frames[..., 0] = np.arange(32) * 8
    frames[:, 8:16, 8:16] = 200
    return str(write_mp4(Clip(frames, 8.0), tmp_path / "clip.mp4"))


CHANGES_OF_CLIPS = {
    "own_fill": FillRequest(clip="c", left=8, steps=4),
    "own_extend": ExtendRequest(clip="c", frames_after=12, frames_before=4, steps=4),
    "own_edit": EditRequest(clip="c", prompt="a red circle", steps=4),
    "wan_vace": FillRequest(clip="c", prompt="a cat", engine="wan_vace", left=16, steps=4),
    "wan_video_to_video": EditRequest(
        clip="c", prompt="a cat", engine="wan_video_to_video", steps=8, strength=0.5
    ),
}


RARELY = {"own_extend", "wan_video_to_video"}
CHANGED = [
    pytest.param(name, marks=pytest.mark.slow) if name in RARELY else name
    for name in CHANGES_OF_CLIPS
]


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_clip_that_was_killed_at_any_step_goes_on(name, clip, made, tmp_path):
    request = CHANGES_OF_CLIPS[name].model_copy(update={"clip": clip})
    if request.engine:
        made(name)
    operation = next(o for o in OPERATIONS.values() if o.request is type(request))
    operation.check(request)
    model = operation.source(request).load("cpu")

    def change(on_step=silent):
        return operation.draw(request, operation.prepare(request), model, on_step)

    whole, target = change(), tmp_path / "out.mp4"
    operation.write(request, whole, target, overwrite=False)
    assert states() == []  # its file stands
    for step in range(1, 5):
        with pytest.raises(KilledError):
            change(killed_at(step))
        told = []
        again = change(lambda *news: told.append(news))  # noqa: B023
        assert np.array_equal(again.frames, whole.frames), step
        kept = told[0][0] if told[0][2] == RESUMED else 0
        assert kept in (step - 1, step)
        assert again.facts.get("resumed_at_step", 0) == kept
        operation.write(request, again, target, overwrite=True)
        assert states() == []


class KilledError(Exception):
    pass


def killed_at(step):
    def told(done, total, estimate):
        assert total == 4
        if done == step:
            raise KilledError

    return told


def counted_calls(network, monkeypatch):
    calls, forward = [], network.forward

    def counting(*args, **kwargs):
        calls.append(1)
        return forward(*args, **kwargs)

    monkeypatch.setattr(network, "forward", counting)
    return calls
