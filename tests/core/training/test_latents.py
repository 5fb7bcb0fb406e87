"""Training in latents: an autoencoder, and then any family on what it makes of the batches."""

import json

import pytest
import torch

from core.conditioning import Conditioning
from core.families.flow import FlowMatching
from core.families.table import denoiser
from core.families.walking import usual_walk
from core.models.checkpoints import CONFIG, load_model, save_model
from core.networks.autoencoder import Autoencoder
from core.networks.latents import LatentNetwork
from core.sampling.schedules import linear
from core.seeds import generator, initialized
from core.training.latents import Reconstruction, finished, in_latents, latents
from core.training.plan import Plan
from core.training.stages import Stage, train_stages

NETWORKS = {
    "SpatioTemporalUNet": {
        "block_out_channels": (16, 16),
        "layers_per_block": 1,
        "down_strides": ((1, 2, 2),),
        "attention_levels": (False, True),
        "spatial_attention_levels": (False, True),
        "head_dim": 8,
    },
    "SpatioTemporalDiT": {"width": 16, "layers": 1, "patch_size": (1, 1, 1), "head_dim": 8},
}
CODER = {
    "in_channels": 1,
    "latent_channels": 4,
    "block_out_channels": (16, 16),
    "patch_size": (1, 2, 2),
    "down_strides": ((2, 2, 2),),
}


def balls(batch_size, random):
    """Bright balls at random places, (B, 1, 4, 16, 16)."""
    at = torch.rand(batch_size, 3, 1, 1, 1, generator=random) * torch.tensor([4, 16, 16]).view(
        1, 3, 1, 1, 1
    )
    places = torch.stack(
        torch.meshgrid(*(torch.arange(float(n)) for n in (4, 16, 16)), indexing="ij")
    )
    far = (places - at).square().sum(1, keepdim=True)
    return 2 * torch.exp(-far / 18) - 0.5, Conditioning()


@pytest.fixture(params=NETWORKS)
def network(request):
    settings = {**NETWORKS[request.param], "_class_name": request.param, "in_channels": 4}
    return initialized(lambda: LatentNetwork(settings, CODER), 0)


def taught(network, folder, *, steps=60, begun=False):
    plan = Plan(steps=steps, batch_size=8, learning_rate=5e-3, warmup=4, mixed_precision="no")
    stages = [Stage("flow", FlowMatching(), plan)]
    planned = in_latents(network, stages, balls, begun=begun)
    trained, done = train_stages(network, balls, planned, folder)
    assert done
    return finished(trained)


def error(coder):
    x, _ = balls(16, generator(7))
    with torch.no_grad():
        return float((coder.eval()(x) - x).square().mean() / x.var())


def test_latents_have_unit_variance_and_what_comes_back_is_near(tmp_path):
    coder = initialized(lambda: Autoencoder.from_config(CODER), 0)
    before = error(coder)
    plan = Plan(steps=80, batch_size=8, learning_rate=5e-3, warmup=4, mixed_precision="no")
    train_stages(coder, balls, [Stage("coder", Reconstruction(), plan)], tmp_path)
    assert error(coder) < 0.3 < before
    z = latents(coder, balls(64, generator(8))[0])
    assert z.shape == (64, 4, 2, 4, 4)
    spread = z.var(dim=(0, 2, 3, 4))
    assert (spread > 0.5).all()
    assert (spread < 2.0).all()


def test_both_are_trained_saved_loaded_and_drawn_from(network, tmp_path):
    trained = taught(network, tmp_path / "run", steps=6)
    assert trained.config["trained_objective"] == "flow_matching"
    assert json.loads((tmp_path / "run" / "stages.json").read_text()) == ["autoencoder", "flow"]
    record = {"name": "balls", "kind": "whole-head", "space": trained.space}
    folder = save_model(tmp_path / "balls", trained, record, dtype=torch.float32)
    again, said = load_model(folder, dtype=torch.float32)
    assert said["space"] == "latents"
    assert isinstance(again, LatentNetwork)
    config = json.loads((folder / CONFIG).read_text())
    assert config["autoencoder"]["latent_channels"] == 4
    start = torch.randn(2, *again.noise_shape((1, 4, 16, 16)))
    with torch.inference_mode():
        drawn = [
            each.pixels(usual_walk(each, 0)(denoiser(each), start, linear(3)), (4, 16, 16))
            for each in (again, trained.eval())
        ]
    assert drawn[0].shape == (2, 1, 4, 16, 16)
    torch.testing.assert_close(*drawn)


def test_the_autoencoder_does_not_change_while_the_network_is_trained(network, tmp_path):
    trained = taught(network, tmp_path / "one", steps=4)
    before = {name: value.clone() for name, value in trained.autoencoder.state_dict().items()}
    first = trained.network.stem.mix.weight.clone()
    taught(trained, tmp_path / "two", steps=4, begun=True)
    after = trained.autoencoder.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not torch.equal(first, trained.network.stem.mix.weight)


def test_a_run_that_was_cut_goes_on_bit_for_bit(tmp_path):
    def fresh():
        settings = {**NETWORKS["SpatioTemporalDiT"], "in_channels": 4}
        return initialized(
            lambda: LatentNetwork({**settings, "_class_name": "SpatioTemporalDiT"}, CODER), 0
        )

    whole = taught(fresh(), tmp_path / "whole", steps=6)
    network, left = fresh(), [3]

    def stop():
        left[0] -= 1
        return left[0] == 0

    plan = Plan(steps=6, batch_size=8, learning_rate=5e-3, warmup=4, mixed_precision="no")
    stages = [Stage("flow", FlowMatching(), plan)]
    planned = in_latents(network, stages, balls)
    assert not train_stages(network, balls, planned, tmp_path / "cut", should_stop=stop)[1]
    again = taught(fresh(), tmp_path / "cut", steps=6)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
