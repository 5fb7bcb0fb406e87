"""A branch for the edges of clips: trained beside a model, kept beside it, refused elsewhere."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

import lamina
from core.conditioning import Conditioning
from core.models import controls
from core.models.checkpoints import load_model, read_record, save_model
from core.models.controls import Control
from core.networks.unet import SpatioTemporalUNet
from core.refusal import Refusal
from core.seeds import initialized
from flows.training.publish import publish
from video.engines.edges import edges
from video.engines.own import laid_out
from video.files.clip import Clip
from video.files.formats import write_clip
from video.operations.text_to_video import TextToVideo
from video.request import VideoRequest, VideoTrainingRequest
from video.training.controls import WITHOUT, controlled
from video.training.presets import PRESETS, tiny
from video.training.training import stages, train


def clips(size, random):
    x = torch.rand(size, 3, 4, 16, 16, generator=random) * 2 - 1
    return x, Conditioning(tokens=torch.randn(size, 1, 384, generator=random))


def test_edges_are_where_colors_change_and_nowhere_else():
    x = torch.full((1, 3, 2, 8, 8), -1.0)
    x[:, 1, :, :, 4:] = 1.0  # one channel alone, from column 4 on
    found = edges(x)
    assert found.shape == (1, 1, 2, 8, 8)
    assert torch.equal(found[0, 0, 0, 3], torch.tensor([0.0, 0, 0, 1, 1, 0, 0, 0]))
    assert edges(0.2 * x).amax() == pytest.approx(0.4)
    assert not edges(torch.rand(1, 3, 1, 1, 1)).any()
    turned = edges(x.transpose(3, 4)).transpose(3, 4)
    assert torch.equal(turned, found)


def test_batches_are_told_by_their_edges_but_for_a_share():
    def sketched(size, random):
        x, cond = clips(size, random)
        return x, replace(cond, sketch=torch.ones(size, 1, 4, 4, 4))

    x, cond = controlled(sketched)(200, torch.Generator().manual_seed(0))
    assert cond.sketch is None
    assert cond.control is not None
    empty = ~cond.control.flatten(1).any(1)
    assert float(empty.float().mean()) == pytest.approx(WITHOUT, abs=0.06)
    assert torch.equal(cond.control[~empty], edges(x)[~empty])


@pytest.fixture
def base(finished):
    """A small finished model, and the request to learn a branch beside it."""
    network = initialized(tiny, 3)
    network.register_to_config(trained_objective="average_velocity")
    folder = finished(network, "video", "average velocity")
    asked = {"start": "old", "control": "edges", "name": "new", "steps": 3, "batch_size": 4}
    return folder, VideoTrainingRequest.model_validate(asked)


def test_a_branch_is_kept_beside_the_base_which_stays_as_it_is(base, tmp_path):
    folder, request = base
    (stage,) = stages(request)
    assert (stage.name, stage.plan.data[-19:]) == ("flow", "told by their edges")
    network, done = train(request, tmp_path / "run", make_batch=clips)
    assert done
    assert isinstance(network, SpatioTemporalUNet)
    branch: Any = network.control
    assert any(out.weight.any() for out in branch.outs)
    made = publish(tmp_path / "models" / "new", network, request, run=tmp_path / "run")
    digests, was = read_record(made)["sha256"], read_record(folder)["sha256"]
    assert digests["weights.safetensors"] == was["weights.safetensors"]
    assert digests["config.json"] == was["config.json"]
    asked = {"prompt": "a red circle moves left", "num_frames": 4, "height": 16, "width": 16}
    one, other = (drawn(asked | {"model": name, "steps": 2}) for name in ("old", "new"))
    assert np.array_equal(one, other)  # it draws as its base where nothing is shown

    control = controls.Control.of(made / "control.safetensors")
    assert (control.shows, control.base_name) == ("edges", "old")
    for place in (folder, made):
        controls.check(control, place)
        again, _ = load_model(place, dtype=torch.float32)
        plain, _ = load_model(place, dtype=torch.float32)
        controls.take(again, control)
        x, cond = clips(2, torch.Generator().manual_seed(1))
        t = torch.tensor([0.3, 0.9])
        with torch.no_grad():
            expected = plain(x, t, None, cond)
            assert torch.equal(again(x, t, None, cond), expected)
            shown = replace(cond, control=edges(x))
            assert not torch.equal(again(x, t, None, shown), expected)


def test_a_run_goes_on_where_it_was_cut(base, tmp_path):
    _, request = base
    whole, _ = train(request, tmp_path / "whole", make_batch=clips)
    _, done = train(request, tmp_path / "cut", make_batch=clips, should_stop=lambda: True)
    assert not done
    cut, done = train(request, tmp_path / "cut", make_batch=clips)
    assert done
    for name, weights in whole.state_dict().items():
        assert torch.equal(weights, cut.state_dict()[name]), name


def test_a_control_stands_in_the_place_of_a_layout():
    network = PRESETS["unet"]["base"]()
    start = torch.randn(1, 3, *(16, 64, 64), generator=torch.Generator().manual_seed(0))
    cond = Conditioning(control=torch.zeros(1, 1, 16, 64, 64))
    assert laid_out(cond, network, start) is cond


@pytest.fixture
def led(base, branch_of, tmp_path):
    """A request for a clip beside a control file and a clip that it is shown."""
    folder, _ = base
    path = branch_of(folder, "video")
    frames = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
    write_clip(Clip(frames, 8), tmp_path / "shown.mp4")
    asked = {"prompt": "a red circle moves left", "model": "old", "num_frames": 4, "height": 16}
    asked |= {"width": 16, "steps": 1, "control": str(path)}
    return asked | {"control_clip": str(tmp_path / "shown.mp4")}


def drawn(asked):
    request = VideoRequest.model_validate(asked)
    operation = TextToVideo()
    operation.check(request)
    source = operation.source(request)
    return operation.draw(
        request, operation.prepare(request), source.load("cpu"), lambda *_: None
    ).frames


def test_a_clip_is_led_by_the_edges_of_another(led):
    plain = {k: v for k, v in led.items() if not k.startswith("control")}
    plain = drawn(plain)
    assert np.array_equal(drawn({**led, "control_scale": 0.0}), plain)
    whole = drawn(led)
    assert not np.array_equal(whole, plain)
    assert not np.array_equal(drawn({**led, "control_scale": 0.3}), whole)
    request = VideoRequest.model_validate(led)
    record = TextToVideo().source(request).record()
    assert record["control"]["shows"] == "edges"
    assert {"control", "control_clip"} <= TextToVideo().inputs(request).keys()


def test_in_python_a_clip_goes_on_from_states_of_its_own_control_alone(led, tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    asked = {k: v for k, v in led.items() if k not in {"model", "control", "steps"}}
    strong, weak = (lamina.load("old", control=Control.of(led["control"], s)) for s in (1.0, 0.3))
    fresh = lamina.generate(**asked, steps=3, model=weak)
    lamina.generate(**asked, steps=3, draft_after=2, model=strong)
    again = lamina.generate(**asked, steps=3, model=weak)
    assert "resumed_at_step" not in again.facts
    assert np.array_equal(again.frames, fresh.frames)
    gone_on = lamina.generate(**asked, steps=3, model=strong)
    assert gone_on.facts["resumed_at_step"] == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"control_clip": ""}, "name control and control_clip, or leave both out"),
        ({"control_scale": 0.5}, "control_scale=0.5: this model is loaded already"),
        ({"first": "picture.png"}, "control_clip with first: .*leave one of the two out"),
    ],
)
def test_in_python_what_cannot_lead_is_refused_too(led, changes, words):
    asked = {k: v for k, v in led.items() if k not in {"model", "control"}} | changes
    model = lamina.load("old", control=Control.of(led["control"]))
    with pytest.raises(Refusal, match=words):
        lamina.generate(**asked, model=model)


def test_requests_without_a_control_are_what_they_were(led):
    plain = {k: v for k, v in led.items() if not k.startswith("control")}
    told = VideoRequest.model_validate(plain).model_dump()
    assert not [name for name in told if name.startswith("control")]
    assert VideoRequest.model_validate(led).model_dump()["control_scale"] == 1.0


NOT_LED = {
    "without a clip": ({"control_clip": ""}, r"name control and control_clip, or leave both out"),
    "without a file": ({"control": ""}, r"name control and control_clip, or leave both out"),
    "of another size": ({"width": 24}, r"4 frames of 16 x 16, .* 4 of 24 x 16: .*another clip"),
    "beside boxes": ({"boxes": "boxes.json"}, r"with boxes: .*leave one of the two out"),
    "beside an engine": ({"engine": "wan"}, r"with engine=wan: .*leave one of the two out"),
    "of no file": ({"control": "none.safetensors"}, r"there is no such file"),
    "beside another model": ({"model": "scenes-64"}, r"learned beside old .*not scenes-64"),
}


@pytest.mark.parametrize(("changes", "words"), NOT_LED.values(), ids=NOT_LED)
def test_what_cannot_lead_is_refused_before_work(led, changes, words):
    asked = {**led, **changes}
    if "engine" in changes:
        asked = {n: v for n, v in asked.items() if n not in {"model", "steps"}}
    request = VideoRequest.model_validate(asked)
    with pytest.raises(Refusal, match=words):
        TextToVideo().check(request)


REFUSED = {
    "nothing to stand beside": {"start": ""},
    "a transformer": {"network": "dit"},
    "another family": {"family": "ddpm"},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED)
def test_branches_without_a_finished_u_net_are_refused(changes):
    asked = {"control": "edges", "start": "scenes-64"} | changes
    with pytest.raises(ValidationError, match=r"control=edges with .*: a branch is learned "):
        VideoTrainingRequest.model_validate(asked)


def test_what_is_learned_beside_a_model_takes_steps_alone():
    asked = {"control": "reference", "start": "scenes-64", "layout_steps": 0}
    with pytest.raises(ValidationError, match=r"layout_steps=0 with control=.*leave layout_steps"):
        VideoTrainingRequest.model_validate(asked)


@pytest.mark.parametrize(
    "changes", [{"channels": "\u00b2"}, {"size": "64 64"}, {"size": "1 64 1000000"}]
)
def test_a_control_file_that_tells_what_none_has_is_refused(tmp_path, changes):
    told = {"channels": "1", "shows": "edges", "base": "ab"} | changes
    save_file({"x": torch.zeros(1)}, tmp_path / "control.safetensors", told)
    with pytest.raises(Refusal, match="says nothing of a control"):
        Control.of(tmp_path / "control.safetensors")


@pytest.mark.parametrize("changes", [{"lora": 4}, {"masks": True}])
def test_a_branch_is_learned_alone(changes):
    asked = {"control": "edges", "start": "scenes-64"} | changes
    with pytest.raises(ValidationError, match=r"leave the others out"):
        VideoTrainingRequest.model_validate(asked)


def test_a_model_of_another_class_is_refused(base, tmp_path):
    _, request = base
    other = initialized(PRESETS["dit"]["tiny"], 0)
    record = {"name": "transformer", "kind": "video", "objective": "flow matching"}
    save_model(tmp_path / "models" / "transformer", other, record)
    asked = request.model_copy(update={"start": "transformer"})
    with pytest.raises(Refusal, match=r"is a SpatioTemporalDiT: .* name a model of that class"):
        train(asked, tmp_path / "run", make_batch=clips)
