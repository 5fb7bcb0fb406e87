"""What a sample is told survives moving, repeating, cropping and stacking."""

from dataclasses import FrozenInstanceError

import pytest
import torch

from core.conditioning import Conditioning


@pytest.fixture
def full():
    return Conditioning(
        tokens=torch.arange(24.0).view(2, 3, 4),
        token_mask=torch.tensor([[True, True, False], [True, False, False]]),
        concat=torch.arange(2 * 2 * 2 * 4 * 4.0).view(2, 2, 2, 4, 4),
        label=torch.tensor([3, 1]),
        spacing=torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        resolution=torch.ones(2, 3),
        guidance=torch.tensor([1.0, 4.0]),
    )


def test_null_forgets_the_prompt_and_keeps_the_geometry(full):
    null = full.null()
    assert null.tokens is None
    assert null.token_mask is None
    assert null.label is None
    assert null.guidance is None
    assert null.concat is full.concat
    assert null.spacing is full.spacing
    assert null.resolution is full.resolution


def test_a_prompt_is_told_to_the_rows_that_keep_it(full):
    some = full.told(torch.tensor([False, True]))
    assert some.token_mask.tolist() == [[False, False, False], [True, False, False]]
    assert some.tokens is full.tokens
    assert some.label is full.label
    bare = Conditioning(tokens=full.tokens).told(torch.tensor([True, False]))
    assert bare.token_mask.tolist() == [[True, True, True], [False, False, False]]
    assert Conditioning().told(torch.tensor([True])) == Conditioning()


def test_to_casts_states_but_neither_masks_nor_physical_units(full):
    cast = full.to("cpu", torch.bfloat16)
    assert cast.tokens.dtype is torch.bfloat16
    assert cast.concat.dtype is torch.bfloat16
    assert cast.spacing.dtype is torch.float32
    assert cast.guidance.dtype is torch.float32
    assert cast.token_mask.dtype is torch.bool
    assert cast.label.dtype is torch.int64


def test_repeat_puts_copies_of_a_row_side_by_side(full):
    assert full.repeat(3).label.tolist() == [3, 3, 3, 1, 1, 1]
    assert full.repeat(3).concat.shape[0] == 6


def test_take_leaves_parts_that_are_one_for_all(full):
    shared = Conditioning(tokens=full.tokens, spacing=full.spacing[:1])
    taken = shared.take(torch.tensor([1]))
    assert torch.equal(taken.tokens, full.tokens[1:])
    assert torch.equal(taken.spacing, full.spacing[:1])


def test_crop_cuts_the_channels_beside_the_sample(full):
    window = (slice(0, 1), slice(1, 3), slice(2, 4))
    cropped = full.crop(window)
    assert torch.equal(cropped.concat, full.concat[:, :, 0:1, 1:3, 2:4])
    assert cropped.tokens is full.tokens
    assert Conditioning().crop(window) == Conditioning()


def test_stack_keeps_the_order_and_refuses_different_questions(full):
    both = full.stack(full.take(slice(1, 2)))
    assert both.label.tolist() == [3, 1, 1]
    with pytest.raises(AssertionError, match="tokens"):
        full.stack(full.null())


def test_nothing_can_be_changed_behind_the_back(full):
    with pytest.raises(FrozenInstanceError):
        full.label = None


def test_a_sketch_of_the_whole_is_not_shown_to_a_window():
    cond = Conditioning(sketch=torch.zeros(1, 2, 4, 4, 4))
    with pytest.raises(ValueError, match="leave the sketch out"):
        cond.crop((slice(0, 4), slice(0, 8), slice(0, 8)))
    assert cond.null().sketch is cond.sketch
    assert cond.to("cpu", torch.bfloat16).sketch.dtype == torch.bfloat16
