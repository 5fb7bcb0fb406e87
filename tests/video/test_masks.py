"""A network that is shown what is given of a clip: masks, plain prompts, and what counts."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from core.conditioning import Conditioning
from core.families.flow import FlowMatching
from core.models.checkpoints import save_model
from core.seeds import generator, initialized
from video.engines.canvas import Canvas
from video.engines.own_canvas import paint, to_levels
from video.request import VideoRequest, VideoTrainingRequest
from video.training import training as module
from video.training.masks import CHANNELS, PLAIN, beside, draw_masks, masked
from video.training.presets import tiny

SIZE = (16, 64, 64)


def test_masks_are_all_kinds_and_none_gives_all():
    given = draw_masks(400, SIZE, generator(1))
    assert given.shape == (400, 1, *SIZE)
    assert set(given.unique().tolist()) == {0.0, 1.0}
    share = given.flatten(1).mean(1)
    assert (share < 1).all()
    assert (share == 0).float().mean() == pytest.approx(PLAIN, abs=0.06)
    rows = given[share > 0, 0]
    whole = (rows.flatten(2).std(2) == 0).all(1)  # frames that are given or not, each as a whole
    assert whole.float().mean() == pytest.approx(0.5, abs=0.08)
    regions = rows[~whole]
    assert (regions[:, 0] != regions[:, -1]).flatten(1).any(1).float().mean() > 0.5  # they move
    first = rows[whole][:, 0].flatten(1).amin(1)
    last = rows[whole][:, -1].flatten(1).amin(1)
    assert {(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)} <= {
        *zip(first.tolist(), last.tolist(), strict=True)
    }


def test_a_batch_is_the_same_clips_with_what_is_given_beside():
    def plain(size, random):
        return torch.randn(size, 3, 4, 16, 16, generator=random), Conditioning()

    x, _ = plain(8, generator(3))
    seen, cond = masked(plain)(8, generator(3))
    assert torch.equal(seen, x)
    assert cond.concat is not None
    assert cond.concat.shape == (8, CHANNELS, 4, 16, 16)
    mask = cond.concat[:, 3:]
    assert torch.equal(cond.concat[:, :3], x * mask)


def test_only_what_is_not_given_counts():
    x, random = torch.zeros(1, 3, 2, 4, 4), generator(0)
    given = torch.zeros(1, 1, 2, 4, 4)
    given[:, :, 0] = 1
    cond = Conditioning(concat=beside(x, given))
    family = FlowMatching(hidden=True, power=0.0)
    drawn = family.draw(x, random)

    def wrong(frame):
        def predict(z, t, r, cond):
            answer = drawn.noise - x
            answer = answer.clone()
            answer[:, :, frame] += 1
            return answer

        return float(family.loss(predict, x, cond, drawn)[0])

    assert wrong(0) == 0
    assert wrong(1) == pytest.approx(1.0)
    every = replace(family, hidden=False)
    assert every.hidden is False


def test_plain_prompts_are_what_they_were_when_training_begins(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_MODELS", str(tmp_path / "models"))
    network = initialized(tiny, 3)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    record = {"name": "old", "kind": "video", "objective": "flow matching"}
    save_model(tmp_path / "models" / "old", network, record, dtype=torch.float32)
    made: dict[str, Any] = {}

    def first(stage_network, *_, **__):
        made["network"] = stage_network
        return stage_network, True

    monkeypatch.setattr(module, "train_stages", first)
    asked = {"preset": "tiny", "masks": True, "start": "old", "steps": 1, "jump_steps": 0}
    module.train(VideoTrainingRequest.model_validate(asked), tmp_path / "run", make_batch=_zeros)
    grown: Any = made["network"]
    z, t = torch.randn(2, 3, 4, 16, 16), torch.tensor([0.3, 0.9])
    cond = Conditioning(tokens=torch.randn(2, 3, 384))
    shown = replace(cond, concat=torch.randn(2, CHANNELS, 4, 16, 16))
    with torch.no_grad():
        before = network(z, t, None, cond)
        assert torch.equal(grown(z, t, None, cond), before)
        assert torch.equal(grown(z, t, None, shown), before)  # its weights are 0 at first
        grown.given.mix.weight.add_(0.1)
        assert torch.equal(grown(z, t, None, cond), before)
        assert not torch.allclose(grown(z, t, None, shown), before)


def test_a_masked_run_trains_what_is_shown(tmp_path):
    asked = {"preset": "tiny", "masks": True, "steps": 3, "jump_steps": 0, "batch_size": 4}
    request = VideoTrainingRequest.model_validate(asked)
    network, whole = module.train(request, tmp_path / "run", make_batch=_noise)
    assert whole
    assert network.state_dict()["given.mix.weight"].abs().max() > 0


def test_what_is_painted_around_is_shown_window_by_window():
    network = initialized(partial(tiny, given=CHANNELS), 3).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    frames = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), np.uint8)
    given = np.zeros((24, 16, 16), bool)
    given[:10], given[20:, :5] = True, True
    request = VideoRequest(prompt="a red circle", steps=2, seed=3)
    cond = Conditioning(tokens=torch.randn(1, 3, 384))
    seen: list[torch.Tensor] = []

    def watch(_, words, named):
        (told,) = (w for w in (*words, *named.values()) if isinstance(w, Conditioning))
        assert told.concat is not None
        seen.append(told.concat)

    def painted():
        return paint(
            Canvas(frames, given), request, cond, network, {"guidance_trained_in": True},
            layout=None, on_step=lambda *_: None,
        )  # fmt: skip

    handle = network.register_forward_pre_hook(watch, with_kwargs=True)
    found = painted()
    handle.remove()
    whole = beside(to_levels(frames), torch.from_numpy(given)[None, None].float())
    for place, part in enumerate(seen):
        start = (0, 8)[place % 2]
        assert torch.equal(part, whole[:, :, start : start + 16])
    assert len(seen) >= 4
    torch.nn.init.zeros_(network.get_parameter("given.mix.weight"))
    assert not torch.allclose(painted()[:, :, 10:20], found[:, :, 10:20])


@pytest.mark.parametrize("changes", [{"network": "dit"}, {"family": "edm"}])
def test_masks_are_refused_where_nothing_can_be_shown(changes):
    with pytest.raises(ValidationError, match=r"masks with network=.*leave masks out"):
        VideoTrainingRequest.model_validate({"masks": True, **changes})


def _zeros(size, random):
    return torch.zeros(size, 3, 4, 16, 16), Conditioning(tokens=torch.zeros(size, 1, 384))


def _noise(size, random):
    x = torch.randn(size, 3, 4, 16, 16, generator=random)
    return x, Conditioning(tokens=torch.randn(size, 1, 384, generator=random))
