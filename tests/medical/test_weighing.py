"""Weights of people: random from place to place, balanced over windows, unit variance in all."""

import numpy as np
import pytest

from medical.anatomy import weighing
from medical.anatomy.filters import blurred
from medical.anatomy.mixing import Asked, mix
from medical.anatomy.pool import WIDE
from medical.anatomy.weighing import SHOWN, balanced, shown, unlike, weights_of, windows
from tests.medical.heads import pool


@pytest.fixture(scope="module")
def people():
    return pool(9)


@pytest.fixture(scope="module")
def residuals(people):
    maps = people.wide.astype(np.float32) / 255
    return maps - maps.mean(0)


def test_windows_add_up_to_one_everywhere():
    assert np.allclose(windows(60.0).sum(0), 1)
    assert len(windows(60.0)) == 64


def test_no_window_holds_more_of_a_person_than_chance_would_leave(people, residuals):
    counts = shown(residuals)
    random = np.random.default_rng(1)
    coarse = random.standard_normal((9, 5, 5, 5)).repeat(6, 1).repeat(7, 2).repeat(6, 3)
    plain = coarse[:, : WIDE.shape[0], : WIDE.shape[1], : WIDE.shape[2]].astype(np.float32)
    even = balanced(plain, people, counts, 20.0)
    for window in windows(60.0):
        of = (counts * window).sum((1, 2, 3)) + 1e-9
        before = np.abs((plain * counts * window).sum((1, 2, 3)) / of)
        after = np.abs((even * counts * window).sum((1, 2, 3)) / of)
        if (people.wide.mean(0).sum(0) > 13)[window > 0.5].mean() > 0.9:
            assert after.max() < 0.1 * max(before.max(), 0.3)


def test_what_stood_out_over_the_whole_is_gone(people, residuals):
    counts = shown(residuals)
    fields = np.random.default_rng(2).standard_normal((9, *WIDE.shape)).astype(np.float32)
    even = balanced(fields + 1, people, counts, 20.0)
    inside = people.wide.mean(0).sum(0) > 128
    whole = (even * counts)[:, inside].sum(1) / counts[:, inside].sum(1)
    assert np.abs(whole).max() < 0.05
    assert np.abs((fields + 1)[:, inside].mean(1)).min() > 0.9


def test_fields_are_of_unit_variance_where_people_differ(people, residuals):
    fields = weights_of(people, residuals, 20.0, np.random.default_rng(3))
    share = shown(residuals).sum(0)
    spread = (np.square(fields) * share).sum() / (len(fields) * share.sum())
    assert spread == pytest.approx(1 - 1 / 9, abs=0.15)
    assert np.allclose(fields.sum(0), 0, atol=1e-3)
    again = weights_of(people, residuals, 20.0, np.random.default_rng(3))
    assert np.array_equal(again, fields)


def test_shares_are_positive_and_add_up(people):
    mixed = mix(people, 4, Asked(20.0, None, "any"))
    shares = np.array(list(mixed.contributors.values()))
    assert shares.min() > 0
    assert shares.sum() == pytest.approx(1)
    assert list(mixed.means) == list(mixed.contributors)


def test_a_mixture_is_like_nobody_over_the_head_and_its_eighths(people, residuals):
    random = np.random.default_rng(6)
    fields = random.standard_normal((9, *WIDE.shape)).astype(np.float32)
    fields = np.stack([blurred(each, 3.0) for each in fields])
    fields -= fields.mean(0)
    painted = np.einsum("c,pcxyz->pxyz", np.array(SHOWN, np.float32), residuals)

    def likest(fields, part):
        mixture = (fields * painted).sum(0)
        part = part * (people.wide.mean(0).sum(0) > 13)
        against = [(part * mixture * each).sum() for each in painted]
        lengths = [np.sqrt((part * each**2).sum()) for each in painted]
        return np.abs(np.divide(against, lengths)).max() / np.sqrt((part * mixture**2).sum())

    after = unlike(fields, people, residuals)
    assert np.allclose(after.sum(0), 0, atol=1e-3)
    for part in [np.ones(WIDE.shape), *windows(120.0)]:
        assert likest(after, part) < 0.5 * max(likest(fields, part), 0.2)


def test_weights_are_smaller_at_depth(people, residuals, monkeypatch):
    fields = weights_of(people, residuals, 20.0, np.random.default_rng(3))
    monkeypatch.setattr(weighing, "DEEP_LESS", 0.0)
    full = weights_of(people, residuals, 20.0, np.random.default_rng(3))
    deep = people.depth == 255
    assert np.allclose(fields[:, deep], 0.75 * full[:, deep])
    assert np.array_equal(fields[:, people.depth == 0], full[:, people.depth == 0])
