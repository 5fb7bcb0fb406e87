"""Embeddings are bounded, smooth enough to differentiate, and know physical positions."""

import pytest
import torch

from core.networks.embeddings import (
    NumberEmbedding,
    SpacingEmbedding,
    fourier,
    grid_angles,
    rotary_angles,
    rotate,
    turns_by,
)


def test_fourier_features_move_no_faster_than_their_highest_wave():
    t = torch.linspace(0, 1, 2001, dtype=torch.float64)
    waves = fourier(t, 64, low=0.5, high=50.0)
    assert waves.shape == (2001, 64)
    assert waves.abs().max() <= 1
    speed = (waves.diff(dim=0) / t.diff()[:, None]).abs().max()
    assert 25 < speed <= 50 * 1.001


def test_rotation_keeps_lengths_and_depends_on_distance_alone():
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 6, 2, 8, generator=generator)
    near = torch.arange(6.0)[None]

    def scores(positions):
        turns = turns_by(rotary_angles(positions, 8, periods=(2.0, 64.0)))
        turned = rotate(q, turns), rotate(k, turns)
        assert turned[0].norm(dim=-1).allclose(q.norm(dim=-1), atol=1e-5)
        return torch.einsum("nshd,nlhd->nhsl", *turned)

    assert scores(near).allclose(scores(near + 11.5), atol=1e-4)
    assert not scores(near).allclose(scores(2 * near), atol=1e-2)


def test_rotation_turns_each_pair_by_its_angle_and_rows_may_share_one():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 2, 6, generator=generator)
    angles = torch.randn(2, 3, 3, generator=generator)
    turned = rotate(x, turns_by(angles))
    pairs = torch.complex(x[..., :3], x[..., 3:])
    by = torch.polar(torch.ones_like(angles), angles).repeat_interleave(2, dim=0)[:, :, None]
    expected = torch.view_as_real(pairs * by).movedim(-1, -2).flatten(-2)
    assert torch.allclose(turned, expected, atol=1e-6)


def test_twice_the_index_at_half_the_spacing_is_the_same_place():
    index = torch.arange(0, 12, 2)[None]
    coarse = rotary_angles(torch.arange(6)[None] * 1.0, 16, periods=(0.25, 8.0))
    assert torch.equal(rotary_angles(index * 0.5, 16, periods=(0.25, 8.0)), coarse)


def test_the_shortest_wave_turns_once_in_its_period():
    angles = rotary_angles(torch.tensor([[0.0, 0.25]]), 16, periods=(0.25, 8.0))
    assert angles[0, 1, 0] == pytest.approx(2 * torch.pi, rel=1e-6)
    assert angles[0, 1, -1] == pytest.approx(2 * torch.pi * 0.25 / 8, rel=1e-6)


def test_a_grid_turns_with_each_of_its_axes():
    along_d = rotary_angles(torch.arange(3.0)[None], 16, periods=(2.0, 64.0))
    grid = grid_angles(along_d, 4, 5).view(1, 3, 4, 5, 8)
    assert torch.equal(grid[0, :, 1, 2, :4], along_d[0, :, ::2])
    for axis, channels in ((1, slice(0, 4)), (2, slice(4, 6)), (3, slice(6, 8))):
        steps = grid.diff(dim=axis)
        assert (steps[..., channels] > 0).all()
        steps[..., channels] = 0
        assert not steps.any()


def test_number_embedding_answers_in_the_dtype_of_its_weights():
    layer = NumberEmbedding(8, low=0.5, high=50.0).bfloat16()
    answer = layer(torch.tensor([0.1, 0.9], dtype=torch.float64))
    assert answer.shape == (2, 8)
    assert answer.dtype is torch.bfloat16


def test_spacing_embedding_tells_spacing_from_resolution_and_survives_zero():
    layer = SpacingEmbedding(8)
    one, four = torch.ones(1, 3), torch.full((1, 3), 4.0)
    assert not torch.allclose(layer(one, four), layer(four, one))
    assert torch.isfinite(layer(torch.zeros(1, 3), one)).all()
