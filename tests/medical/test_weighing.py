"""Weights of people: random from place to place, and even: windows hold nothing of anybody."""

import numpy as np
import pytest

from medical.anatomy import weighing
from medical.anatomy.even import Likeness, Windows, evened
from medical.anatomy.mixing import Asked, mix
from medical.anatomy.pool import WIDE
from medical.anatomy.weighing import SHOWN, held_of, shares_of, weights_of, windows
from tests.medical.heads import pool


@pytest.fixture(scope="module")
def people():
    return pool(9)


@pytest.fixture(scope="module")
def residuals(people):
    maps = people.wide.astype(np.float32) / 255
    return maps - maps.mean(0)


@pytest.fixture(scope="module")
def held(people, residuals):
    return held_of(people, residuals, 20.0)


@pytest.fixture(scope="module")
def fields(people, residuals):
    return weights_of(people, residuals, 20.0, np.random.default_rng(3))


@pytest.fixture(scope="module")
def plain(people, residuals):
    """Fields as they are drawn, with a mean of 0 over people."""
    drawn = weighing._fields(people, 20.0, np.random.default_rng(3))
    return drawn - drawn.mean(0)


def test_windows_add_up_to_one_everywhere():
    assert np.allclose(windows(60.0).sum(0), 1)
    assert len(windows(60.0)) == 64


def test_no_window_holds_anything_of_a_person(people, residuals, fields, plain):
    painted = np.einsum("c,pcxyz->pxyz", np.array(SHOWN, np.float32), residuals)
    core = people.wide.mean(0).sum(0) > 128
    shows = weighing._patterns(residuals)
    counts = {"weight": np.broadcast_to(core, painted.shape), "sight": np.square(shows).sum(0)}
    for count in counts.values():
        for window in windows(60.0):
            if (window * core).sum() > 50:
                of = (count * window).sum((1, 2, 3))
                before, after = (
                    np.abs((each * count * window).sum((1, 2, 3)) / of) for each in (plain, fields)
                )
                assert after.max() < 0.03 * max(before.max(), 0.3)


def test_a_mixture_is_like_nobody_over_the_head_and_its_eighths(people, residuals, fields):
    painted = np.einsum("c,pcxyz->pxyz", np.array(SHOWN, np.float32), residuals)
    painted = painted * (people.wide.mean(0).sum(0) > 13)
    mixture = (fields * painted).sum(0)
    for part in [np.ones(WIDE.shape), *windows(120.0)]:
        against = np.array([(part * mixture * each).sum() for each in painted])
        lengths = np.sqrt((part * painted**2).sum((1, 2, 3)) * (part * mixture**2).sum())
        assert np.abs(against / lengths).max() < 0.02


def test_everybody_has_the_same_share_and_no_mean_weight(people, fields, plain):
    shares, means = shares_of(people, fields)
    assert shares.sum() == pytest.approx(1)
    assert np.allclose(shares, 1 / 9, rtol=0.02)
    assert np.abs(means).max() < 0.1 * np.abs(shares_of(people, plain)[1]).max()
    mixed = mix(people, 4, Asked(20.0, None, "any"))
    assert np.allclose(list(mixed.contributors.values()), 1 / 9, rtol=0.02)
    assert list(mixed.means) == list(mixed.contributors)


def test_fields_are_of_unit_variance_where_people_differ(people, residuals, fields):
    share = np.square(weighing._patterns(residuals)).sum((0, 1))
    spread = (np.square(fields) * share).sum() / (len(fields) * share.sum())
    assert spread == pytest.approx(1 - 1 / 9, abs=0.15)
    assert np.allclose(fields.sum(0), 0, atol=1e-3)
    again = weights_of(people, residuals, 20.0, np.random.default_rng(3))
    assert np.array_equal(again, fields)


def test_what_is_even_stays_as_it_is(held, plain, people):
    even = evened(plain[:, weighing._inside(people, weighing.PRESENT)], held)
    again = evened(even, held)
    assert np.abs(again - even).max() < 0.03 * np.abs(even).max()


@pytest.mark.parametrize("kind", [Windows, Likeness])
def test_fields_change_as_little_as_it_takes(kind, held, plain, people):
    before = plain[:, weighing._inside(people, weighing.PRESENT)]
    looked = kind(held)
    after = looked.without(before)
    gone = before - after
    assert np.abs(looked.held(after)).max() < 1e-3 * np.abs(looked.held(before)).max()
    assert np.abs((gone * after).sum()) < 1e-3 * np.linalg.norm(gone) * np.linalg.norm(after)


def test_many_people_are_unlike_over_the_whole_head_alone(monkeypatch, people, residuals):
    monkeypatch.setattr(weighing, "MOST_BY_EIGHTHS", 8)
    assert held_of(people, residuals, 20.0).eighths.shape[0] == 1


def test_weights_are_smaller_at_depth(people, residuals, fields, monkeypatch):
    monkeypatch.setattr(weighing, "DEEP_LESS", 0.0)
    full = weights_of(people, residuals, 20.0, np.random.default_rng(3))
    deep = people.depth == 255
    assert 0.65 * full[:, deep].std() < fields[:, deep].std() < 0.9 * full[:, deep].std()
