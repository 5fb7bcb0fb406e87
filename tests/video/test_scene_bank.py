"""Batches of a bank follow from two seeds, show what they say, and read each caption once."""

import numpy as np
import pytest
import torch

from core.seeds import generator
from video.engines.own import to_frames
from video.engines.text import PackedStates, TextEncoder
from video.oracle.oracle import read_clip, score
from video.world import wording
from video.world.prompts import parse_caption
from video.world.scene_bank import BLOCK, SceneBank
from video.world.scene_table import COLOR, MOTION, SHAPE
from video.world.scenes import COLORS, MOTIONS, SHAPES
from video.world.splits import held_out

EVEN = (1.0, 1.0, 1.0)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Numbering(TextEncoder):
    """Keeps the prompts; the states of each hold its number, as often as it has words."""

    def __init__(self, device="cpu"):
        self.device, self.dtype = torch.device(device), torch.float32
        self.prompts = []
        self.calls = 0

    def encode(self, prompts):
        self.calls += 1
        lengths = torch.tensor([len(prompt.split()) for prompt in prompts])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        numbers = len(self.prompts) + torch.arange(len(prompts)).float()
        self.prompts += prompts
        states = numbers[:, None, None] * mask[..., None]
        return states.expand(-1, -1, 384).to(self.device), mask.to(self.device)


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder(dtype=torch.bfloat16)


def test_clips_show_what_their_captions_say():
    encoder = Numbering()
    bank = SceneBank(encoder, size=256, count_shares=EVEN)
    clips, tokens, mask = bank.batch(48, generator(0))
    hits = []
    for clip, states, real in zip(clips, tokens, mask, strict=True):
        sentence = encoder.prompts[int(states[0, 0])]
        assert int(real.sum()) == len(sentence.split())
        assert (states[~real] == 0).all()
        verdict = score(read_clip(to_frames(clip[None]).numpy()), parse_caption(sentence))
        hits += verdict.values()
    assert np.mean(hits) > 0.995


def test_a_batch_does_not_depend_on_those_before(encoder):
    fresh = SceneBank(encoder, size=64, seed=3)
    used = SceneBank(encoder, size=64, seed=3)
    for step in range(4):
        used.batch(8, generator(7, step))
    torch.manual_seed(1)
    for ours, theirs in zip(
        fresh.batch(12, generator(0)), used.batch(12, generator(0)), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert not torch.equal(fresh.batch(12, generator(0))[0], fresh.batch(12, generator(1))[0])
    other = SceneBank(encoder, size=64, seed=4).batch(12, generator(0))[0]
    assert not torch.equal(fresh.batch(12, generator(0))[0], other)


def test_each_caption_is_read_once_and_only_when_it_is_shown():
    encoder = Numbering()
    bank = SceneBank(encoder, size=64)
    assert not encoder.prompts
    bank.batch(16, generator(0))
    assert len(encoder.prompts) <= 16
    for step in range(20):
        bank.batch(16, generator(1, step))
    assert len(encoder.prompts) == 64
    before = encoder.calls
    bank.batch(16, generator(2))
    assert encoder.calls == before


def test_no_two_clips_of_a_scene_are_alike():
    bank = SceneBank(Numbering(), size=BLOCK, count_shares=(1.0, 0.0, 0.0))
    clips = torch.cat([bank.batch(BLOCK, generator(step))[0] for step in range(6)])
    assert torch.pdist(clips.flatten(1)).min() > 1.0  # of pixels in [-1, 1]


def test_every_scene_of_a_block_is_shown_also_in_small_batches():
    bank = SceneBank(Numbering(), size=2 * BLOCK)
    picked = torch.cat([bank._pick(3, generator(step)) for step in range(200)])
    assert picked.unique().tolist() == list(range(2 * BLOCK))
    assert picked.bincount().min() > 600 / 16 / 2


def test_a_bank_holds_out_what_is_held_out_and_says_every_word():
    encoder = Numbering()
    bank = SceneBank(encoder, size=1024, count_shares=EVEN)
    for block in range(1024 // BLOCK):
        bank._draw(block * BLOCK, BLOCK)
    for words in bank.table.words.tolist():
        kinds = {(SHAPES[w[SHAPE]], tuple(COLORS)[w[COLOR]], MOTIONS[w[MOTION]])
                 for w in words if w[SHAPE] >= 0}  # fmt: skip
        assert not held_out(sorted(kinds))
    text = " | ".join(encoder.prompts)
    tables = (
        wording.ADJECTIVES, wording.HUES, wording.GROUNDS, wording.PACES, wording.WAYS,
        wording.RELATIONS,
    )  # fmt: skip
    for table in tables:
        for phrases in table.values():
            for phrase in phrases:
                assert phrase in text
    for nouns in wording.NOUNS.values():
        assert any(noun in text for noun in nouns)


def test_shares_decide_how_many_things_are_seen():
    bank = SceneBank(Numbering(), size=64, count_shares=(0.0, 1.0, 0.0))
    for step in range(10):
        bank.batch(8, generator(step))
    shown = bank.table.words[bank.ready.repeat_interleave(BLOCK)]
    assert ((shown[..., SHAPE] >= 0).sum(1) == 2).all()


def test_packed_states_are_those_of_the_encoder(encoder):
    prompts = ["a red circle", "", "a large green triangle stands still against a gray backdrop"]
    texts = PackedStates(encoder, 5)
    texts.read(1, prompts)
    tokens, mask = texts.take(torch.tensor([3, 1, 2, 1]))
    for row, prompt in enumerate([prompts[2], prompts[0], prompts[1], prompts[0]]):
        alone, _ = encoder.encode([prompt])
        assert mask[row].sum() == alone.shape[1]
        torch.testing.assert_close(tokens[row][mask[row]], alone[0], atol=0.05, rtol=0.05)
    assert (tokens[~mask] == 0).all()
    assert texts.used == texts.lengths.sum() == len(texts.states)
    texts.read(0, ["two blue stars"])
    assert torch.equal(texts.take(torch.tensor([3]))[0][0], tokens[0][mask[0]])


@pytest.mark.parametrize("size", [0, 12])
def test_a_bank_of_half_a_block_is_refused(size):
    with pytest.raises(ValueError, match=rf"size={size}: a bank holds blocks of 8"):
        SceneBank(Numbering(), size=size)


@needs_gpu
def test_a_gpu_makes_the_same_clips_and_nobody_waits_for_it():
    here, there = SceneBank(Numbering(), size=64), SceneBank(Numbering("cuda"), size=64)
    assert there.ready.all()
    expected = here.batch(32, generator(0))[0]
    found = there.batch(32, generator(0))[0]
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        there.batch(32, generator(1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
