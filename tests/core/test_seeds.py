"""Noise belongs to a sample: the same alone and in any batch, unlike its neighbors'."""

import pytest
import torch
from torch import nn

from core.seeds import generator, initialized, noise, noise_batch

SHAPE = (3, 4, 16, 16)


def correlation(a, b):
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def test_a_sample_alone_is_the_sample_in_a_batch():
    batch = noise_batch(SHAPE, 7, range(8))
    assert batch.shape == (8, *SHAPE)
    assert torch.equal(noise(SHAPE, 7, sample=3), batch[3:4])
    assert torch.equal(noise_batch(SHAPE, 7, range(3, 5)), batch[3:5])


def test_antithetic_samples_are_opposite_in_pairs():
    batch = noise_batch(SHAPE, 7, range(6), antithetic=True)
    assert torch.equal(batch[1::2], -batch[0::2])
    assert torch.equal(batch[0:1], noise(SHAPE, 7))
    assert abs(correlation(batch[0], batch[2])) < 0.05
    assert torch.equal(batch[3:4], noise(SHAPE, 7, sample=3, antithetic=True))


@pytest.mark.parametrize("other", [(7, 1), (8, 0), (7 + 2**32, 0), (0, 7)])
def test_neighbors_are_strangers(other):
    seed, sample = other
    a, b = noise(SHAPE, 7), noise(SHAPE, seed, sample=sample)
    assert abs(correlation(a, b)) < 5 / a.numel() ** 0.5


def test_places_in_the_work_are_told_apart():
    """(1, 2), (2, 1), (1, 2, 0) and (12,) are four places."""
    places = [(0, 1, 2), (0, 2, 1), (0, 1, 2, 0), (0, 12), (1, 0), (-1, 0)]
    firsts = {float(torch.rand((), generator=generator(*place))) for place in places}
    assert len(firsts) == len(places)


def test_noise_is_standard_normal():
    drawn = noise((1, 8, 64, 64), 0)
    assert drawn.mean() == pytest.approx(0, abs=0.02)
    assert drawn.std() == pytest.approx(1, abs=0.02)


def test_the_process_wide_generator_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    noise(SHAPE, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_streams_never_change_between_releases():
    """Results are repeated by their seed, by later releases too."""
    assert generator(0).initial_seed() == 7070836379803831727
    assert generator(7, 3).initial_seed() == 4905305646100813546
    assert generator(0, 1200, 0, 1).initial_seed() == 8698402110823256959


def test_first_weights_follow_from_the_seed_alone():
    torch.manual_seed(99)
    expected = torch.rand(3)
    torch.manual_seed(99)
    one, again, other = (initialized(lambda: nn.Linear(4, 4), seed) for seed in (5, 5, 6))
    assert torch.equal(one.weight, again.weight)
    assert not torch.equal(one.weight, other.weight)
    assert torch.equal(torch.rand(3), expected)
