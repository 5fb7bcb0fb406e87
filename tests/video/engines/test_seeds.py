"""A clip is the same whatever is drawn before it, in any order, and in any batch of its engine."""

import numpy as np
import pytest
import torch
from tiny_engines import FAMILIES, SHAPES

from video.engines.engine import never
from video.engines.shelf import engine_of
from video.request import VideoRequest

QUICK = {"cogvideox"}
ALIKE = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in FAMILIES
    if "image_to_video" not in name
]
ONE_BY_ONE = {"hunyuan_1_5"}  # the library's decoder of this family takes one clip
SEEDS = (3, 11, 2**40)


def drawn(engine, request, loaded):
    settled = engine.settled(request)
    latents = loaded.denoise(settled, engine.encode(settled), lambda *_: None, never)
    clip = loaded.decode(settled, latents)
    engine.forget(request)
    return clip.frames


def in_orders(requests):
    """Each clip of one loaded engine in two orders, and of one that was loaded anew."""
    engine = engine_of(requests[0])
    loaded, other = (engine.ready(engine.load("cpu")) for _ in range(2))
    there = [drawn(engine, one, loaded) for one in requests]
    back = [drawn(engine, one, loaded) for one in reversed(requests)][::-1]
    return loaded, there, back, drawn(engine, requests[-1], other)


def test_our_own_model_draws_bit_equal_clips_in_any_order():
    told = {"prompt": "a red circle", "num_frames": 4, "height": 32, "width": 32, "steps": 2}
    requests = [VideoRequest.model_validate({**told, "seed": seed}) for seed in SEEDS]
    _, there, back, alone = in_orders(requests)
    assert all(np.array_equal(a, b) for a, b in zip(there, back, strict=True))
    assert np.array_equal(there[-1], alone)
    assert not np.array_equal(there[0], there[1])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # the library's
@pytest.mark.parametrize("name", ALIKE)
def test_an_engine_draws_bit_equal_clips_alone_and_near_ones_in_a_batch(name, made):
    made(name)
    told = {"prompt": "a cat", "engine": name, "steps": 3, **SHAPES[name]}
    requests = [VideoRequest.model_validate({**told, "seed": seed}) for seed in SEEDS]
    loaded, there, back, alone = in_orders(requests)
    assert all(np.array_equal(a, b) for a, b in zip(there, back, strict=True))
    assert np.array_equal(there[-1], alone)
    if name in ONE_BY_ONE:
        return
    one, several = (in_batch(loaded, part) for part in (requests[:1], requests))
    assert np.array_equal(np.rint(np.clip(one[0], 0, 1) * 255), there[0])
    assert np.abs(several[0] - one[0]).max() < 1e-4
    turned = in_batch(loaded, requests[::-1])[::-1]
    assert np.abs(several - turned).max() < 1e-4
    assert np.abs(several[0] - several[1]).max() > 1e-3


def in_batch(loaded, requests):
    """What the engine's own pipeline draws of several at once, before it is rounded."""
    settled = [loaded.engine.settled(request) for request in requests]
    told = loaded.arguments(settled[0]) | {"prompt": [one.prompt for one in settled]}
    told["output_type"] = "pt"
    told["generator"] = [torch.Generator("cpu").manual_seed(one.seed) for one in settled]
    with torch.inference_mode():
        found = [one.float().numpy() for one in loaded.pipe(**told).frames]
    return np.stack(found).transpose(0, 1, 3, 4, 2)
