"""The one network: any size, every weight alive, rows that do not see each other."""

import json

import pytest
import torch

from core.conditioning import Conditioning
from core.families.table import denoiser
from core.networks.blocks import ResidualBlock
from core.networks.unet import SpatioTemporalUNet

T, R = torch.tensor([0.7, 0.4]), torch.tensor([0.2, 0.4])


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def told():
    """Everything a network can be told, for two rows at (2, 2, 4, 6, 6)."""
    return Conditioning(
        tokens=draw(2, 5, 12, seed=1),
        token_mask=torch.tensor([[True] * 5, [True, True, False, False, False]]),
        concat=draw(2, 2, 4, 6, 6, seed=2),
        label=torch.tensor([0, 2]),
        spacing=torch.tensor([[0.5, 1.0, 1.0], [0.125, 1.0, 1.0]]),
        resolution=torch.tensor([[4.0, 1.0, 1.0], [2.0, 1.0, 1.0]]),
        guidance=torch.tensor([1.0, 3.0]),
    )


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"patch_size": (2, 4, 4), "down_strides": ((1, 2, 2),)},
        {"patch_size": (1, 1, 1), "down_strides": ((2, 1, 3),), "kernel_size": (5, 3, 1)},
        {"joint_attention": True},
        {"patch_size": (3, 2, 1), "down_strides": ((1, 1, 1),), "kernel_size": (1, 3, 3)},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(1, 8, 8), (1, 1, 1), (5, 7, 9), (4, 16, 12), (2, 3, 11)])
def test_any_size_comes_back_as_it_went_in(tiny, config, size):
    network = tiny(**config)
    z = draw(2, 2, *size)
    u = network(z, T, R)
    assert u.shape == z.shape
    assert u.dtype == z.dtype
    assert torch.isfinite(u).all()


def test_three_levels_with_their_own_strides(tiny):
    network = tiny(
        block_out_channels=(8, 16, 32),
        layers_per_block=2,
        down_strides=((1, 2, 2), (2, 1, 2)),
        attention_levels=(True, False, True),
        spatial_attention_levels=(False, False, True),
        head_dim=8,
    )
    assert network.cell == (2, 4, 8)
    assert network(draw(1, 2, 3, 9, 10), T[:1]).shape == (1, 2, 3, 9, 10)


def test_padding_is_invisible_inside_whole_cells(tiny):
    """Repeating the last plane by hand and cropping is what the network does itself."""
    network = tiny(patch_size=(2, 2, 2), down_strides=((1, 2, 2),))
    z = draw(1, 2, 3, 6, 8)
    padded = torch.nn.functional.pad(z, (0, 0, 0, 2, 0, 1), mode="replicate")
    assert torch.equal(network(z, T[:1]), network(padded, T[:1])[:, :, :3, :6])


def test_gradients_reach_every_weight(tiny, told):
    network = tiny(concat_channels=2, num_labels=3).train()
    network(draw(2, 2, 4, 6, 6), T, R, told).square().mean().backward()
    text_less = Conditioning(concat=told.concat)
    network(draw(2, 2, 4, 6, 6), T, R, text_less).square().mean().backward()  # the null token
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_a_fresh_network_answers_zero():
    """Head and residual branches start at zero, so training starts from a plain guess."""
    network = SpatioTemporalUNet(
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_strides=((1, 2, 2),),
        attention_levels=(False, True),
        spatial_attention_levels=(False, True),
        head_dim=8,
    )
    assert not network(draw(1, 3, 2, 4, 4), T[:1]).any()


def test_checkpointing_changes_no_gradient(tiny, told):
    def gradients(network):
        network.zero_grad()
        network(draw(2, 2, 4, 6, 6), T, R, told).square().mean().backward()
        return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}

    network = tiny(concat_channels=2, num_labels=3).train()
    plain = gradients(network)
    network.enable_gradient_checkpointing()
    assert network.is_gradient_checkpointing
    calls = []
    network.mid_block[0].residual.norm1.register_forward_hook(lambda *_: calls.append(1))
    again = gradients(network)
    assert len(calls) == 2  # once forward, once more on the way back
    assert plain.keys() == again.keys()
    assert all(torch.equal(plain[n], again[n]) for n in plain)


@pytest.mark.parametrize(
    "part", ["tokens", "token_mask", "concat", "label", "spacing", "resolution", "guidance"]
)
def test_every_part_of_the_conditioning_is_heard(tiny, told, part):
    from dataclasses import replace

    network = tiny(concat_channels=2, num_labels=3)
    z = draw(2, 2, 4, 6, 6)
    value = getattr(told, part)
    other = {
        "token_mask": lambda: ~value | torch.tensor([True, False, False, False, False]),
        "label": lambda: value + torch.tensor([1, -1]),
    }.get(part, lambda: value * 1.5)()
    changed = network(z, T, R, replace(told, **{part: other}))
    assert not torch.allclose(changed, network(z, T, R, told), atol=1e-4)


def test_no_prompt_equals_a_prompt_without_real_tokens(tiny):
    network = tiny()
    torch.nn.init.normal_(network.null_token)
    z, tokens = draw(2, 2, 4, 6, 6), draw(2, 5, 12)
    nothing = Conditioning(tokens=tokens, token_mask=torch.zeros(2, 5, dtype=torch.bool))
    assert torch.allclose(network(z, T, R, nothing), network(z, T, R), atol=1e-5)
    assert torch.equal(network(z, T, R, Conditioning(tokens=tokens).null()), network(z, T, R))


def test_padding_tokens_are_not_read(tiny, told):
    network = tiny()
    z = draw(2, 2, 4, 6, 6)
    noisy = torch.where(told.token_mask[..., None], told.tokens, 1e3)
    told, noisy = (
        Conditioning(tokens=tokens, token_mask=told.token_mask) for tokens in (told.tokens, noisy)
    )
    assert torch.allclose(network(z, T, R, noisy), network(z, T, R, told), atol=1e-6)


def test_a_kept_prompt_answers_as_a_read_one(tiny, told):
    network = tiny(concat_channels=2, num_labels=3)
    z = draw(2, 2, 4, 6, 6)
    memory = network.read(told, 2)
    assert torch.equal(network(z, T, R, told, memory=memory), network(z, T, R, told))
    reads = []
    text = network.mid_block[0].attention.text
    text.to_k.register_forward_hook(lambda *_: reads.append(1))
    denoise = denoiser(network, told)
    for _ in range(3):
        denoise(z, T, R)
    assert len(reads) == 1


def test_rows_of_a_batch_do_not_see_each_other(tiny, told):
    network = tiny(concat_channels=2, num_labels=3)
    z = draw(2, 2, 4, 6, 6)
    both = network(z, T, R, told)
    for row in range(2):
        one = slice(row, row + 1)
        alone = network(z[one], T[one], R[one], told.take(one))
        assert torch.allclose(alone, both[one], atol=1e-5)


def test_one_level_for_all_equals_one_per_row(tiny):
    network = tiny()
    z = draw(2, 2, 4, 6, 6)
    single = network(z, torch.tensor(0.6), torch.tensor(0.1))
    assert torch.equal(single, network(z, torch.full((2,), 0.6), torch.full((2,), 0.1)))
    assert torch.equal(network(z, T), network(z, T, T))
    assert not torch.allclose(network(z, T, R), network(z, T, T), atol=1e-4)


def test_positions_are_physical(tiny):
    """Seconds matter, not indices: the spacing enters RoPE along D, and is a number to AdaGN."""
    network = tiny(patch_size=(1, 2, 2), down_strides=((1, 2, 2),))
    network.requires_grad_(False)
    levels = network.cells, network.config.block_out_channels
    slow = network.places_of(*levels, torch.tensor([[0.5, 1.0, 1.0]]), (8, 4, 4))
    fast = network.places_of(*levels, torch.tensor([[0.25, 1.0, 1.0]]), (16, 4, 4))
    for coarse, fine in zip(slow, fast, strict=True):
        centers = (fine.angles[:, 0::2] + fine.angles[:, 1::2]) / 2
        assert torch.allclose(centers, coarse.angles, atol=1e-5)


def test_strides_along_depth_keep_the_centers_of_cells(tiny):
    network = tiny(patch_size=(2, 1, 1), down_strides=((2, 2, 2),))
    levels = network.cells, network.config.block_out_channels
    places = network.places_of(*levels, torch.tensor([[1.0, 1.0, 1.0]]), (8, 4, 6))
    first, second = (place.angles for place in places)
    assert [(place.height, place.width) for place in places] == [(4, 6), (2, 3)]
    rate = 2 * torch.pi / network.config.rope_periods[0]
    assert torch.allclose(first[0, :, 0] / rate, torch.tensor([1.0, 3.0, 5.0, 7.0]))
    assert torch.allclose(second[0, :, 0] / rate, torch.tensor([2.0, 6.0]))


def test_depth_is_seen_and_its_order_matters(tiny):
    network = tiny()
    z = draw(1, 2, 4, 6, 6)
    u = network(z, T[:1])
    reversed_ = network(z.flip(2), T[:1]).flip(2)
    assert not torch.allclose(u, reversed_, atol=1e-3)


def test_saved_and_loaded_again(tiny, tmp_path):
    network = tiny(concat_channels=2, num_labels=3)
    network.save_pretrained(tmp_path)
    again = SpatioTemporalUNet.from_pretrained(tmp_path)
    assert (tmp_path / "diffusion_pytorch_model.safetensors").exists()
    assert json.loads((tmp_path / "config.json").read_text())["_class_name"] == (
        "SpatioTemporalUNet"
    )
    z, cond = draw(2, 2, 3, 5, 7), Conditioning(concat=draw(2, 2, 3, 5, 7))
    assert torch.equal(again(z, T, R, cond), network(z, T, R, cond))
    assert again.cell == network.cell


def test_bfloat16_stays_near_float32(tiny, told):
    network = tiny(concat_channels=2, num_labels=3)
    z = draw(2, 2, 4, 6, 6)
    exact = network(z, T, R, told)
    rough = network.to(torch.bfloat16)(z, T, R, told)
    assert rough.dtype is torch.float32  # the walk stays in the dtype of z
    assert (rough - exact).norm() / exact.norm() < 0.05


def test_activations_stay_channels_last_all_the_way(tiny):
    network = tiny()
    strange = []

    def watch(module, args, answer):
        if not answer.is_contiguous(memory_format=torch.channels_last_3d):
            strange.append(module)

    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.register_forward_hook(watch)
    network(draw(2, 2, 4, 8, 8), T)
    assert strange == []


def test_group_offload_and_compile_find_their_blocks(tiny):
    network = tiny()
    names = {type(m).__name__ for m in network.modules()}
    assert set(network._repeated_blocks) <= names
    assert set(network._no_split_modules) <= names


def test_a_wrong_number_of_strides_is_refused():
    with pytest.raises(ValueError, match=r"down_strides=.*3 levels need 2 strides"):
        SpatioTemporalUNet(block_out_channels=(8, 16, 32), down_strides=((1, 2, 2),))


def test_even_kernels_are_refused(tiny):
    with pytest.raises(ValueError, match=r"kernel_size=\(2, 3, 3\): "):
        tiny(kernel_size=(2, 3, 3))


def test_labels_need_a_row_each(tiny):
    network = tiny(num_labels=3)
    z = draw(2, 2, 2, 4, 4)
    labeled = network(z, T, R, Conditioning(label=torch.tensor([0, 0])))
    assert not torch.allclose(labeled, network(z, T, R), atol=1e-4)


def test_a_network_that_predicts_samples_answers_with_their_velocity(tiny):
    plain = tiny()
    network = tiny(prediction="sample", trained_objective="average_velocity")
    z = draw(2, 2, 2, 4, 4)
    sample = plain(z, T, R)  # the same weights, read as a velocity
    assert torch.allclose(denoiser(network)(z, T, R), sample, atol=1e-5)
    assert torch.isfinite(network(z, torch.zeros(2))).all()


def test_an_unknown_prediction_is_refused(tiny):
    with pytest.raises(ValueError, match=r"prediction='noise': .*choose 'velocity' or 'sample'"):
        tiny(prediction="noise")


def test_pure_noise_may_enter_as_nothing(tiny):
    network, cond = tiny(input_scaling="wiener", prediction="sample"), Conditioning()
    one, other = (draw(2, 2, 2, 4, 4, seed=k) for k in (0, 1))
    said = [z - network(z, torch.ones(2), cond=cond) for z in (one, other)]
    assert torch.allclose(*said, atol=1e-6)
    with pytest.raises(ValueError, match="choose 'none' or 'wiener'"):
        tiny(input_scaling="half")


def test_sketches_that_do_not_fill_the_cells_are_refused():
    with pytest.raises(ValueError, match="grain that divides patch_size"):
        SpatioTemporalUNet(sketch_channels=2, sketch_grain=(1, 4, 4), patch_size=(2, 2, 2))
