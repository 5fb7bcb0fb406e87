"""Schedules start at pure noise, fall, and end at exactly 0."""

import pytest
import torch

from core.sampling.schedules import SCHEDULES, karras, linear, shifted


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [2, 4, 37])
def test_levels_fall_from_one_to_exactly_zero(name, steps):
    levels = SCHEDULES[name](steps)
    assert levels.shape == (steps + 1,)
    assert levels.dtype is torch.float64
    assert levels[0] == 1
    assert levels[-1] == 0
    assert (levels.diff() < 0).all()


def test_shift_dwells_near_noise():
    assert torch.equal(shifted(8, shift=1.0), linear(8))
    assert (shifted(8, shift=3.0)[1:-1] > linear(8)[1:-1]).all()
    assert shifted(2, shift=3.0)[1] == pytest.approx(0.75)


def test_karras_levels_are_his_sigmas_on_the_linear_path():
    levels = karras(5, low=0.01, high=10.0, rho=1.0)
    sigmas = levels[1:-1] / (1 - levels[1:-1])
    assert sigmas.tolist() == pytest.approx([7.5025, 5.005, 2.5075, 0.01])


@pytest.mark.parametrize("name", SCHEDULES)
def test_too_few_steps_name_a_usual_number(name):
    with pytest.raises(ValueError, match=r"steps=0: .* is usual"):
        SCHEDULES[name](0)
