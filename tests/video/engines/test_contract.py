"""One contract, held against every kind of engine with one test body."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_engines import FAMILIES, SHAPES, save_picture

from core.refusal import Refusal
from video.engines.engine import StoppedError, never
from video.engines.shelf import engine_of
from video.request import VideoRequest

STEPS = 6
QUICK = {"wan_22", "cogvideox", "wan_image_to_video"}
DRAWN = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES
]


class KilledError(Exception):
    pass


def asked(name, **changes):
    told = {"prompt": "a cat", "engine": name, "steps": STEPS, "seed": 5, **SHAPES[name]}
    if "image_to_video" in name:
        picture = Path(os.environ["LAMINA_ENGINES"], "first.png")
        told["first"] = str(save_picture(picture, 48, 32))
    return VideoRequest.model_validate(told | changes)


def silent(done, total, estimate):
    pass


def drawn(engine, request, loaded, on_step=silent, stop=never):
    settled = engine.settled(request)
    prepared = engine.encode(settled)
    return loaded.decode(settled, loaded.denoise(settled, prepared, on_step, stop))


@pytest.mark.parametrize("name", DRAWN)
def test_an_engine_keeps_the_contract(name, made):
    made(name)
    keep_the_contract(asked(name))


def test_our_own_model_keeps_the_contract():
    told = {"prompt": "a red circle", "num_frames": 4, "height": 32, "width": 32}
    keep_the_contract(VideoRequest.model_validate({**told, "steps": STEPS, "seed": 5}))


def test_a_server_keeps_the_contract(made, tmp_path, monkeypatch):
    from videos_servers import VideosServer, serving

    from video.engines import video_server

    monkeypatch.setattr(video_server, "ASK_EVERY_S", 0.01)
    server = VideosServer(tmp_path)
    with serving(server.application) as address:
        told = {"prompt": "a cat", "engine": address, "num_frames": 5, "height": 16, "width": 32}
        picture = save_picture(tmp_path / "first.png", 48, 32)
        told |= {"fps": 8, "seed": 5, "first": str(picture)}
        keep_the_contract(VideoRequest.model_validate(told))
    assert all(one["input_reference"][:4] == b"\x89PNG" for one in server.asked)
    assert server.jobs == {}


def keep_the_contract(request):
    """All that every engine must do, as far as it says that it can."""
    engine = engine_of(request)
    engine.check(request)
    if engine.rules.frames:
        check_rules(engine, request)
    loaded = engine.ready(engine.load("cpu"))
    whole = drawn(engine, request, loaded)
    shape = (request.num_frames, request.height, request.width, 3)
    assert whole.frames.shape == shape
    assert whole.fps == engine.settled(request).fps
    engine.forget(request)
    assert np.array_equal(drawn(engine, request, loaded).frames, whole.frames)
    engine.forget(request)
    check_words_and_seeds(engine, request, loaded, whole)
    check_decoding(engine, request, loaded)
    if engine.kind == "diffusers":
        check_going_on(engine, request, loaded, whole)
    check_stop(engine, request, loaded, whole)
    check_given(request, whole)
    loaded.close()


def check_rules(engine, request):
    for field in ("height", "width"):
        with pytest.raises(Refusal, match=f"{field}=17: .* multiple of .*; try .*16|32"):
            engine.check(request.model_copy(update={field: 17}))
    with pytest.raises(Refusal, match=r"num_frames=10: .*; try \d+ or \d+\."):
        engine.check(request.model_copy(update={"num_frames": 10}))


def check_words_and_seeds(engine, request, loaded, whole):
    for change in ({"prompt": "two dogs run"}, {"seed": 6}):
        other = request.model_copy(update=change)
        engine.check(other)
        assert not np.array_equal(drawn(engine, other, loaded).frames, whole.frames), change
        engine.forget(other)


def check_given(request, whole):
    from video.engines.pictures import given

    for field, picture in given(request).items():
        assert np.array_equal(whole.frames[0 if field == "first" else -1], picture.pixels)
        told = whole.facts["given_frames"][field]
        assert told["kept_bit_for_bit"] == "before watermark and encoding"
        assert told["scaled_from"] == "48 x 32"
        assert told["drawn_off_by"] > 0  # of random weights


def check_decoding(engine, request, loaded):
    settled = engine.settled(request)
    latents = loaded.denoise(settled, engine.encode(settled), silent, never)
    first, second = (loaded.decode(settled, latents).frames for _ in range(2))
    assert np.array_equal(first, second)
    engine.forget(request)


def check_going_on(engine, request, loaded, whole):
    calls = whole.facts["network_calls"] / STEPS
    for step in range(1, STEPS + 1):
        with pytest.raises(KilledError):
            drawn(engine, request, loaded, on_step=killed_at(step))
        told = []
        clip = drawn(engine, request, loaded, on_step=lambda *news: told.append(news))  # noqa: B023
        assert np.array_equal(clip.frames, whole.frames), step
        kept = told[0][0] if told[0][2] == "resumed" else 0
        assert kept in (step - 1, step)
        assert clip.facts["network_calls"] <= calls * (STEPS - step + 1)
        engine.forget(request)


def killed_at(step):
    def told(done, total, estimate):
        assert total == STEPS
        if done == step:
            raise KilledError

    return told


def check_stop(engine, request, loaded, whole):
    done = []
    with pytest.raises(StoppedError):
        drawn(engine, request, loaded, on_step=lambda d, *_: done.append(d), stop=lambda: True)
    assert len(done) == 1
    assert np.array_equal(drawn(engine, request, loaded).frames, whole.frames)
    engine.forget(request)


def test_two_engines_leave_no_settings_behind(made):
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry as Registry

    backend, threads = Registry._active_backend, torch.get_num_threads()
    for name in ("wan_22", "cogvideox"):
        made(name)
        request = asked(name, steps=1)
        engine = engine_of(request)
        loaded = engine.ready(engine.load("cpu"))
        drawn(engine, request, loaded)
        loaded.close()
        engine.forget(request)
    assert Registry._active_backend == backend
    assert torch.get_num_threads() == threads
