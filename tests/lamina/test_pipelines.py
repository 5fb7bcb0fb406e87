"""Pipelines of diffusers over our models: the same results, and folders that others read."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)
from pydantic import ValidationError

import lamina
from flows.commands.command_line import main

PROMPT = "two red circles move left"
CLIP = {"num_frames": 5, "num_inference_steps": 2}


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seeded(number):
    return torch.Generator().manual_seed(number)


@pytest.fixture
def video(models):
    return quiet(lamina.TextToVideoPipeline.from_pretrained("tiny-video"))


@pytest.fixture
def mri(models):
    return quiet(lamina.SuperResolutionPipeline.from_pretrained(models / "tiny-mri"))


def test_clips_are_those_of_the_other_doors(video):
    drawn = video(PROMPT, generator=seeded(7), output_type="clip", fps=12.0, **CLIP)
    fields = {"num_frames": 5, "steps": 2, "seed": 7, "fps": 12.0}
    wanted = lamina.generate(PROMPT, model="tiny-video", device="cpu", **fields)
    assert drawn.seeds == [7]
    assert np.array_equal(drawn.frames[0].frames, wanted.frames)
    assert drawn.frames[0].fps == wanted.fps == 12


def test_volumes_are_those_of_the_other_doors(mri, scan):
    found = mri(scan, num_samples=2, num_inference_steps=2, generator=seeded(3))
    fields = {"samples": 2, "steps": 2, "seed": 3, "device": "cpu"}
    wanted = lamina.super_resolve(scan, model="tiny-mri", **fields)
    assert torch.equal(found.volume.data, wanted.mean.data)
    assert torch.equal(found.std.data, wanted.std.data)
    assert found.restoration.record() == wanted.record()
    in_memory = lamina.read_volume(scan)
    again = mri(
        in_memory, num_samples=2, num_inference_steps=2, generator=seeded(3),
        output_type="np", return_dict=False,
    )  # fmt: skip
    assert np.array_equal(again[0], wanted.mean.data)


def test_a_mask_protects(mri, scan):
    mask = lamina.read_volume(scan).with_data(torch.ones(12, 10, 4))
    assert mri(scan, num_samples=1, protect=mask).restoration.num_protected == 12 * 10 * 16


def test_outputs_come_as_asked(video):
    kinds = {kind: video(PROMPT, generator=seeded(1), output_type=kind, **CLIP).frames
             for kind in ("np", "pt", "pil", "clip", "latent")}  # fmt: skip
    assert kinds["np"].shape == (1, 5, 64, 64, 3)
    assert 0 <= kinds["np"].min() < kinds["np"].max() <= 1
    assert np.array_equal(kinds["pt"].permute(0, 1, 3, 4, 2), kinds["np"])
    assert np.array_equal([np.asarray(one) for one in kinds["pil"][0]], kinds["clip"][0].frames)
    assert np.abs(kinds["clip"][0].frames / 255 - kinds["np"][0]).max() <= 0.501 / 255
    assert kinds["latent"].shape == (1, 3, 5, 64, 64)
    with pytest.raises(lamina.Refusal, match="output_type='gif'"):
        video(PROMPT, output_type="gif")


def test_several_clips_are_each_drawn_alone(video):
    prompts = [PROMPT, "a blue square"]
    made = video(prompts, generator=[seeded(1), seeded(2)], **CLIP)
    alone = [
        video(prompt, generator=seeded(seed), **CLIP).frames[0]
        for seed, prompt in enumerate(prompts, 1)
    ]
    assert np.array_equal(made.frames, alone)
    twice = video(PROMPT, num_videos_per_prompt=2, generator=seeded(1), **CLIP)
    assert np.array_equal(twice.frames[0], alone[0])
    assert twice.seeds[0] == 1 != twice.seeds[1]


def test_a_generator_moves_on(video):
    generator = seeded(5)
    seeds = [video(PROMPT, generator=generator, **CLIP).seeds[0] for _ in range(3)]
    assert seeds[0] == 5
    assert len(set(seeds)) == 3
    assert len({video(PROMPT, **CLIP).seeds[0] for _ in range(2)}) == 2


def test_callbacks_watch(video, mri, scan):
    seen = []

    def watch(pipe, step, left, tensors):
        seen.append((step, left, *tensors["latents"].shape))
        tensors["latents"].zero_()  # a copy: nothing comes of it
        return tensors

    plain = video(PROMPT, generator=seeded(1), **CLIP)
    shown = video(
        [PROMPT] * 2, generator=[seeded(1), seeded(1)], callback_on_step_end=watch, **CLIP
    )
    assert [row[:2] for row in seen] == [(0, 3), (1, 2), (2, 1), (3, 0)]
    assert seen[0][2:] == (1, 3, 5, 64, 64)
    assert np.array_equal(plain.frames[0], shown.frames[0])
    seen.clear()
    mri(scan, num_samples=2, num_inference_steps=2, callback_on_step_end=watch)
    assert [row[:2] for row in seen] == [(0, 3), (1, 2), (2, 1), (3, 0)]


def test_callbacks_that_would_steer_are_refused(video):
    def steer(pipe, step, left, tensors):
        return {"latents": tensors["latents"] * 0}

    with pytest.raises(lamina.Refusal, match="a callback only watches"):
        video(PROMPT, callback_on_step_end=steer, **CLIP)
    with pytest.raises(lamina.Refusal, match="prompt_embeds"):
        video(PROMPT, callback_on_step_end_tensor_inputs=["prompt_embeds"], **CLIP)


def test_a_bar_counts_all_steps(video, capsys):
    video.set_progress_bar_config(disable=False)
    video([PROMPT] * 2, **CLIP)
    assert "4/4" in capsys.readouterr().err


@pytest.mark.parametrize("wish", [{"frames": 3}, {"num_frames": -1}, {"num_videos_per_prompt": 0}])
def test_what_cannot_be_asked_is_refused(video, wish):
    with pytest.raises((ValidationError, TypeError, lamina.Refusal)):
        video(PROMPT, **wish)


def test_generators_are_as_many_as_clips(video):
    with pytest.raises(lamina.Refusal, match="a list of 1 for 2 results"):
        video([PROMPT] * 2, generator=[seeded(1)])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:diffusers")
def test_schedulers_of_diffusers_stand_in(video, mri, scan):
    own = video(PROMPT, generator=seeded(1), **CLIP).frames
    video.scheduler = FlowMatchEulerDiscreteScheduler(shift=8.0)
    close = video(PROMPT, generator=seeded(1), **CLIP).frames
    assert not np.array_equal(close, own)
    assert np.array_equal(close, video(PROMPT, generator=seeded(1), **CLIP).frames)
    video.scheduler = EulerAncestralDiscreteScheduler()
    first, again, other = (video(PROMPT, generator=seeded(s), **CLIP).frames for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    mri.scheduler = DDIMScheduler(clip_sample=False)
    found = mri(scan, num_samples=2, num_inference_steps=3)
    assert found.restoration.record()["sampler"] == "DDIMScheduler"
    assert found.volume.data.isfinite().all()


def test_what_is_saved_is_read_by_everyone(video, tmp_path, monkeypatch):
    video.scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    folder = tmp_path / "shelf" / "mine"
    video.save_pretrained(folder)
    assert not [path for path in folder.parent.iterdir() if path != folder]
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == "TextToVideoPipeline"
    assert index["scheduler"] == ["diffusers", "FlowMatchEulerDiscreteScheduler"]
    again = quiet(lamina.TextToVideoPipeline.from_pretrained(folder))
    assert again.scheduler.config.shift == 5
    assert again.record["name"] == "mine"
    one, two = (pipe(PROMPT, generator=seeded(1), **CLIP).frames for pipe in (video, again))
    assert np.array_equal(one, two)
    network = lamina.SpatioTemporalUNet.from_pretrained(folder)
    state = video.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    monkeypatch.setenv("LAMINA_MODELS", str(folder.parent))
    assert main(["video", "generate", PROMPT, "out.mp4", "--model", "mine", "--steps", "1"]) == 0
    with pytest.raises(lamina.Refusal, match="a model never replaces another"):
        video.save_pretrained(folder)


def test_weights_that_need_more_than_bfloat16_keep_it(mri, tmp_path):
    with torch.no_grad():
        next(mri.network.parameters()).add_(1e-4)
    mri.save_pretrained(tmp_path / "mine")
    again = lamina.SuperResolutionPipeline.from_pretrained(tmp_path / "mine")
    wanted = next(mri.network.parameters())
    assert torch.equal(next(again.network.parameters()), wanted)


BARE = """
import sys
from lamina import SuperResolutionPipeline, SpatioTemporalUNet, Volume
import numpy as np, torch
pipe = SuperResolutionPipeline.from_pretrained(sys.argv[1])
SpatioTemporalUNet.from_pretrained(sys.argv[1])
scan = Volume(torch.rand(8, 8, 2), np.diag([1.0, 1.0, 4.0, 1.0]))
found = pipe(scan, num_samples=1, num_inference_steps=1)
loaded = {name.partition(".")[0] for name in sys.modules}
print(*found.volume.shape, *{"prefect", "flows"} & loaded)
"""


def test_a_bare_python_reads_what_is_saved(mri, tmp_path):
    mri.save_pretrained(tmp_path / "mine")
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", BARE, str(tmp_path / "mine")],
        capture_output=True, text=True, check=True, env={"PATH": ""}, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.split() == ["8", "8", "8"]


@pytest.mark.parametrize(
    ("pipeline", "name"),
    [(lamina.TextToVideoPipeline, "scenes-64"), (lamina.SuperResolutionPipeline, "heads-1mm")],
)
def test_shipped_models_open(pipeline, name, monkeypatch):
    pipe = pipeline.from_pretrained(name, device_map="auto", torch_dtype=torch.float32)
    assert pipe.record["name"] == name
    assert pipe.scheduler is None
    assert pipe.network.dtype == torch.float32


@pytest.mark.parametrize(
    ("named", "options", "sentence"),
    [
        ("tiny-mri", {}, "is not an installed video model"),
        ("./nobody", {}, "holds no model.json"),
        ("tiny-video", {"device_map": {"network": 0, "text": 1}}, "lies on one device"),
        ("tiny-video", {"device_map": "moon"}, "lies on one device"),
        ("tiny-video", {"use_safetensors": False}, "never pickles"),
    ],
)
def test_what_cannot_be_loaded_is_refused(models, named, options, sentence):
    with pytest.raises(lamina.Refusal, match=sentence):
        lamina.TextToVideoPipeline.from_pretrained(named, **options)


def test_an_index_never_runs_code(video, tmp_path):
    video.save_pretrained(tmp_path / "mine")
    index = tmp_path / "mine" / "model_index.json"
    for scheduler, sentence in {
        ("os", "system"): "names the scheduler system: its noise path is not known",
        ("diffusers",): "names no scheduler",
    }.items():
        index.write_text(json.dumps({"scheduler": scheduler}))
        with pytest.raises(lamina.Refusal, match=sentence):
            lamina.TextToVideoPipeline.from_pretrained(tmp_path / "mine")


def test_pickles_are_not_written(video, tmp_path):
    with pytest.raises(lamina.Refusal, match="saved in one way"):
        video.save_pretrained(tmp_path / "mine", safe_serialization=False)
    assert not (tmp_path / "mine").exists()


def test_parts_are_shared_with_another_pipeline(video):
    wanted = video(PROMPT, generator=seeded(1), **CLIP).frames
    assert set(video.components) == {"network", "scheduler"}
    for other in (
        type(video)(**video.components, record=video.record),
        quiet(type(video).from_pipe(video)),
    ):
        assert other.network is video.network
        assert np.array_equal(quiet(other)(PROMPT, generator=seeded(1), **CLIP).frames, wanted)
    stepped = type(video).from_pipe(video, scheduler=DDIMScheduler())
    assert stepped.scheduler is not video.scheduler
    assert stepped.record == video.record


def test_parts_of_another_kind_are_refused(video, mri):
    with pytest.raises(lamina.Refusal, match="shares the parts of one of its own kind"):
        type(video).from_pipe(mri)
    with pytest.raises(lamina.Refusal, match="only another scheduler"):
        type(video).from_pipe(video, network=video.network)


def test_a_pipeline_moves_to_another_type_and_device(video):
    wanted = video(PROMPT, generator=seeded(1), **CLIP).frames
    video.to("cpu", torch.bfloat16)
    assert video.dtype == torch.bfloat16
    assert video.device == torch.device("cpu")
    near = video(PROMPT, generator=seeded(1), **CLIP).frames
    assert near.dtype == np.float32
    assert np.abs(near - wanted).mean() < 0.05
