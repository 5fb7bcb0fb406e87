"""What a training run is given follows from what was asked for."""

import pytest
import torch
from pydantic import ValidationError

from core.checkpoints import save_model
from core.conditioning import Conditioning
from core.seeds import generator, initialized
from video import training as module
from video.presets import tiny
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


def test_shares_of_the_world_are_refused_beside_clips():
    with pytest.raises(ValidationError, match="leave one of the two out"):
        VideoTrainingRequest(clips="mine", count_shares=(1.0, 0.0, 0.0))
    assert VideoTrainingRequest(clips="mine").clips == "mine"


def zeros(size, random):
    """Clips that show nothing."""
    x = torch.zeros(size, 3, 4, 16, 16)
    return x, Conditioning(tokens=torch.zeros(size, 1, 384), spacing=torch.ones(1, 3))


def test_a_run_begins_from_the_model_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_MODELS", str(tmp_path / "models"))
    origin = initialized(tiny, 5)
    record = {"name": "old", "kind": "video", "objective": "flow matching"}
    save_model(tmp_path / "models" / "old", origin, record, dtype=torch.float32)

    def train(**asked):
        small = {"preset": "tiny", "steps": 2, "jump_steps": 0, "batch_size": 1}
        request = VideoTrainingRequest.model_validate(small | {"learning_rate": 1e-9} | asked)
        folder = tmp_path / "run"
        return module.train(request, folder, make_batch=zeros, should_stop=lambda: True)[0]

    trained = train(start="old").state_dict()
    for name, weight in origin.state_dict().items():
        torch.testing.assert_close(trained[name], weight)
    with pytest.raises(ValueError, match="begun from old"):
        train()


def test_a_start_that_does_not_fit_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "data", lambda request: pytest.fail("data was read"))
    with pytest.raises(ValueError, match=r"start='scenes-64'.*choose another preset"):
        module.train(VideoTrainingRequest(preset="tiny", start="scenes-64"), tmp_path)
    with pytest.raises(ValueError, match="not an installed video model"):
        module.train(VideoTrainingRequest(start="heads-1mm"), tmp_path)


def test_a_run_does_not_go_on_with_other_data(tmp_path):
    def make_batch(size, random):
        x = torch.randn(size, 3, 4, 16, 16, generator=random)
        return x, Conditioning(tokens=torch.zeros(size, 1, 384), spacing=torch.ones(1, 3))

    def train(**asked):
        small = {"preset": "tiny", "steps": 2, "jump_steps": 0, "batch_size": 1}
        request = VideoTrainingRequest.model_validate(small | asked)
        return module.train(request, tmp_path, make_batch=make_batch, should_stop=lambda: True)

    assert not train()[1]
    for asked in ({"count_shares": (0, 0, 1)}, {"clips": "mine"}):
        with pytest.raises(ValueError, match=r"data=.* \(was scenes .* 0.8 : 0.13 : 0.07\)"):
            train(**asked)
    assert train()[1]
