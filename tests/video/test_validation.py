"""What a run of the video model shows of itself while it trains."""

import numpy as np
import pytest
import torch

from video.engines.text import TextEncoder, padded, read_once
from video.training import validation as module
from video.training.presets import tiny
from video.training.training import clip_batches
from video.training.validation import held_out_prompts, validation
from video.world.splits import held_out
from video.world.world import draw_batch


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder()


@pytest.fixture
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return tiny().eval()


def test_prompts_are_fixed_and_held_out():
    _, captions, scenes = draw_batch(
        module.PROMPTS, module.generator(module.SEED), split="held_out", count_shares=module.SINGLE
    )
    assert held_out_prompts() == captions
    for scene in scenes:
        assert held_out([(thing.shape, thing.color, thing.motion) for thing in scene.objects])


def test_an_untrained_network_is_judged_and_shown(encoder, network):
    prompts = held_out_prompts()[:3]
    validate = validation(encoder, prompts, fps=8.0, judged=True)
    found = validate(network)
    assert set(found.numbers) <= {"count", "color", "shape", "motion", "frozen"}
    assert found.numbers["color"] == 0
    assert found.picture.dtype == np.uint8
    assert found.picture.shape == (2 * 92, 2 * 516, 3)
    assert (validate(network).picture == found.picture).all()


def test_perfect_clips_score_in_full(encoder, network, monkeypatch):
    clips, captions, _ = draw_batch(
        4, module.generator(3), split="held_out", count_shares=module.SINGLE
    )
    monkeypatch.setattr(module, "sample_from", lambda *a, **k: clips)
    found = validation(encoder, captions, fps=8.0, judged=True)(network)
    shown = dict.fromkeys(("count", "color", "shape", "motion"), 1.0)
    assert found.numbers == {**shown, "frozen": 0.0}


def test_own_clips_are_shown_and_only_asked_whether_they_move(encoder, network):
    found = validation(encoder, ["my cat"], fps=25.0, judged=False)(network)
    assert set(found.numbers) == {"frozen"}


def test_captions_that_are_read_once_do_not_depend_on_the_batch(encoder):
    captions = ["a red circle", "a large green triangle stands still against a gray backdrop"]
    states = read_once(encoder, [*captions, captions[0]])
    assert list(states) == captions
    tokens, mask = padded([states[caption] for caption in captions])
    expected, expected_mask = encoder.encode(captions)
    assert torch.allclose(tokens, expected, atol=1e-5)
    assert torch.equal(mask, expected_mask)
    assert torch.equal(padded([states[captions[0]]])[0][0], states[captions[0]][0])


def test_captions_of_own_clips_are_not_read_again(encoder, monkeypatch):
    from video.files.captioned_clips import CaptionedClip

    frames = torch.zeros(3, 16, 64, 64, dtype=torch.uint8)
    make_batch = clip_batches([CaptionedClip(frames, 8.0, "a thing")], encoder)
    monkeypatch.setattr(encoder, "encode", None)
    x, cond = make_batch(2, module.generator(0))
    assert x.shape == (2, 3, 16, 64, 64)
    assert cond.tokens.shape[0] == cond.token_mask.shape[0] == 2
