"""A clip whose first steps were shown as a draft goes on from there; one that was killed, too."""

import os
from pathlib import Path

import numpy as np
import pytest
from tiny_engines import FAMILIES, SHAPES, save_picture

from core.progress import RESUMED
from core.refusal import Refusal
from video.engines.engine import never
from video.engines.places import states_folder
from video.engines.shelf import engine_of
from video.operations.table import OPERATIONS
from video.request import VideoRequest

STEPS = 6
QUICK = {"wan_22", "cogvideox", "ltx"}
DRAWN = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES
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


@pytest.mark.parametrize(
    "change", [{}, {"sampler": "heun"}, {"sampler": "dpmpp_2m"}, {"first": 1}]
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


def counted_calls(network, monkeypatch):
    calls, forward = [], network.forward

    def counting(*args, **kwargs):
        calls.append(1)
        return forward(*args, **kwargs)

    monkeypatch.setattr(network, "forward", counting)
    return calls
