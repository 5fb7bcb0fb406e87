"""A network that nobody foresaw, in one class and one table line: models and samplers take it."""

import json

import pytest
import torch
from torch import nn

from core.families.table import denoiser
from core.models.checkpoints import CONFIG, load_model, save_model
from core.networks import table
from core.networks.network import Network, keeps_settings
from core.networks.table import NETWORKS, network_of
from core.sampling.samplers import SAMPLERS
from core.sampling.schedules import linear


class Blur(Network):
    """One convolution, for every level and every prompt."""

    @keeps_settings
    def __init__(self, channels: int = 2, trained_objective: str = "flow_matching") -> None:
        super().__init__()
        self.convolution = nn.Conv3d(channels, channels, 3, padding=1)

    def read(self, cond, batch):
        return None

    def forward(self, z, t, r=None, cond=None, *, memory=None):
        return self.convolution(z)


@pytest.fixture
def blur(monkeypatch):
    monkeypatch.setitem(table.NETWORKS, "Blur", Blur)
    torch.manual_seed(0)
    return Blur()


def test_a_model_folder_holds_it_and_a_sampler_walks_it(blur, tmp_path):
    record = {"name": "blur", "kind": "video"}
    folder = save_model(tmp_path / "blur", blur, record, dtype=torch.float32)
    again, _ = load_model(folder, dtype=torch.float32)
    assert type(again) is Blur
    z = torch.randn(1, 2, 3, 4, 5)
    for sampler in SAMPLERS.values():
        walked = sampler.walk(denoiser(again), z, linear(3))
        assert torch.equal(walked, sampler.walk(denoiser(blur.eval()), z, linear(3)))
        assert not torch.equal(walked, z)


def test_every_line_names_its_class():
    assert {name: network.__name__ for name, network in NETWORKS.items()} == {
        name: name for name in NETWORKS
    }


def test_a_class_that_is_not_in_the_table_is_not_built(blur, tmp_path):
    folder = save_model(tmp_path / "blur", blur, {"name": "blur", "kind": "video"})
    del table.NETWORKS["Blur"]
    with pytest.raises(RuntimeError, match=r"no network is called Blur; there are Spatio"):
        load_model(folder)
    config = json.loads((folder / CONFIG).read_text())
    with pytest.raises(ValueError, match="no network is called Blur"):
        network_of(config)
