"""The restorer and the editor on Gaussian data, whose answers are known in closed form."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.operations.editing import edited, partial_levels
from core.operations.linear_operators import FrameOperator, MaskOperator, MeanOperator, project
from core.operations.restoration import Measurement, restore
from core.refusal import Refusal
from core.sampling.samplers import SAMPLERS
from core.sampling.schedules import linear, shifted

SHAPE = (2, 4, 4, 4)
OPERATORS = {
    "mask": MaskOperator((torch.arange(64).reshape(4, 4, 4) % 3 == 0).double()),
    "frames": FrameOperator((0, 3), 4),
    "means": MeanOperator((2, 2, 4)),
}


def gaussian(z, t, r):
    """The posterior mean of standard normal data: E[x | z]."""
    return z * (1 - t) / ((1 - t) ** 2 + t**2)


@pytest.mark.parametrize("name", OPERATORS)
@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_adjoint_pseudo_inverse_and_projection_are_what_they_say(name, seed):
    operator = OPERATORS[name]
    random = torch.Generator().manual_seed(seed)
    x, guess = torch.randn(2, 1, *SHAPE, generator=random, dtype=torch.float64)
    seen = operator.apply(x)
    y = torch.randn(seen.shape, generator=random, dtype=torch.float64)
    torch.testing.assert_close((seen * y).sum(), (x * operator.adjoint(y)).sum())
    torch.testing.assert_close(operator.apply(operator.invert(seen)), seen)
    moved = project(guess, operator, seen)
    torch.testing.assert_close(operator.apply(moved), seen)
    unseen = x - operator.invert(operator.apply(x))
    assert abs(float(((moved - guess) * unseen).sum())) < 1e-9


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sample_of_every_sampler_explains_the_measurement(name, sampler):
    operator = OPERATORS[name]
    y = operator.apply(torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(3)).double())
    told = []
    found = restore(
        [gaussian], Measurement(operator, y.float()), SHAPE, seed=5, levels=linear(6),
        walk=SAMPLERS[sampler].walk, samples=4,
        on_step=lambda done, total, estimate: told.append((done, total)),
    )  # fmt: skip
    torch.testing.assert_close(operator.apply(found.mean[None]), y.float(), atol=1e-5, rtol=0)
    if name != "means":  # the means of spreads say nothing of the spread of means
        assert float(operator.apply(found.std[None]).abs().max()) < 1e-5
    assert told[-1][0] == told[-1][1] == len(told)


def test_the_unseen_part_has_the_mean_and_spread_of_the_data():
    """Standard normal data with half of the frames known: the others are standard normal."""
    known = Measurement(FrameOperator((0, 1), 4), torch.full((1, 2, 2, 4, 4), 3.0))
    found = restore(
        [gaussian], known, SHAPE, seed=1, levels=linear(32), walk=SAMPLERS["heun"].walk, samples=64
    )
    unknown, spread = found.mean[:, 2:], found.std[:, 2:]
    assert float(unknown.abs().max()) < 1e-5  # opposite noises leave no chance in the mean
    assert abs(float(spread.square().mean()) - 1) < 0.1
    one = restore([gaussian], known, SHAPE, seed=1, levels=linear(4), walk=SAMPLERS["euler"].walk)
    assert not one.std.any()


def test_samples_take_turns_between_denoisers():
    known = Measurement(FrameOperator((0, 1), 4), torch.zeros(1, 2, 2, 4, 4))
    ways = [lambda z, t, r, told=told: torch.full_like(z, told) for told in (1.0, 2.0, 6.0)]
    walk = SAMPLERS["euler"].walk
    for samples, mean in ((1, 1.0), (2, 1.5), (3, 3.0), (4, 2.5)):
        found = restore(
            ways, known, SHAPE, seed=1, levels=linear(3), walk=walk, samples=samples
        ).mean[:, 2:]
        torch.testing.assert_close(found, torch.full_like(found, mean))


def test_an_edit_keeps_what_noise_of_its_strength_leaves():
    x = torch.full((1, *SHAPE), 2.0)
    noise = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    walk = SAMPLERS["heun"].walk
    ways = [
        edited(gaussian, x, noise, levels=linear(64), walk=walk, strength=strength)
        for strength in (0.1, 0.5, 1.0)
    ]
    means = [float(found.mean()) for found in ways]
    assert 1.8 < means[0] < 2.1
    assert means[0] > means[1] > means[2]
    anew = walk(gaussian, noise, linear(64))
    torch.testing.assert_close(ways[2], anew)


@pytest.mark.parametrize("strength", [0.05, 0.5, 0.99, 1.0])
def test_part_of_a_walk_falls_from_its_place_to_nothing(strength):
    whole = shifted(4, shift=8.0)
    part = partial_levels(whole, strength)
    assert len(part) == len(whole)
    assert bool((part.diff() < 0).all())
    assert part[-1] == 0
    assert part[0] <= 1
    if strength == 1:
        torch.testing.assert_close(part, whole)
    if strength == 0.5:
        assert part[0] == whole[2]


@pytest.mark.parametrize("strength", [0.0, -1.0, 1.5])
def test_no_strength_is_refused(strength):
    with pytest.raises(Refusal, match="strength"):
        partial_levels(linear(4), strength)


@pytest.mark.parametrize("places", [(), (0, 0), (4,), (-1,)])
def test_frames_that_are_none_are_refused(places):
    with pytest.raises(Refusal, match="places"):
        FrameOperator(places, 4)


def test_blocks_that_do_not_fit_are_refused():
    with pytest.raises(Refusal, match="multiple"):
        MeanOperator((2, 3, 1)).apply(torch.zeros(1, 4, 4, 4))
