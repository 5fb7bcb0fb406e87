"""The explicit path is attention, backends stay where set, and a CPU needs no xformers."""

import subprocess
import sys
import warnings

import pytest
import torch
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from torch.nn import functional as F

from core.networks import attention
from core.networks.attention import (
    Attention,
    FeedForward,
    HeadNorm,
    explicit_attention,
    use_backend,
)

SEED = torch.Generator().manual_seed(0)


def heads_first(x):
    return x.transpose(1, 2)


@pytest.mark.parametrize("masked", [False, True])
def test_explicit_attention_equals_scaled_dot_product(masked):
    q = torch.randn(3, 5, 2, 8, generator=SEED)
    k, v = torch.randn(2, 3, 7, 2, 8, generator=SEED)
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] + [0] * 6]).bool()[:, None, None]
    mask = mask if masked else None
    expected = F.scaled_dot_product_attention(*map(heads_first, (q, k, v)), attn_mask=mask)
    assert torch.allclose(explicit_attention(q, k, v, mask), heads_first(expected), atol=1e-6)


@pytest.mark.parametrize("rows", [3, 1])
def test_dispatched_attention_equals_the_explicit_path(rows):
    """Also where one prompt (1 row of keys) serves a whole batch of windows."""
    layer = Attention(16, context_channels=6, head_dim=8)
    torch.nn.init.normal_(layer.to_out[0].weight)
    x, context = torch.randn(3, 5, 16, generator=SEED), torch.randn(rows, 4, 6, generator=SEED)
    mask = torch.tensor([True, True, True, False]).expand(rows, 1, 1, 4)
    explicit = layer(x, layer.keys_and_values(context), mask)
    use_backend(layer, "native")
    assert torch.allclose(layer(x, layer.keys_and_values(context), mask), explicit, atol=1e-5)


@pytest.mark.parametrize("length", [24, attention.SHORT_ROW])
def test_the_explicit_path_answers_in_bfloat16_near_the_exact_result(length):
    q = torch.randn(2, 6, 2, 8, generator=SEED)
    k, v = torch.randn(2, 2, length, 2, 8, generator=SEED)
    exact = explicit_attention(q, k, v, None)
    rough = explicit_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), None)
    assert rough.dtype is torch.bfloat16
    assert (rough - exact).norm() / exact.norm() < 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_norm_of_a_head_is_torchs(dtype):
    norm = HeadNorm(8, eps=1e-6, dtype=dtype)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(3, 5, 8, generator=SEED, dtype=dtype)
    expected = F.rms_norm(x, (8,), norm.weight, 1e-6)
    assert torch.allclose(norm(x), expected, atol=1e-6)
    assert not norm(torch.zeros(2, 8, dtype=dtype)).any()


def test_the_norm_of_a_head_is_silent_under_autocast():
    with warnings.catch_warnings(), torch.autocast("cpu", torch.bfloat16):
        warnings.simplefilter("error")
        answer = HeadNorm(8, eps=1e-6)(torch.randn(3, 8).bfloat16())
    assert answer.dtype is torch.bfloat16


def test_long_sequences_leave_the_explicit_path(monkeypatch):
    layer = Attention(16, head_dim=8)
    torch.nn.init.normal_(layer.to_out[0].weight)
    x = torch.randn(2, 6, 16, generator=SEED)
    explicit = layer(x)
    monkeypatch.setattr(attention, "EXPLICIT_LIMIT", 35)
    monkeypatch.setattr(attention, "explicit_attention", None)
    assert torch.allclose(layer(x), explicit, atol=1e-5)


def test_a_backend_stays_with_its_network(tiny):
    ours, other = tiny(), tiny()
    active = _AttentionBackendRegistry.get_active_backend()
    ours.set_attention_backend("native")

    def backends(network):
        return {
            m.processor._attention_backend for m in network.modules() if isinstance(m, Attention)
        }

    assert {str(getattr(b, "value", b)) for b in backends(ours)} == {"native"}
    assert backends(other) == {None}
    assert _AttentionBackendRegistry.get_active_backend() == active


def test_an_unknown_backend_lists_the_known_ones(tiny):
    with pytest.raises(ValueError, match=r"backend='fast': .* choose one of .*native"):
        tiny().set_attention_backend("fast")


@pytest.mark.skipif(torch.cuda.is_available(), reason="xformers runs here")
def test_xformers_is_refused_when_set_not_when_run(tiny):
    with pytest.raises(ValueError, match=r"backend='xformers': .* CPU; use 'native'"):
        tiny().set_attention_backend("xformers")


def test_heads_must_share_the_width_evenly():
    with pytest.raises(ValueError, match=r"channels=20, head_dim=6: "):
        Attention(20, head_dim=6)


def test_a_network_on_a_cpu_never_imports_xformers():
    script = (
        "import sys, torch\n"
        "torch.cuda.is_available = lambda: False\n"
        "from core.networks.unet import SpatioTemporalUNet\n"
        "net = SpatioTemporalUNet(block_out_channels=(16, 32), layers_per_block=1,"
        " down_strides=((1, 2, 2),), attention_levels=(False, True),"
        " spatial_attention_levels=(False, True))\n"
        "net(torch.zeros(1, 3, 2, 8, 8), torch.tensor(0.5))\n"
        "assert 'xformers' not in sys.modules, 'xformers was imported'\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_feed_forward_starts_as_nothing():
    assert not FeedForward(8)(torch.randn(2, 8)).any()
