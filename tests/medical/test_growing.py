"""Lesions at several visits: each holds the one before, and the change is what was asked."""

from itertools import pairwise

import numpy as np
import pytest

from core.refusal import Refusal
from medical.lesions.drawing import DrawnLesions
from medical.lesions.fields import parts_of
from medical.lesions.growing import visits


@pytest.fixture
def drawn():
    """Two balls that grew from their middles."""
    mask = np.zeros((40, 30, 30), np.uint16)
    joined = np.zeros(mask.shape, np.float32)
    x, y, z = np.indices(mask.shape)
    for number, (middle, radius) in enumerate(((10, 8), (30, 5)), start=1):
        away = np.sqrt((x - middle) ** 2 + (y - 15) ** 2 + (z - 15) ** 2)
        mask[away <= radius] = number
        joined[away <= radius] = (away / radius)[away <= radius]
    return DrawnLesions(mask, joined, {}, {})


def test_each_visit_holds_the_one_before_and_grows_as_asked(drawn):
    found = visits(drawn, (0, 6, 24), 0.5, 1.0)
    volumes = [int((visit.lesions > 0).sum()) for visit in found]
    assert volumes[1] - volumes[0] == pytest.approx(250, abs=1)
    assert volumes[2] - volumes[1] == pytest.approx(750, abs=1)
    assert (found[-1].lesions == drawn.mask).all()
    for before, after in pairwise(found):
        assert (after.lesions[before.lesions > 0] == before.lesions[before.lesions > 0]).all()
    assert parts_of(found[0].lesions > 0)[1] == 2  # what began as one lesion is still one


def test_visits_that_cannot_be_are_refused(drawn):
    with pytest.raises(Refusal, match="begin at 0"):
        visits(drawn, (3, 6), 0.5, 1.0)
    with pytest.raises(Refusal, match="slower growth"):
        visits(drawn, (0, 120), 0.5, 1.0)
