"""Prompts become the same states each time, without a network, and only from the true weights."""

import shutil
import socket
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from video.engines.text import MOST_TOKENS, TextEncoder, packaged_folder


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder()


def pooled(encoder, prompt):
    tokens, mask = encoder.encode([prompt])
    return torch.nn.functional.normalize(tokens[mask].mean(0), dim=0)


def test_shapes_kinds_and_padding(encoder):
    tokens, mask = encoder.encode(["two red circles move left", "a", ""])
    assert tokens.shape == (3, 7, 384)
    assert tokens.dtype == torch.float32
    assert mask.dtype == torch.bool
    assert mask.sum(1).tolist() == [7, 3, 2]
    assert (tokens[~mask] == 0).all()
    assert tokens[mask].isfinite().all()


def test_states_are_those_of_the_published_model(encoder):
    tokens, _ = encoder.encode(["two red circles move left"])
    expected = torch.tensor([0.0293, -0.2990, -0.2100])  # by BertModel.from_pretrained
    torch.testing.assert_close(tokens[0, 0, :3], expected, atol=2e-4, rtol=0)


def test_near_sentences_lie_near(encoder):
    near = pooled(encoder, "a red ball moves left") @ pooled(encoder, "a crimson sphere goes left")
    far = pooled(encoder, "a red ball moves left") @ pooled(encoder, "axial FLAIR of the brain")
    assert near > far + 0.3


@settings(max_examples=15)
@given(prompts=st.lists(st.text(max_size=12), min_size=1, max_size=4))
def test_company_does_not_change_a_prompt(encoder, prompts):
    together, mask = encoder.encode(prompts)
    for index, prompt in enumerate(prompts):
        alone, _ = encoder.encode([prompt])
        torch.testing.assert_close(together[index][mask[index]], alone[0], atol=1e-4, rtol=1e-4)


def test_bfloat16_is_close_and_comes_back_as_float32(encoder):
    exact, _ = encoder.encode(["a green star spins"])
    fast, _ = TextEncoder(dtype=torch.bfloat16).encode(["a green star spins"])
    assert fast.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(fast, exact, dim=-1).min() > 0.995


def test_it_is_frozen_yet_training_may_attend_to_it(encoder):
    assert not any(weight.requires_grad for weight in encoder.model.parameters())
    assert not encoder.model.training
    tokens, _ = encoder.encode(["a blue square"])
    layer = torch.nn.Linear(384, 1)
    layer(tokens).sum().backward()
    assert layer.weight.grad.abs().sum() > 0


def test_the_longest_prompt_passes_and_one_more_word_does_not(encoder):
    longest = " ".join(["red"] * (MOST_TOKENS - 2))
    assert encoder.encode([longest])[0].shape[1] == MOST_TOKENS
    with pytest.raises(ValueError, match=rf"'red red .* has 65 tokens: .* at most {MOST_TOKENS}"):
        encoder.encode(["short", longest + " red"])


def test_no_prompt_is_refused(encoder):
    with pytest.raises(ValueError, match=r"prompts=\[\]"):
        encoder.encode([])


def test_loading_opens_no_connection(monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    TextEncoder().encode(["a red circle"])


def test_changed_weights_are_refused(tmp_path):
    shutil.copytree(packaged_folder(), tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"model\.safetensors has sha256 .* 53aa51172d14"):
        TextEncoder(tmp_path / "model")


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"weights are missing"):
        TextEncoder(Path(tmp_path))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("prompts", [["two red circles"], ["a", "", "é 漢字 🔴 x"]], ids=len)
def test_the_states_are_those_of_the_library_bit_for_bit(dtype, prompts):
    folder = packaged_folder()
    model = transformers.BertModel.from_pretrained(str(folder), add_pooling_layer=False)
    batch = transformers.AutoTokenizer.from_pretrained(str(folder))(
        prompts, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        expected = model.eval().to(dtype)(**batch).last_hidden_state.float()
    states, mask = TextEncoder(dtype=dtype).encode(prompts)
    assert torch.equal(mask, batch["attention_mask"].bool())
    assert torch.equal(states, expected.masked_fill(~mask[..., None], 0.0))
