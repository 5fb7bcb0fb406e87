"""LoRA files: taken in for a clip, shared by equal requests, and out again bit for bit."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.records import sha256_file
from core.refusal import Refusal
from video.engines import adapters
from video.engines.adapter_files import digest_of
from video.engines.engine import never
from video.engines.shelf import find_engine
from video.request import VideoRequest

NAME = "wan_22"
LAYER = "transformer.blocks.0.attn1.to_q"
WIDE, RANK = 24, 2


def factors(layer=LAYER, width=WIDE, seed=0, prefix=""):
    draw = torch.Generator().manual_seed(seed)
    down, up = (torch.randn(*shape, generator=draw) for shape in ((RANK, width), (width, RANK)))
    return {f"{prefix}{layer}.lora_A.weight": down, f"{prefix}{layer}.lora_B.weight": up}


def asked(**changes):
    told = {"prompt": "a cat", "engine": NAME, "steps": 2, "num_frames": 9}
    return VideoRequest.model_validate({**told, "height": 16, "width": 16, **changes})


@pytest.fixture
def engine(made):
    made(NAME)
    found = find_engine(NAME)
    return found, found.ready(found.load("cpu"))


def drawn(engine, request):
    found, loaded = engine
    found.check(request)
    settled = found.settled(request)
    clip = loaded.decode(settled, loaded.denoise(settled, None, lambda *_: None, never))
    found.forget(request)
    return clip


def weight(engine, layer=LAYER):
    return engine[1].pipe.transformer.get_submodule(layer.partition(".")[2]).weight


def test_an_adapter_is_taken_in_shared_and_taken_out(engine, tmp_path, monkeypatch):
    path = tmp_path / "style.safetensors"
    save_file(factors(), path)
    merged = []
    merge = adapters.Adapted._merge
    monkeypatch.setattr(
        adapters.Adapted, "_merge", lambda self, *told: merged.append(told) or merge(self, *told)
    )
    before = weight(engine).detach().clone()
    plain = drawn(engine, asked())
    styled = drawn(engine, asked(lora=str(path), lora_scale=0.5))
    down, up = factors().values()
    assert torch.equal(weight(engine), before + 0.5 * (up @ down))
    assert not np.array_equal(styled.frames, plain.frames)
    assert styled.facts["lora"]["scale"] == 0.5
    drawn(engine, asked(lora=str(path), lora_scale=0.5, seed=1))
    assert len(merged) == 1
    assert np.array_equal(drawn(engine, asked()).frames, plain.frames)
    assert torch.equal(weight(engine), before)
    key = engine[0].key(asked(lora=str(path)))
    save_file(factors(seed=1), path)
    assert engine[0].key(asked(lora=str(path))) != key


def test_rank_and_alpha_are_read_where_libraries_write_them(engine, tmp_path):
    before = weight(engine).detach().clone()
    down, up = factors().values()
    path = tmp_path / "adapter_model.safetensors"
    said = {"lora_adapter_metadata": json.dumps({"transformer.r": 2, "transformer.lora_alpha": 6})}
    save_file(factors(), path, said)
    drawn(engine, asked(lora=str(path)))
    assert torch.allclose(weight(engine), before + 3 * (up @ down), atol=1e-6)
    save_file(factors(LAYER.partition(".")[2], prefix="base_model.model."), path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 8}))
    drawn(engine, asked(lora=str(path)))
    assert torch.allclose(weight(engine), before + 4 * (up @ down), atol=1e-6)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"use_dora": True}))
    with pytest.raises(Refusal, match="it says use_dora"):
        drawn(engine, asked(lora=str(path), lora_scale=2))


def test_settings_beside_an_adapter_are_part_of_it(engine, tmp_path):
    path, beside = tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json"
    save_file(factors(LAYER.partition(".")[2], prefix="base_model.model."), path)
    request = asked(lora=str(path))
    keys, clips = [], []
    for alpha in (2, 8):
        beside.write_text(json.dumps({"r": 2, "lora_alpha": alpha}))
        keys.append(engine[0].key(request))
        clips.append(drawn(engine, request))
        assert clips[-1].facts["lora"]["alpha"] == alpha
    assert keys[0] != keys[1]
    assert not np.array_equal(clips[0].frames, clips[1].frames)
    save_file(factors(), path)  # not peft's: the file beside is not read
    assert digest_of(path) == sha256_file(path)


@pytest.mark.parametrize(
    ("said", "words"),
    [("[1]", "settings that are no table"), ('{"lora_alpha": null}', "alpha None at rank 2")],
)
def test_settings_that_are_none_are_refused(engine, tmp_path, said, words):
    path = tmp_path / "odd.safetensors"
    save_file(factors(), path, {"lora_adapter_metadata": said})
    with pytest.raises(Refusal, match=f"lora=.*{words}"):
        drawn(engine, asked(lora=str(path)))


def test_an_adapter_needs_room_for_what_it_changes(engine, tmp_path):
    plain, styled = (engine[0].needs(asked(lora=lora)) for lora in ("", "a.safetensors"))
    more = 4 * engine[0].weights.values / 1e9
    assert styled.memory_gb == pytest.approx(plain.memory_gb + more)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (
            {
                f"{LAYER}.lora_A.weight": torch.ones(0, 24),
                f"{LAYER}.lora_B.weight": torch.ones(24, 0),
            },
            "alpha 0 at rank 0",
        ),
        (factors("transformer.blocks.9.attn1.to_q"), "the layer transformer.blocks.9"),
        (factors(width=7), "of 7 x 7"),
        (factors("text_encoder.block"), "the layer text_encoder"),
        ({f"{LAYER}.lora_A.weight": torch.ones(2, WIDE)}, "half of"),
        ({f"{LAYER}.diff": torch.ones(2)}, "diff"),
    ],
)
def test_an_adapter_of_another_model_is_refused(engine, tmp_path, tensors, words):
    path = tmp_path / "other.safetensors"
    save_file(tensors, path)
    before = weight(engine).detach().clone()
    with pytest.raises(Refusal, match=f"lora=.*{words}"):
        drawn(engine, asked(lora=str(path)))
    assert torch.equal(weight(engine), before)


def test_what_is_no_adapter_is_refused_before_any_load(made, tmp_path):
    made(NAME)
    for name in ("none.safetensors", "pickle.bin"):
        (tmp_path / "pickle.bin").write_bytes(b"x")
        with pytest.raises(Refusal, match=r"lora=.*no such file of safetensors"):
            find_engine(NAME).check(asked(lora=str(tmp_path / name)))
    (tmp_path / "cut.safetensors").write_bytes(b"12345678")
    with pytest.raises(Refusal, match="not a whole safetensors file"):
        find_engine(NAME).check(asked(lora=str(tmp_path / "cut.safetensors")))
