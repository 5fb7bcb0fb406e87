"""The learning rate rises, rests and falls; impossible plans are refused before they start."""

from itertools import pairwise

import pytest

from core.training.plan import Plan, Progress, rate


def test_the_rate_rises_rests_and_falls_to_zero():
    plan = Plan(steps=1000, warmup=100, cooldown=0.3, learning_rate=2.0)
    rates = [rate(plan, step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[99:700] == [2.0] * 601
    assert rates[850] == pytest.approx(2.0 * (1 - 0.5**0.5))
    assert all(a > b for a, b in pairwise(rates[700:]))
    assert rate(plan, 1000) == 0


def test_no_cooldown_keeps_the_plateau():
    assert rate(Plan(steps=10, warmup=0, cooldown=0.0), 9) == 1e-3


def test_time_left_follows_the_pace():
    progress = Progress(step=30, steps=100, loss=0, error=0, learning_rate=0, seconds_per_step=0.5)
    assert progress.seconds_left == 35


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": 0}, r"steps=0, .* give 1 or more"),
        ({"accumulation": 3}, r"batch_size=8, accumulation=3: .* let accumulation divide"),
        ({"mixed_precision": "fp16"}, r"mixed_precision='fp16': .* 'no' is float32"),
    ],
)
def test_impossible_plans_are_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        Plan(**{"steps": 10, "batch_size": 8} | changes)


def test_no_time_is_left_rather_than_less_than_none():
    progress = Progress(
        step=30, steps=100, loss=0, error=0, learning_rate=0, seconds_per_step=1, budget_left_s=-2
    )
    assert progress.seconds_left == 0
