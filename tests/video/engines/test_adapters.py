"""LoRA files: taken in for a clip, shared by equal requests, and out again bit for bit."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.refusal import Refusal
from video.engines import adapters
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


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
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
