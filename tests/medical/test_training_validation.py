"""What a run of the MRI model shows of itself while it trains."""

import numpy as np
import pytest
import torch

from medical.anatomy.phantom import template_head
from medical.training import validation as module
from medical.training.presets import tiny
from medical.training.validation import validation


@pytest.fixture(scope="module")
def head():
    return template_head()


def test_a_network_that_adds_nothing_is_as_good_as_back_projection(head):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = tiny().eval()
    for weight in network.parameters():
        weight.data.zero_()
    validate = validation([("a", head), ("b", head), ("c", head)])
    found = validate(network)
    assert set(found.numbers) == {"psnr", "psnr_back_projection", "gain_db"}
    assert 20 < found.numbers["psnr_back_projection"] < 50
    assert found.numbers["gain_db"] == pytest.approx(0, abs=0.2)
    side = module.SIDE + 2
    assert found.picture.dtype == np.uint8
    assert found.picture.shape == (2 * 6 * side, 2 * (3 * side - 4), 3)


def test_without_unseen_heads_there_is_no_validation():
    assert validation([]) is None
