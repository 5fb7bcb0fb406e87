"""What age and sex tell of a head that was left out."""

import numpy as np

from tests.benchmarks.linkage.ages import cell, left_out

RANDOM = np.random.default_rng(3)
ROWS = np.column_stack([np.ones(30), RANDOM.uniform(-1.5, 2, 30), RANDOM.choice([-0.5, 0.5], 30)])


def test_what_follows_from_age_is_told_by_age_alone():
    values = 5 + 2 * ROWS[:, 1:2] * np.array([1.0, -3.0])
    mean, age = left_out(ROWS, values, ()), left_out(ROWS, values, (1,))
    assert np.allclose(age, 0)
    assert cell(mean, age) == "100 % (100 to 100)"
    assert left_out(ROWS, values, (2,)).sum() > 0.8 * mean.sum()
    half = left_out(ROWS, values, (1,), 0.5)  # half of every deviation is left
    assert np.allclose(half.sum(), 0.25 * mean.sum(), rtol=0.1)


def test_nobody_is_among_those_who_predict_them():
    values = RANDOM.standard_normal((30, 40))
    errors = left_out(ROWS, values, ())
    assert np.allclose(errors, ((values - values.mean(0)) ** 2).sum(1) * (30 / 29) ** 2)
    assert left_out(ROWS, values, (1, 2)).sum() > errors.sum()
