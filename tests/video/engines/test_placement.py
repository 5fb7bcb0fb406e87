"""How an engine's weights are held and computed: chosen by memory, or as it was said."""

import numpy as np
import pytest
import torch
from tiny_engines import SHAPES

from core.refusal import Refusal
from video.engines import diffusers_folder
from video.engines.engine import never
from video.engines.placed import put
from video.engines.placement import (
    Placement,
    Room,
    Weights,
    gpu_gb,
    main_gb,
    place,
    read_placement,
)
from video.engines.shelf import engine_of, find_engine
from video.request import VideoRequest

WAN_14B = Weights(values=20_100_000_000, denoiser=14_300_000_000, largest=14_300_000_000)
CLIP = 81, 81 * 480 * 832


def placed(main, gpu=None, said=""):
    return place(read_placement(said), WAN_14B, *CLIP, Room(main, gpu)).told()


@pytest.mark.parametrize(
    ("main", "gpu", "told"),
    [
        (200, None, "dtype=float32"),
        (140, None, "dtype=float32, tiling=on"),
        (85, None, "dtype=bfloat16"),
        (72, None, "dtype=bfloat16, tiling=on"),
        (48, None, "dtype=bfloat16, quantization=float8, tiling=on"),
        (8, None, "dtype=bfloat16, quantization=float8, tiling=on"),  # and is refused for it
        (128, 141, "dtype=bfloat16"),
        (128, 60, "dtype=bfloat16, offload=model, tiling=on"),
        (128, 24, "dtype=bfloat16, offload=leaf, tiling=on"),
        (40, 24, "dtype=bfloat16, offload=leaf, quantization=float8, tiling=on"),
    ],
)
def test_the_most_exact_that_fits_is_chosen(main, gpu, told):
    assert placed(main, gpu) == told


def test_what_is_said_holds_and_the_rest_is_chosen_around_it():
    assert placed(200, said="tiling=on") == "dtype=float32, tiling=on"
    assert placed(85, said="dtype=float32") == "dtype=float32, quantization=float8, tiling=on"
    assert placed(128, 24, "offload=none, quantization=none") == "dtype=bfloat16, tiling=on"
    less = Placement("bfloat16", tiling="on", quantization="float8")
    assert main_gb(less, WAN_14B, *CLIP) < main_gb(Placement("float32"), WAN_14B, *CLIP) / 2
    assert gpu_gb(Placement("bfloat16", "leaf", tiling="on"), WAN_14B, *CLIP) < 24 / 1.25


@pytest.mark.parametrize(
    "said",
    ["dtype=int4", "speed=high", "dtype", "tiling=on,tiling=off", "attention=../x", "cache=mag"],
)
def test_what_is_none_of_the_choices_is_refused_with_the_request(said):
    with pytest.raises(ValueError, match=r"placement=.*"):
        VideoRequest(prompt="a cat", engine="wan", placement=said)
    with pytest.raises(ValueError, match="our own model knows no placement"):
        VideoRequest(prompt="a cat", placement="dtype=bfloat16")


def drawn(name, placement="", steps=3):
    told = {"prompt": "a cat", "engine": name, "steps": steps, **SHAPES[name]}
    request = VideoRequest.model_validate({**told, "placement": placement})
    engine = engine_of(request)
    engine.check(request)
    loaded = engine.ready(engine.load("cpu"))
    settled = engine.settled(request)
    clip = loaded.decode(settled, loaded.denoise(settled, None, lambda *_: None, never))
    engine.forget(request)
    return clip


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Where what was found of an engine is kept, for all tests here."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def wan(made, known, monkeypatch):
    made("wan")
    monkeypatch.setenv("LAMINA_HOME", str(known))
    return "wan"


def test_precision_and_tiles_are_as_said_and_recorded(wan):
    plain = drawn(wan)
    assert plain.facts["dtype"] == "float32"
    assert plain.facts["quantization"] == plain.facts["cache"] == "none"
    for said in ("dtype=bfloat16", "dtype=bfloat16,quantization=float8"):
        clip = drawn(wan, said)
        assert clip.frames.shape == plain.frames.shape
        assert not np.array_equal(clip.frames, plain.frames)
        assert read_placement(said).items() <= clip.facts.items()
    tiled = drawn(wan, "tiling=on")
    assert tiled.facts["decoded_in_tiles"] is True
    assert np.array_equal(tiled.frames, plain.frames)  # it is smaller than a tile


def test_a_small_memory_draws_in_half_precision_and_says_so(wan, monkeypatch, caplog):
    engine = find_engine(wan)
    whole = main_gb(Placement("float32", tiling="on"), engine.weights, *CLIP)
    assert engine.placed().told() == "dtype=float32"
    monkeypatch.setattr(diffusers_folder, "memory_gb", lambda: 1.25 * whole * 0.9)
    assert engine.placed().told() == "dtype=bfloat16, tiling=on"
    assert drawn(wan).facts["dtype"] == "bfloat16"
    assert "wan is drawn with dtype=bfloat16, tiling=on" in caplog.text


def test_weights_that_wait_for_a_gpu_are_refused_where_there_is_none(wan):
    with pytest.raises(Refusal, match=r"offload=model: .* are for a GPU"):
        drawn(wan, "offload=model")


@pytest.mark.parametrize("offload", ["model", "leaf"])
def test_weights_that_wait_draw_the_same(wan, offload, monkeypatch):
    """On a CPU that stands for the GPU as well."""
    from video.engines import diffusers_pipeline

    plain = drawn(wan)
    how = Placement("float32", offload=offload)
    monkeypatch.setattr(
        diffusers_pipeline, "put", lambda pipe, _, device: put(pipe, how, torch.device(device))
    )
    for _ in range(2):
        assert np.array_equal(drawn(wan).frames, plain.frames)


def test_other_attention_is_tried_recorded_and_held_by_the_engine_alone(wan):
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry as Registry

    before = Registry._active_backend
    clip = drawn(wan, "attention=_native_math")
    assert clip.facts["attention"] == "_native_math"
    assert 0 <= clip.facts["attention_changes"] < 1e-4
    assert Registry._active_backend == before


@pytest.mark.parametrize("name", ["_native_cudnn", "xformers", "sage_hub", "nothing"])
def test_attention_that_fails_later_is_refused_before_a_clip_is_begun(wan, name):
    with pytest.raises(Refusal, match=rf"placement=attention={name}: wan cannot be drawn so here"):
        drawn(wan, f"attention={name}")


def test_a_cache_is_tried_recorded_and_leaves_no_state_to_go_on_from(wan):
    clip = drawn(wan, "cache=pyramid", steps=6)
    assert clip.facts["cache_hooks"] > 0
    assert np.isfinite(clip.facts["cache_changes"])
    assert "resume" in find_engine(wan).abilities
    assert "resume" not in find_engine(wan, "cache=pyramid").abilities
    assert np.array_equal(drawn(wan, "cache=pyramid", steps=6).frames, clip.frames)


def test_a_cache_that_takes_hold_of_nothing_is_refused(wan):
    with pytest.raises(Refusal, match=r"placement=cache=taylor: wan cannot be drawn so here"):
        drawn(wan, "cache=taylor")


def test_an_adapter_wants_whole_weights(wan, tmp_path):
    from safetensors.torch import save_file

    layer = "transformer.blocks.0.attn1.to_q.lora_"
    save_file(
        {f"{layer}{half}.weight": torch.ones(2, 2) for half in "AB"}, tmp_path / "a.safetensors"
    )
    told = {"prompt": "a cat", "engine": wan, "lora": str(tmp_path / "a.safetensors")}
    told |= {"placement": "dtype=bfloat16,quantization=float8", **SHAPES[wan]}
    engine = engine_of(request := VideoRequest.model_validate(told))
    loaded, settled = engine.ready(engine.load("cpu")), engine.settled(request)
    with pytest.raises(Refusal, match="quantization=float8: an adapter is merged"):
        loaded.denoise(settled, None, lambda *_: None, never)
