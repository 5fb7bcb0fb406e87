"""Folding copies nothing, and each block is the operation it claims to be."""

import pytest
import torch
from torch.nn import functional as F

from core.networks.blocks import (
    AttentionStage,
    DepthConv,
    GroupNorm,
    Merge,
    ResidualBlock,
    Split,
    fold,
    from_tokens,
    pad,
    to_tokens,
    unfold,
)
from core.networks.embeddings import Places

SHAPE = (2, 8, 3, 5, 4)


@pytest.fixture
def x():
    """(2, 8, 3, 5, 4), channels last in memory."""
    drawn = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    return drawn.to(memory_format=torch.channels_last_3d)


def test_folding_and_tokens_are_views(x):
    folded, tokens = fold(x), to_tokens(x)
    assert folded.shape == (6, 8, 5, 4)
    assert folded.data_ptr() == tokens.data_ptr() == x.data_ptr()
    assert folded.is_contiguous(memory_format=torch.channels_last)
    assert tokens.is_contiguous()
    assert unfold(folded, 2).data_ptr() == from_tokens(tokens).data_ptr() == x.data_ptr()
    assert torch.equal(unfold(folded, 2), x)
    assert torch.equal(from_tokens(tokens), x)


@pytest.mark.parametrize("rows", [1, 2])
def test_blocks_hand_on_channels_last_memory(x, rows):
    residual, depth = ResidualBlock(8, 16, 4, (3, 3, 3)), DepthConv(8, 3)
    x = x[:rows]
    assert depth(x).is_contiguous(memory_format=torch.channels_last_3d)
    y = residual(x, torch.randn(rows, 4))
    assert y.shape == (rows, 16, 3, 5, 4)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)


def test_the_group_norm_of_training_is_torchs_and_so_is_its_gradient(x):
    norm = GroupNorm(2, 8)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = (x + 3).requires_grad_()
    answers = norm(x), torch.nn.functional.group_norm(x, 2, norm.weight, norm.bias, norm.eps)
    assert torch.allclose(*answers, atol=1e-5)
    assert answers[0].is_contiguous(memory_format=torch.channels_last_3d)
    pull = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    wanted = (x, norm.weight, norm.bias)
    gradients = [torch.autograd.grad((answer * pull).sum(), wanted) for answer in answers]
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    with torch.no_grad():
        assert torch.allclose(norm(x), answers[1], atol=1e-6)


def test_depth_convolution_equals_conv3d(x):
    layer = DepthConv(8, 3)
    torch.nn.init.normal_(layer.mix.weight)
    torch.nn.init.normal_(layer.mix.bias)
    kernel = layer.mix.weight.unflatten(1, (3, 8)).transpose(1, 2)[..., None, None]
    expected = F.conv3d(x, kernel, layer.mix.bias, padding=(1, 0, 0))
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_a_fresh_residual_block_is_two_dimensional(x):
    """The (3, 1, 1) starts at zero: each frame's convolutions see that frame alone."""
    block = ResidualBlock(8, 8, 4, (3, 3, 3)).eval()
    for norm in (block.norm1, block.norm2, block.norm3):
        norm.forward = lambda h: h  # group statistics run over D on purpose
    whole = block(x, torch.zeros(2, 4))
    alone = block(x[:, :, 1:2], torch.zeros(2, 4))
    assert torch.allclose(whole[:, :, 1:2], alone, atol=1e-5)


def test_modulation_scales_and_shifts(x):
    block = ResidualBlock(8, 8, 4, (3, 3, 3))
    calm = block(x, torch.ones(2, 4))
    assert torch.equal(calm, block(x, torch.zeros(2, 4)))  # starts silent
    torch.nn.init.normal_(block.modulation.weight)
    assert not torch.allclose(block(x, torch.ones(2, 4)), calm)


@pytest.mark.parametrize("stride", [(1, 2, 2), (2, 2, 2), (3, 1, 5)])
def test_split_mirrors_merge(stride):
    cell = stride[0] * stride[1] * stride[2]
    merge, split = Merge(4, 4 * cell, stride), Split(4 * cell, 4, stride)
    x = torch.randn(2, 4, 6, 4, 10)
    with torch.no_grad():
        for layer in (merge, split):
            layer.mix.weight.copy_(torch.eye(4 * cell))
            layer.mix.bias.zero_()
    assert merge(x).shape == (
        2,
        4 * cell,
        *(n // s for n, s in zip(x.shape[2:], stride, strict=True)),
    )
    assert torch.equal(split(merge(x)), x)


@pytest.mark.parametrize("joint", [False, True])
def test_a_fresh_attention_stage_changes_nothing(x, joint):
    stage = AttentionStage(8, text_channels=6, head_dim=4, spatial=True, joint=joint)
    pair = stage.text.keys_and_values(torch.randn(2, 7, 6))
    assert torch.equal(stage(x, pair, None, Places(torch.zeros(1, 3, 2), 5, 4)), x)


@pytest.mark.parametrize("joint", [False, True])
def test_frames_see_each_other_in_space_only_where_attention_is_joint(x, joint):
    stage = AttentionStage(8, text_channels=0, head_dim=4, spatial=True, joint=joint)
    torch.nn.init.normal_(stage.spatial.to_out[0].weight)
    places = Places(torch.zeros(1, 3, 2), 5, 4)
    changed = x.clone()
    changed[:, :, 2] += torch.randn(8, 1, 1)
    moved = (stage(changed, None, None, places) - stage(x, None, None, places)).abs()
    assert moved[:, :, 2].max() > 0.1
    assert bool(moved[:, :, :2].max() > 1e-3) is joint


def test_padding_repeats_the_last_plane_and_leaves_whole_cells_alone(x):
    padded = pad(x, (2, 4, 4))
    assert padded.shape == (2, 8, 4, 8, 4)
    assert torch.equal(padded[:, :, :3, :5], x)
    assert torch.equal(padded[:, :, 3, :5], x[:, :, 2])
    assert torch.equal(padded[:, :, :3, 7], x[:, :, :, 4])
    assert pad(x, (3, 5, 2)) is x
