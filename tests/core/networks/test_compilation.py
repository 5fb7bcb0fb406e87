"""Compilation is refused without a CUDA device, and pads prompts without changing them."""

import subprocess
import sys

import pytest
import torch
from torch._inductor.exc import InductorError

from core.conditioning import Conditioning
from core.networks.compilation import compiled, with_even_prompts


def test_without_a_device_it_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"compile=True: .*CUDA.*; train without compile"):
        compiled(tiny())


def test_a_half_written_kernel_is_named(tiny, monkeypatch):
    def load(*_):
        raise InductorError(ImportError("/tmp/a.main.so: file too short"), None)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "compile", lambda network, dynamic: load)
    with pytest.raises(ValueError, match=r"a\.main\.so: file too short: .*; remove that file"):
        compiled(tiny())(*torch.zeros(3, 1), Conditioning())


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


WHOLE = """
import torch
from core.networks.compilation import with_even_prompts
from core.conditioning import Conditioning
from video.training.presets import tiny
network = tiny()
z, level = torch.zeros(2, 3, 4, 16, 16), torch.full((2,), 0.5)
cond = with_even_prompts(Conditioning(tokens=torch.ones(2, 5, 384)))
whole = torch.compile(network, backend="eager", fullgraph=True, dynamic=False)
assert torch.equal(whole(z, level, level, cond), network(z, level, level, cond))
"""


@pytest.mark.slow
def test_a_network_is_one_graph():
    """In a process of its own, as the type checks of the tests would cut it."""
    command = [sys.executable, "-c", WHOLE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
