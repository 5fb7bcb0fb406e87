"""What the tables of sizes and samplers list is built as it says, and can be asked for."""

from typing import get_args

import pytest
import torch

from core.networks.table import NETWORKS, network_of
from core.sampling.samplers import SAMPLERS
from medical.request import MRITrainingRequest
from medical.training.presets import PRESETS as MEDICAL
from video.fields import SamplerName
from video.request import VideoTrainingRequest
from video.training.presets import PRESETS as VIDEO

SIZES = [(VideoTrainingRequest, VIDEO), (MRITrainingRequest, MEDICAL)]


@pytest.mark.parametrize(("request_", "sizes"), SIZES, ids=["video", "medical"])
def test_each_is_built_and_can_be_asked_for(request_, sizes):
    assert set(get_args(request_.model_fields["preset"].annotation)) == set(sizes["unet"])
    assert set(get_args(request_.model_fields["network"].annotation)) == set(sizes)
    for make in [make for of_kind in sizes.values() for make in of_kind.values()]:
        with torch.device("meta"):
            network = make()
            again = network_of(dict(network.config) | {"_class_name": type(network).__name__})
        assert type(network).__name__ in NETWORKS
        assert {k: v.shape for k, v in network.state_dict().items()} == {
            k: v.shape for k, v in again.state_dict().items()
        }


def test_each_sampler_can_be_asked_for():
    assert set(get_args(SamplerName)) == set(SAMPLERS)
