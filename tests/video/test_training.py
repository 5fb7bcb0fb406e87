"""What a training run is given follows from what was asked for."""

import pytest
import torch
from pydantic import ValidationError

from core.seeds import generator
from video import training as module
from video.request import VideoTrainingRequest
from video.scene_table import SHAPE


def test_the_shares_asked_for_and_the_seed_decide_the_scenes(monkeypatch):
    banks = []

    class Kept(module.SceneBank):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings)
            banks.append(self)

    monkeypatch.setattr(module, "SceneBank", Kept)
    monkeypatch.setattr(module, "validation", lambda *_, **__: lambda network: None)
    request = VideoTrainingRequest.model_validate({"count_shares": (0, 0, 1), "seed": 5})
    make_batch, _ = module.data(request)
    x, cond = make_batch(2, generator(0))
    (bank,) = banks
    assert bank.seed == 5
    shown = bank.table.words[bank.ready.repeat_interleave(8)]
    assert (shown[..., SHAPE] >= 0).all()  # three things in each
    assert x.shape == (2, 3, 16, 64, 64)
    assert cond.tokens is not None
    assert cond.tokens.dtype == torch.float32
    assert cond.spacing is not None
    assert cond.spacing.tolist() == [[0.125, 1.0, 1.0]]


@pytest.mark.parametrize("shares", [(0, 0, 0), (1, 1), (2, 0, 0), (-1, 1, 1)])
def test_shares_that_show_nothing_or_are_no_shares_are_refused(shares):
    with pytest.raises(ValidationError, match="count_shares"):
        VideoTrainingRequest.model_validate({"count_shares": shares})
