"""A network that begins with what another has learned."""

import re

import pytest
import torch

from core.conditioning import Conditioning
from core.models.checkpoints import save_model
from core.networks.unet import SpatioTemporalUNet
from core.training.growth import begin_from, begun_from, first_network

SHAPE = {
    "in_channels": 1,
    "layers_per_block": 1,
    "text_channels": 8,
    "head_dim": 16,
    "joint_attention": True,
}


def shallow(seed=0, **changes):
    torch.manual_seed(seed)
    settings = {
        "block_out_channels": (16, 32),
        "patch_size": (2, 2, 2),
        "down_strides": ((1, 2, 2),),
        "attention_levels": (True, True),
        "spatial_attention_levels": (True, True),
    }
    return SpatioTemporalUNet(**{**SHAPE, **settings, **changes}).eval()


def deep(seed=1, **changes):
    torch.manual_seed(seed)
    settings = {
        "block_out_channels": (16, 16, 32),
        "patch_size": (1, 2, 2),
        "down_strides": ((2, 1, 1), (1, 2, 2)),
        "attention_levels": (False, True, True),
        "spatial_attention_levels": (False, True, True),
    }
    return SpatioTemporalUNet(**{**SHAPE, **settings, **changes}).eval()


def trained(network):
    """As after some training: nothing is 0 any more."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return network


def shown(network):
    """A noisy sample, a level, and a prompt."""
    random = torch.Generator().manual_seed(5)
    z = torch.randn(2, 1, 4, 8, 8, generator=random)
    cond = Conditioning(tokens=torch.randn(2, 3, 8, generator=random))
    with torch.no_grad():
        return network(z, torch.tensor([0.3, 0.9]), None, cond)


def test_of_the_same_shape_it_answers_the_same():
    origin, network = trained(shallow()), shallow(seed=1)
    assert not torch.equal(shown(network), shown(origin))
    assert torch.equal(shown(begin_from(network, origin)), shown(origin))


def test_behind_a_finer_level_all_goes_on_as_it_was():
    origin, network = trained(shallow()), deep()
    seen = {}

    def keep(name):
        return lambda module, arguments, answer: seen.setdefault(name, answer)

    origin.up_blocks[0][0].register_forward_hook(keep("old"))
    begin_from(network, origin).up_blocks[0][0].register_forward_hook(keep("new"))
    shown(origin), shown(network)
    # sixteen channels hold all of a cell of four values, so nothing is lost on the way
    torch.testing.assert_close(seen["new"], seen["old"], rtol=1e-4, atol=1e-5)


def test_a_narrow_finer_level_keeps_the_best_of_the_old_stem():
    origin = trained(shallow(patch_size=(4, 4, 4)))
    network = begin_from(deep(patch_size=(2, 4, 4)), origin)
    halves = origin.stem.mix.weight.unflatten(1, (2, -1))  # (16, 2, 32) of each half's values
    kept = network.merges[0].mix.weight.unflatten(1, (2, -1)) @ network.stem.mix.weight
    lost = torch.linalg.svdvals(halves.flatten(0, 1))[16:].square().sum().sqrt()
    assert lost > 0.1
    torch.testing.assert_close(torch.linalg.norm(kept - halves), lost)


def test_cells_are_split_along_every_axis_in_their_order():
    origin = trained(shallow(patch_size=(2, 4, 4), block_out_channels=(32, 32)))
    finer = {"patch_size": (1, 2, 2), "down_strides": ((2, 2, 2), (1, 2, 2))}
    network = begin_from(deep(block_out_channels=(32, 32, 32), **finer), origin)
    z = torch.randn(1, 1, 4, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(network.merges[0](network.stem(z)), origin.stem(z))


@pytest.mark.parametrize(
    ("setting", "other"),
    [
        ("block_out_channels", lambda: shallow(block_out_channels=(16, 64))),
        ("patch_size", lambda: shallow(patch_size=(1, 2, 2))),
        ("text_channels", lambda: shallow(text_channels=0)),
        ("prediction", lambda: shallow(prediction="sample")),
        ("down_strides", lambda: shallow(down_strides=((2, 2, 1),))),
        ("attention_levels", lambda: shallow(attention_levels=(False, True))),
        ("down_strides", deep),
    ],
)
def test_another_shape_is_refused(setting, other):
    with pytest.raises(ValueError, match=rf"differs in .*{setting}.*choose another preset"):
        begin_from(shallow(), other())


@pytest.mark.parametrize(
    ("setting", "other"),
    [
        ("patch_size", lambda: shallow(patch_size=(4, 2, 2))),
        ("block_out_channels", lambda: shallow(block_out_channels=(32, 32))),
        ("text_channels", lambda: shallow(text_channels=0)),
        ("prediction", lambda: shallow(prediction="sample")),
        ("down_strides", lambda: shallow(down_strides=((2, 2, 1),))),
    ],
)
def test_what_would_not_fit_behind_a_finer_level_is_refused(setting, other):
    with pytest.raises(ValueError, match=rf"differs in .*{setting}.*choose another preset"):
        begin_from(deep(), other())


def test_a_run_begins_from_an_installed_model_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_MODELS", str(tmp_path))
    origin = trained(shallow())
    record = {"name": "old", "kind": "video", "objective": "flow matching"}
    save_model(tmp_path / "old", origin, record, dtype=torch.float32)
    assert torch.equal(shown(first_network("video", shallow, 3, "old").eval()), shown(origin))
    assert not torch.equal(shown(first_network("video", shallow, 3, "").eval()), shown(origin))
    with pytest.raises(ValueError, match=r"start='old': .*not an installed mri model"):
        first_network("mri", shallow, 3, "old")


def test_words_name_the_weights_that_a_run_began_from(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_MODELS", str(tmp_path))
    record = {"name": "old", "kind": "video", "objective": "flow matching"}
    save_model(tmp_path / "old", shallow(), record)
    words = begun_from("scenes", "video", "old")
    assert re.fullmatch(r"scenes, begun from old \([0-9a-f]{12}\)", words)
    (tmp_path / "old").rename(tmp_path / "older")
    save_model(tmp_path / "old", shallow(seed=8), record)  # of the same name
    assert begun_from("scenes", "video", "old") != words
    assert begun_from("scenes", "video", "") == "scenes"


SKETCHED = {"sketch_channels": 3, "sketch_grain": (1, 2, 2)}
LAYOUTS = {**SHAPE, "block_out_channels": (16,), "down_strides": (), "attention_levels": (True,)}
LAYOUTS |= {"spatial_attention_levels": (True,)}


def test_a_network_that_is_shown_sketches_begins_with_one_that_is_not():
    origin = trained(shallow())
    network = begin_from(shallow(1, layout_network=LAYOUTS, **SKETCHED), origin)
    assert torch.equal(shown(network), shown(origin))


def test_sketches_and_layouts_are_taken_over_where_both_have_the_same():
    origin = trained(shallow(layout_network=LAYOUTS, **SKETCHED))
    network = begin_from(shallow(1, layout_network=LAYOUTS, **SKETCHED), origin)
    for name, weight in origin.state_dict().items():
        assert torch.equal(network.state_dict()[name], weight), name
    fresh = shallow(1, layout_network={**LAYOUTS, "layers_per_block": 2}, **SKETCHED)
    before = {name: weight.clone() for name, weight in fresh.state_dict().items()}
    begin_from(fresh, origin)
    for name, weight in fresh.state_dict().items():
        wanted = before if name.startswith("layouts.") else origin.state_dict()
        assert torch.equal(weight, wanted[name]), name
    assert torch.equal(shown(begin_from(shallow(2), origin)), shown(origin))


def test_sketches_and_layouts_are_taken_over_from_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_MODELS", str(tmp_path))
    origin = trained(shallow(layout_network=LAYOUTS, **SKETCHED))
    record = {"name": "old", "kind": "video", "objective": "flow matching"}
    save_model(tmp_path / "old", origin, record, dtype=torch.float32)
    again = first_network("video", lambda: shallow(layout_network=LAYOUTS, **SKETCHED), 1, "old")
    for name, weight in origin.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name


def test_a_noisy_sample_enters_as_the_weights_know_it():
    origin = trained(shallow(input_scaling="none"))
    network = begin_from(shallow(seed=3, input_scaling="wiener"), origin)
    assert network.config["input_scaling"] == "none"
    torch.testing.assert_close(shown(network), shown(origin))
    other = trained(shallow(input_scaling="wiener"))
    assert begin_from(shallow(seed=3), other).config["input_scaling"] == "wiener"
