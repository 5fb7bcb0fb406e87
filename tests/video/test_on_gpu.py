"""Clips made, read and sampled on a pretended GPU: see ``pretended_cuda``."""

import pytest
import torch
from painters import painter
from pretended_cuda import DEVICE, pretended_cuda

from core.seeds import generator, initialized
from video.engines.own import VideoModel, generate
from video.engines.text import TextEncoder
from video.files.captioned_clips import CaptionedClip
from video.request import VideoRequest
from video.training.presets import tiny
from video.training.training import clip_batches, layout_batches, world_batches
from video.training.validation import layout_validation, validation
from video.world.scene_bank import SceneBank


@pytest.fixture
def gpu():
    with pretended_cuda() as waits:
        yield waits


def test_a_bank_makes_the_clips_of_a_cpu_there_and_nobody_waits_for_it():
    with pretended_cuda() as waits:
        bank = SceneBank(TextEncoder(device="cuda"), size=16)
        assert bank.ready.all()
        bank.batch(8, generator(0))  # fills the tables of colors and of places
        waits.clear()
        found = bank.batch(8, generator(3))
        assert waits == []
        assert {x.device for x in found} == {DEVICE}
        clips, tokens, mask = (x.cpu() for x in found)
    plain = SceneBank(TextEncoder(), size=16).batch(8, generator(3))
    assert torch.equal(clips, plain[0])
    torch.testing.assert_close(tokens, plain[1], rtol=0, atol=1e-4)
    assert torch.equal(mask, plain[2])


def test_sketches_and_layouts_are_those_of_a_cpu_and_nobody_waits_for_them():
    with pretended_cuda() as waits:
        bank = SceneBank(TextEncoder(device="cuda"), size=16)
        makers = world_batches(bank, sketched=True), layout_batches(bank)
        for make in makers:
            make(8, generator(0))  # fills the tables
        waits.clear()
        (_, cond), (found, _) = (make(8, generator(3)) for make in makers)
        assert waits == []
        assert cond.sketch is not None
        assert {cond.sketch.device, found.device} == {DEVICE}
        shown = cond.sketch.cpu(), found.cpu()
    bank = SceneBank(TextEncoder(), size=16)
    _, told = world_batches(bank, sketched=True)(8, generator(3))
    plain = told.sketch, layout_batches(bank)(8, generator(3))[0]
    torch.testing.assert_close(shown, plain)


def test_own_clips_are_told_of_there(gpu):
    frames = torch.zeros(3, 20, 8, 8, dtype=torch.uint8)
    clips = [CaptionedClip(frames, 8.0, caption) for caption in ("a red circle", "stars")]
    encoder = TextEncoder(dtype=torch.bfloat16, device="cuda")
    pieces, cond = clip_batches(clips, encoder)(3, generator(0))
    assert pieces.shape == (3, 3, 16, 8, 8)
    assert cond.tokens is not None
    assert cond.tokens.device == DEVICE
    assert cond.to(DEVICE).spacing.device == DEVICE


@pytest.mark.parametrize("trained_in", [False, True])
def test_a_clip_is_sampled_there(gpu, trained_in):
    model = VideoModel(tiny().eval().to("cuda"), {"guidance_trained_in": trained_in})
    request = VideoRequest(prompt="a red circle moves left", steps=1, guidance=2.0)
    assert generate(request, model).frames.shape == (16, 64, 64, 3)


def test_a_clip_is_painted_after_its_layout_there(gpu):
    network = initialized(painter, 0).eval()
    model = VideoModel(network.to("cuda"), {"guidance_trained_in": True})
    request = VideoRequest(prompt="a red circle moves left", steps=1)
    assert generate(request, model).frames.shape == (16, 64, 64, 3)


def test_a_layout_network_is_validated_there(gpu):
    judge = layout_validation(TextEncoder(device="cuda"), ["a red circle moves left"])
    network = initialized(painter, 0).eval().to("cuda").layouts
    assert network is not None
    assert judge(network).picture is not None


def test_a_network_is_validated_there(gpu):
    judge = validation(TextEncoder(device="cuda"), ["a red circle"], fps=8.0, judged=True)
    found = judge(tiny().eval().to("cuda"))
    assert set(found.numbers) >= {"color", "shape"}
    assert found.picture is not None
