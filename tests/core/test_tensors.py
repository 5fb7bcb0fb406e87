"""Shapes broadcast as promised, and the arithmetic fits the device."""

import torch

from core.tensors import align, inference_dtype


def test_align_gives_one_number_per_sample_the_rank_of_the_volume():
    x = torch.zeros(3, 2, 4, 5, 6)
    assert align(torch.tensor([1.0, 2.0, 3.0]), x).shape == (3, 1, 1, 1, 1)
    assert align(torch.tensor(0.5), x).shape == (1, 1, 1, 1, 1)
    assert torch.equal((x + align(torch.arange(3.0), x))[:, 0, 0, 0, 0], torch.arange(3.0))


def test_inference_dtype_follows_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert inference_dtype("cpu") is torch.bfloat16
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert inference_dtype("cpu") is torch.float32
