"""What is expected at an age and sex, and what of it follows people into pools."""

from dataclasses import replace

import numpy as np
import pytest

from medical.anatomy.expected import apart, at
from medical.anatomy.folding import unfolded
from medical.anatomy.mixing import Asked, mix
from medical.anatomy.pool import CANONICAL, WIDE
from tests.medical.heads import pool

ANYBODY = Asked(20.0, None, "any")


@pytest.fixture(scope="module")
def model():
    """A model's people: what is expected is theirs, whomever a pool holds."""
    people = pool(12)
    return replace(people, expected=people.own_expected())


def test_expected_maps_are_the_mean_at_the_mean_person(model):
    ages, sexes = zip(*model.told, strict=True)
    women = sexes.count("f") / len(sexes)
    found = at(model.expected.wide, float(np.mean(ages)), "f") * women
    found += at(model.expected.wide, float(np.mean(ages)), "m") * (1 - women)
    assert np.allclose(found, model.wide.mean(0) / 255, atol=1e-4)


def test_nothing_of_age_and_sex_is_left_in_what_sets_people_apart(model):
    left = apart(model.told, model.wide, model.expected.wide)
    ages = np.array([age for age, _ in model.told])
    for told in (np.ones(12), ages, np.array([sex == "f" for _, sex in model.told])):
        assert np.abs(np.tensordot(told.astype(float), left, 1)).max() < 1e-3 * np.abs(told).sum()


def test_a_pool_of_some_is_drawn_around_all_people_of_its_model(model):
    some = model.only([person.hash for person in model.people[:6]])
    assert some.expected is model.expected
    heads = [mix(some, seed, ANYBODY) for seed in range(2)]
    assert {head.facts["people_of_the_mean"] for head in heads} == {12}
    assert {len(head.contributors) for head in heads} == {6}


def test_heads_of_a_pool_do_not_all_show_its_own_mean(model):
    some = model.only([person.hash for person in model.people[:6]])
    every = at(model.expected.wide, 28.0, "f")
    own = at(some.own_expected().wide, 28.0, "f") - every
    way = WIDE.read(own.astype(np.float32), CANONICAL)
    there = WIDE.read(every.clip(0, 1).astype(np.float32), CANONICAL)

    def like(people):
        drawn = np.mean([unfolded(mix(people, k, ANYBODY).condition) for k in range(6)], 0)
        return float(((drawn - there) * way).sum() / np.square(way).sum())

    assert like(replace(some, expected=None)) > 0.3
    assert abs(like(some)) < 0.15
