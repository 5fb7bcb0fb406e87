"""A picture that clips take over: learned beside a model's layouts or painting, kept, refused."""

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

import lamina
from core.conditioning import Conditioning
from core.models import controls
from core.models.checkpoints import load_model, read_record
from core.networks.reference import with_reference
from core.networks.unet import SpatioTemporalUNet
from core.refusal import Refusal
from core.seeds import generator, initialized
from flows.training.publish import publish
from video.engines.layouts import CHANNELS, GRAIN, SKETCH_CHANNELS, layouts
from video.engines.own import laid_out
from video.operations.text_to_video import TextToVideo
from video.request import VideoRequest, VideoTrainingRequest
from video.training.presets import LAYOUTS, tiny
from video.training.references import (
    PROMPTED,
    SAID,
    left_open,
    pictured,
    referenced,
    referenced_layouts,
)
from video.training.training import stages, train
from video.world.scene_table import tabulate
from video.world.world import draw_scene

SHOWN = (3, 1, 64, 64)


def clips(size, random):
    x = torch.rand(size, 3, 4, 16, 24, generator=random) * 2 - 1
    return x, Conditioning(tokens=torch.randn(size, 1, 384, generator=random))


def pictures(size, random):
    """Layouts and pictures."""
    x = torch.randn(size, CHANNELS, 16, 3, 1, generator=random)
    tokens = torch.randn(size, 1, 384, generator=random)
    reference = torch.rand(size, *SHOWN, generator=random)
    return x, Conditioning(tokens=tokens, reference=reference)


def small():
    """The shipped network's parts in a small size: it draws layouts."""
    settings = dict(tiny().config) | {
        "sketch_channels": SKETCH_CHANNELS,
        "sketch_grain": (1, GRAIN, GRAIN),
        "layout_network": {**LAYOUTS, "block_out_channels": (32,), "layers_per_block": 2},
    }
    return SpatioTemporalUNet.from_config(settings)


def test_a_picture_is_the_middle_of_one_frame():
    x = torch.zeros(3, 3, 4, 16, 24)
    x += torch.arange(4.0).view(1, 1, 4, 1, 1)
    x[..., :4] = x[..., -4:] = 100.0
    found = pictured(x, generator(0))
    assert found.shape == (3, *SHOWN)
    assert set(found.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}


def test_clips_are_shown_a_frame_of_themselves_and_half_are_told_no_prompt():
    def sketched(size, random):
        x, cond = clips(size, random)
        return x, replace(cond, sketch=torch.ones(size, 1, 4, 4, 4))

    x, cond = referenced(sketched)(200, torch.Generator().manual_seed(0))
    assert cond.sketch is None
    assert cond.reference is not None
    assert cond.reference.shape == (200, *SHOWN)
    middles = torch.nn.functional.interpolate(x[:, :, :, :, 4:20].flatten(1, 2), (64, 64))
    same = middles.unflatten(1, (3, 4)).transpose(1, 2) == cond.reference.transpose(1, 2)
    assert same.flatten(2).all(2).any(1).all()
    assert cond.token_mask is not None
    assert float(cond.token_mask.float().mean()) == pytest.approx(PROMPTED, abs=0.1)


def test_captions_leave_open_what_a_picture_shows():
    dice = Random(0)
    found = [left_open(dice) for _ in range(1000)]
    for name, share in SAID.items():
        assert np.mean([getattr(one, name) for one in found]) == pytest.approx(share, abs=0.05)
    assert np.mean([one.motions for one in found]) > 0.9


class Bank:
    """Scenes without captions."""

    def __init__(self):
        scenes = [draw_scene(Random(n), count_shares=(1, 0, 0)) for n in range(4)]
        self.table, self.texts = tabulate(scenes), self

    def scenes(self, count, random):
        return self.table, torch.arange(count)

    def take(self, rows):
        return torch.zeros(len(rows), 1, 384), torch.ones(len(rows), 1, dtype=torch.bool)

    def shown(self, table, rows):
        from video.world.rendering import render_table
        from video.world.scene_table import SHAPE

        return render_table(table, table.words[..., SHAPE])


def test_layouts_are_shown_the_same_thing_in_another_place():
    bank: Any = Bank()
    x, cond = referenced_layouts(bank)(4, torch.Generator().manual_seed(0))
    assert torch.equal(x, layouts(bank.table))
    assert cond.reference is not None
    own = bank.shown(bank.table, None)
    for place, picture in enumerate(cond.reference):
        colors = {tuple(c) for c in own[place].flatten(1).T.tolist()}
        seen = {tuple(c) for c in picture.flatten(1).T.tolist()}
        assert len(colors & seen) >= 2  # its ground and its color
        assert not any(torch.equal(picture[:, 0], own[place, :, frame]) for frame in range(16))


@pytest.fixture(params=["layouts", ""], ids=["layouts", "painting"])
def base(request, finished):
    """A small finished model with or without layouts, and the request to learn an adapter."""
    network = initialized(small if request.param else tiny, 3)
    network.register_to_config(trained_objective="average_velocity")
    folder = finished(network, "video", "average velocity")
    asked = {"start": "old", "control": "reference", "name": "new", "steps": 2, "batch_size": 2}
    return folder, VideoTrainingRequest.model_validate(asked), request.param


@pytest.fixture
def learned(base, tmp_path):
    folder, request, part = base
    batches = pictures if part else clips
    network, done = train(request, tmp_path / "run", make_batch=batches)
    assert done
    made = publish(tmp_path / "models" / "new", network, request, run=tmp_path / "run")
    return folder, made, part


def test_an_adapter_is_kept_beside_the_base_which_stays_as_it_is(learned):
    folder, made, part = learned
    digests, was = read_record(made)["sha256"], read_record(folder)["sha256"]
    assert digests["weights.safetensors"] == was["weights.safetensors"]
    assert digests["config.json"] == was["config.json"]
    control = controls.Control.of(made / "control.safetensors")
    assert (control.shows, control.part, control.size) == ("reference", part, SHOWN[1:])
    for place in (folder, made):
        controls.check(control, place)
        again: Any = load_model(place, dtype=torch.float32)[0]
        plain: Any = load_model(place, dtype=torch.float32)[0]
        controls.take(again, control)
        reader, bare = (getattr(n, part) if part else n for n in (again, plain))
        assert any(stage.attention.to_out[0].weight.any() for stage in reader.reference.stages)
        x, cond = (pictures if part else referenced(clips))(2, torch.Generator().manual_seed(1))
        with torch.no_grad():
            t = torch.tensor([0.3, 0.9])
            unshown = replace(cond, reference=None)
            expected = bare(x, t, None, unshown)
            assert torch.equal(reader(x, t, None, unshown), expected)
            assert not torch.equal(reader(x, t, None, cond), expected)


def test_a_run_says_what_is_learned_and_goes_on_where_it_was_cut(base, tmp_path):
    _, request, part = base
    batches = pictures if part else clips
    whole, _ = train(request, tmp_path / "whole", make_batch=batches)
    assert (tmp_path / "whole" / ("layout" if part else "flow")).is_dir()
    assert stages(request)[0].plan.data.endswith("told by their reference")
    _, done = train(request, tmp_path / "cut", make_batch=batches, should_stop=lambda: True)
    assert not done
    cut, done = train(request, tmp_path / "cut", make_batch=batches)
    assert done
    for name, weights in whole.state_dict().items():
        assert torch.equal(weights, cut.state_dict()[name]), name


@pytest.fixture
def led(base, branch_of, tmp_path):
    """A request for a clip beside an adapter and a picture."""
    folder, _, part = base
    path = branch_of(folder, "video", shows="reference")
    pixels = np.random.default_rng(0).integers(0, 255, (40, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "shown.png")
    asked = {"prompt": "an object moves left", "model": "old", "steps": 1, "control": str(path)}
    size = {} if part else {"num_frames": 4, "height": 16, "width": 16}
    return asked | size | {"reference": str(tmp_path / "shown.png")}


def drawn(asked):
    request = VideoRequest.model_validate(asked)
    operation = TextToVideo()
    operation.check(request)
    model = operation.source(request).load("cpu")
    prepared = operation.prepare(request)
    return operation.draw(request, prepared, model, lambda *_: None).frames


def test_a_clip_is_led_by_a_picture(led):
    plain = {k: v for k, v in led.items() if k not in ("control", "reference")}
    plain = drawn(plain)
    assert np.array_equal(drawn({**led, "control_scale": 0.0}), plain)
    assert not np.array_equal(drawn({**led, "control_scale": 4.0}), plain)
    request = VideoRequest.model_validate(led)
    record = TextToVideo().source(request).record()
    assert record["control"]["shows"] == "reference"
    assert {"control", "reference"} <= TextToVideo().inputs(request).keys()
    told = request.model_dump()
    assert (told["control_scale"], told["reference"]) == (1.0, led["reference"])


def test_a_model_that_was_loaded_with_an_adapter_is_shown_a_picture(led, base):
    control = controls.Control.of(led["control"])
    loaded = lamina.load(base[0], control=control, device="cpu")
    fields = {name: value for name, value in led.items() if name not in {"control", "model"}}
    found = lamina.generate(fields.pop("prompt"), model=loaded, **fields)
    assert np.array_equal(found.frames, drawn(led))


def test_a_layout_that_was_drawn_by_a_picture_is_painted_without_it():
    network: Any = initialized(small, 0)
    start = torch.randn(1, 3, 16, 64, 64, generator=generator(0))
    cond = Conditioning(tokens=torch.zeros(1, 1, 384), reference=torch.ones(1, *SHOWN))
    assert laid_out(cond, network, start) is cond  # its own painting reads it
    with_reference(network.layouts, 3, SHOWN[1:], seed=0)
    with torch.no_grad():
        found = laid_out(cond, network, start)
    assert found.reference is None
    assert found.sketch is not None


NOT_LED = {
    "without a picture": ({"reference": ""}, r"name control and reference, or leave both out"),
    "without a file": ({"control": ""}, r"name control and reference, or leave both out"),
    "beside a clip": ({"control_clip": "other.mp4"}, r"of reference reads reference alone"),
    "beside boxes": ({"boxes": "boxes.json"}, r"with boxes: .*leave one of the two out"),
    "beside a negative": ({"negative": "a star"}, r"negative=a star"),
    "beside an engine": ({"engine": "wan"}, r"with engine=wan: .*leave one of the two out"),
    "of no picture": ({"reference": "none.png"}, r"no such file: a picture is named"),
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


def test_layouts_of_another_size_are_not_led_and_painting_is(led, base):
    request = VideoRequest.model_validate(led | {"width": 96})
    if not base[2]:
        TextToVideo().check(request)
        return
    with pytest.raises(Refusal, match=r"with 16 frames of 96 x 64: .*leave the size out"):
        TextToVideo().check(request)


def test_a_file_that_is_no_picture_is_refused(led, tmp_path):
    (tmp_path / "words.png").write_text("a red circle")
    request = VideoRequest.model_validate(led | {"reference": str(tmp_path / "words.png")})
    with pytest.raises(Refusal, match=r"reference=.* cannot be read"):
        TextToVideo().check(request)


def test_an_edges_file_is_shown_no_picture(led, base, branch_of):
    path = branch_of(base[0], "video")
    request = VideoRequest.model_validate(led | {"control": str(path)})
    with pytest.raises(Refusal, match=r"of edges reads control_clip alone"):
        TextToVideo().check(request)


REFUSED = {
    "nothing to stand beside": {"start": ""},
    "a transformer": {"network": "dit"},
    "another family": {"family": "ddpm"},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED)
def test_adapters_without_a_finished_u_net_are_refused(changes):
    asked = {"control": "reference", "start": "scenes-64"} | changes
    with pytest.raises(ValidationError, match=r"control=reference with .*: a branch is learned "):
        VideoTrainingRequest.model_validate(asked)
