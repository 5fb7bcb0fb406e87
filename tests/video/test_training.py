"""What a training run is given follows from what was asked for."""

import pytest
import torch
from painters import painter
from pydantic import ValidationError
from safetensors.torch import load_file

from core.conditioning import Conditioning
from core.models.checkpoints import save_model
from core.seeds import generator, initialized
from core.training.checkpoint import history
from video.engines.layouts import GRAIN
from video.engines.text import TextEncoder
from video.request import VideoTrainingRequest
from video.training import training as module
from video.training.presets import tiny
from video.world.scene_table import SHAPE


def test_the_shares_asked_for_and_the_seed_decide_the_scenes(monkeypatch):
    banks = []

    class Kept(module.SceneBank):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings)
            banks.append(self)

    monkeypatch.setattr(module, "SceneBank", Kept)
    monkeypatch.setattr(module, "validation", lambda *_, **__: lambda network: None)
    request = VideoTrainingRequest.model_validate({"count_shares": (0, 0, 1), "seed": 5})
    given = module.data(request)
    x, cond = given.clips(2, generator(0))
    (bank,) = banks
    assert bank.seed == 5
    shown = bank.table.words[bank.ready.repeat_interleave(8)]
    assert (shown[..., SHAPE] >= 0).all()  # three things in each
    assert x.shape == (2, 3, 16, 64, 64)
    assert cond.tokens is not None
    assert cond.tokens.dtype == torch.float32
    assert cond.spacing is not None
    assert cond.spacing.tolist() == [[0.125, 1.0, 1.0]]
    assert cond.sketch is None


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


def test_a_transformer_is_trained_published_and_gone_on_from(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_MODELS", str(tmp_path / "models"))
    small = {"preset": "tiny", "network": "dit", "steps": 2, "jump_steps": 0, "batch_size": 1}
    request = VideoTrainingRequest.model_validate(small)
    network, whole = module.train(request, tmp_path / "run", make_batch=zeros)
    assert whole
    assert type(network).__name__ == "SpatioTemporalDiT"
    record = {"name": "old", "kind": "video", "objective": "flow matching"}
    save_model(tmp_path / "models" / "old", network, record, dtype=torch.float32)
    request = VideoTrainingRequest.model_validate(small | {"start": "old", "learning_rate": 1e-9})
    again, _ = module.train(request, tmp_path / "two", make_batch=zeros)
    torch.testing.assert_close(again.state_dict(), network.state_dict(), atol=1e-6, rtol=0)
    other = VideoTrainingRequest.model_validate(small | {"start": "old", "network": "unet"})
    with pytest.raises(ValueError, match=r"differs in being a SpatioTemporalDiT"):
        module.train(other, tmp_path / "three", make_batch=zeros)


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
    monkeypatch.setattr(module, "data", lambda request, **_: pytest.fail("data was read"))
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


class Letters(TextEncoder):
    """States that hold the letters of a prompt, for what is not about meaning."""

    def __init__(self, **_):
        self.device, self.dtype = torch.device("cpu"), torch.float32

    def encode(self, prompts):
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        states = torch.zeros(*mask.shape, 384)
        for row, prompt in enumerate(prompts):
            states[row, : len(prompt), 0] = torch.tensor([ord(c) / 100 for c in prompt])
        return states, mask


def test_layouts_are_learned_first_and_each_stage_leaves_the_other_network_alone(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "PRESETS", {"unet": {"base": painter}})
    monkeypatch.setattr(module, "TextEncoder", Letters)
    monkeypatch.setattr(module, "SCENES", 16)
    asked = {"layout_steps": 2, "steps": 2, "jump_steps": 1, "batch_size": 1, "seed": 3}
    request, seen = VideoTrainingRequest.model_validate(asked), []

    def watch(stage, progress):
        seen.append((stage, progress.steps_before + progress.step, progress.steps_in_run))

    network, done = module.train(request, tmp_path, on_progress=watch)
    assert done
    stages = ("layout", "layout", "flow", "flow", "jumps")
    assert seen == [(stage, step, 5) for step, stage in enumerate(stages, 1)]
    first = initialized(painter, 3).state_dict()
    layouts = load_file(tmp_path / "layout" / "checkpoint" / "average.safetensors")
    assert any(not torch.equal(weight, first[f"layouts.{n}"]) for n, weight in layouts.items())
    for name, weight in layouts.items():
        torch.testing.assert_close(network.state_dict()[f"layouts.{name}"], weight)
    assert not torch.equal(network.state_dict()["stem.mix.weight"], first["stem.mix.weight"])
    config = network.layouts.config
    assert network.config["trained_objective"] == "average_velocity"
    assert config["trained_objective"] == "flow_matching"
    assert set(history(tmp_path)) == {"layout", "flow", "jumps"}


def test_a_run_that_is_stopped_after_every_step_ends_as_one_that_never_was(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PRESETS", {"unet": {"base": painter}})
    monkeypatch.setattr(module, "TextEncoder", Letters)
    monkeypatch.setattr(module, "SCENES", 16)
    asked = {"layout_steps": 2, "steps": 2, "jump_steps": 0, "batch_size": 1, "seed": 3}
    request = VideoTrainingRequest.model_validate(asked)
    whole, _ = module.train(request, tmp_path / "whole")
    stop = {"should_stop": lambda: True}
    sittings = [module.train(request, tmp_path / "parts", **stop) for _ in range(3)]
    assert [done for _, done in sittings] == [False, False, True]  # 1, 2 and 1 of 4 steps
    parts, _ = sittings[-1]
    for name, weight in whole.state_dict().items():
        assert torch.equal(parts.state_dict()[name], weight), name


def test_some_clips_come_without_a_sketch_and_the_others_with_their_own():
    bank = module.world(Letters(), scenes=16, seed=1)
    x, cond = module.world_batches(bank, sketched=True)(64, generator(0))
    assert cond.sketch is not None
    given = cond.sketch[:, -1].flatten(1).amax(1)
    assert 0 < (given == 0).sum() < 24
    for clip, maps in zip(x[given == 1], cond.sketch[given == 1], strict=True):
        free = (maps[0] == 0).repeat_interleave(GRAIN, 1).repeat_interleave(GRAIN, 2)
        painted = (clip - clip[:, :1, :1, :1]).abs().amax(0) > 0.05
        assert painted.any()
        assert (painted & free).sum() < 0.02 * painted.sum()
    for maps in cond.sketch[given == 0]:
        assert (maps == 0).all()


def test_nobody_knows_the_layouts_of_ones_own_clips(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PRESETS", {"unet": {"base": painter}})
    given = module.Material(zeros)
    monkeypatch.setattr(module, "data", lambda request, **_: given)
    request = VideoTrainingRequest(clips="mine", steps=1, jump_steps=0, batch_size=1)
    network, _ = module.train(request, tmp_path)
    assert network.layouts is None
    assert network.config["layout_network"] is None
    assert set(history(tmp_path)) == {"flow"}


@pytest.mark.parametrize("steps", [10, 1_000_000])
def test_the_time_budget_is_shared_out_to_all_stages_however_many_steps_are_asked_for(steps):
    request = VideoTrainingRequest(minutes=60, layout_steps=4000, steps=steps, jump_steps=1500)
    given = module.Material(zeros, layouts=zeros)
    found = {stage.name: stage.plan.minutes for stage in module.stages(request, given)}
    assert list(found) == ["layout", "flow", "jumps"]
    assert sum(found.values()) == pytest.approx(59.5)
    assert found["layout"] == 30
    assert [s.name for s in module.stages(request)] == ["flow", "jumps"]
    none = request.model_copy(update={"layout_steps": 0})
    assert [s.name for s in module.stages(none, given)] == ["flow", "jumps"]


def test_a_model_whose_layouts_were_never_learned_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PRESETS", {"unet": {"base": painter}})
    monkeypatch.setenv("LAMINA_MODELS", str(tmp_path / "models"))
    asked = {"layout_steps": 0, "steps": 1, "jump_steps": 0, "batch_size": 1}
    request = VideoTrainingRequest.model_validate(asked)
    network, _ = module.train(request, tmp_path / "one", make_batch=zeros)
    assert network.layouts is None

    learned = initialized(painter, 5)
    assert learned.layouts is not None
    torch.nn.init.ones_(learned.layouts.head.mix.weight)
    record = {"name": "old", "kind": "video", "objective": "flow matching"}
    save_model(tmp_path / "models" / "old", learned, record, dtype=torch.float32)
    request = request.model_copy(update={"start": "old"})
    network, _ = module.train(request, tmp_path / "two", make_batch=zeros)
    assert network.layouts is not None
    for name, weight in learned.layouts.state_dict().items():
        torch.testing.assert_close(network.layouts.state_dict()[name], weight)


@pytest.mark.parametrize("other", [{"clips": "mine"}, {"preset": "tiny"}])
def test_layout_steps_are_refused_where_there_are_no_layouts(other):
    with pytest.raises(ValidationError, match="leave layout_steps out"):
        VideoTrainingRequest(layout_steps=10, **other)
