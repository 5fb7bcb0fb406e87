"""Compilation is refused where there is no compiler, and pads prompts without changing them."""

import shutil

import pytest
import torch

from core.compilation import compiled, with_even_prompts
from core.conditioning import Conditioning


def test_without_a_compiler_it_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"compile=True: .*g\+\+.*; install one, or train"):
        compiled(tiny())


def test_padded_prompts_say_the_same(tiny):
    network = tiny()
    z, level = torch.zeros(2, 2, 2, 4, 8), torch.full((2,), 0.5)
    tokens = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    for cond in (Conditioning(tokens=tokens), Conditioning(tokens=tokens, token_mask=mask)):
        even = with_even_prompts(cond)
        assert even.tokens.shape == (2, 16, 12)
        ours, theirs = (network(z, level, level, c) for c in (even, cond))
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert with_even_prompts(Conditioning()) == Conditioning()
