"""The average follows the weights as its formula says, in float32."""

import pytest
import torch
from torch import nn

from core.training.ema import WeightAverage


@pytest.fixture
def layer():
    layer = nn.Linear(2, 1, bias=False)
    nn.init.constant_(layer.weight, 1.0)
    return layer


def test_the_warm_up_forgets_early_weights(layer):
    average = WeightAverage(layer, decay=0.9)
    nn.init.constant_(layer.weight, 3.0)
    average.update(layer, 0)
    assert average.state()["weight"].tolist()[0] == pytest.approx([0.1 * 1 + 0.9 * 3] * 2)
    average.update(layer, 1000)
    assert average.state()["weight"][0, 0] == pytest.approx(0.9 * 2.8 + 0.1 * 3)


def test_the_average_stays_in_float32_and_is_written_in_the_networks_dtype(layer):
    layer.bfloat16()
    average = WeightAverage(layer, decay=0.9999)
    nn.init.constant_(layer.weight, 1.0078125)  # one bfloat16 step away
    for step in range(100_000, 100_003):
        average.update(layer, step)
    assert average.state()["weight"].dtype is torch.float32
    assert 1 < average.state()["weight"][0, 0] < 1.00001
    average.copy_to(layer)
    assert layer.weight.dtype is torch.bfloat16


def test_the_average_does_not_share_memory_with_the_weights(layer):
    average = WeightAverage(layer)
    nn.init.zeros_(layer.weight)
    assert average.state()["weight"].eq(1).all()
    average.copy_to(layer)
    assert layer.weight.eq(1).all()
    assert layer.weight.requires_grad


def test_load_takes_back_what_state_gave_and_refuses_other_networks(layer):
    average, other = WeightAverage(layer), WeightAverage(nn.Linear(2, 1))
    saved = {name: value + 1 for name, value in average.state().items()}
    average.load(saved)
    assert torch.equal(average.state()["weight"], saved["weight"])
    with pytest.raises(ValueError, match=r"\['bias'\]: .* resume with the preset"):
        other.load(saved)
