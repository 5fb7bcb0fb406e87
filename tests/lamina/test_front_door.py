"""``import lamina``: cheap, complete, and the same results as the command line."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import lamina
from flows.commands.command_line import main
from flows.commands.single import run_here
from flows.jobs import operations

PROMPT = "two red circles move left"
CLIP = {"num_frames": 5, "steps": 2, "seed": 7, "fps": 12.0}


def words(fields):
    return [word for k, v in fields.items() for word in (f"--{k.replace('_', '-')}", str(v))]


def loaded_after(program):
    program += "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_door_opens_at_once():
    heavy = {"torch", "diffusers", "pydantic", "numpy", "prefect", "flows"}
    assert loaded_after("import lamina; dir(lamina)").isdisjoint(heavy)


def test_operations_need_no_torch():
    loaded = loaded_after("import lamina; lamina.OPERATIONS")
    assert loaded.isdisjoint({"torch", "diffusers", "monai", "prefect", "flows"})


def test_every_name_is_there_and_no_other():
    assert set(lamina.HOMES) == set(lamina.__all__) == set(dir(lamina))
    assert all(getattr(lamina, name) is not None for name in lamina.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lamina.nothing  # noqa: B018


def test_operations_are_those_that_flows_run():
    assert lamina.OPERATIONS == operations.OPERATIONS


def test_a_clip_is_that_of_the_command_line(models, tmp_path):
    clip = lamina.generate(PROMPT, model="tiny-video", device="cpu", **CLIP)
    asked = ["video", "generate", PROMPT, "theirs.mp4", "--model", "tiny-video", *words(CLIP)]
    assert main(asked) == 0
    operation = lamina.OPERATIONS["text_to_video"]
    request = lamina.VideoRequest(prompt=PROMPT, model="tiny-video", **CLIP)
    operation.write(request, clip, tmp_path / "ours.mp4", overwrite=False)
    assert (tmp_path / "ours.mp4").read_bytes() == (tmp_path / "theirs.mp4").read_bytes()
    other = lamina.generate(PROMPT, model="tiny-video", device="cpu", **CLIP | {"seed": 8})
    assert not np.array_equal(other.frames, clip.frames)


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_volume_is_that_of_the_command_line(models, scan, tmp_path, in_memory):
    fields = {"samples": 2, "steps": 2, "seed": 3}
    given = lamina.read_volume(scan) if in_memory else scan
    restored = lamina.super_resolve(given, model="tiny-mri", device="cpu", **fields)
    asked = ["mri", "super-resolve", str(scan), "theirs.nii.gz", "--model", "tiny-mri"]
    assert main([*asked, *words(fields)]) == 0
    restored.write(tmp_path / "ours.nii.gz")
    for role in ("", "_std", "_consistency"):
        ours, theirs = (tmp_path / f"{who}{role}.nii.gz" for who in ("ours", "theirs"))
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_model_folder_is_as_good_as_a_name(models):
    fields = {"num_frames": 2, "steps": 1, "device": "cpu"}
    named = lamina.generate(PROMPT, model="tiny-video", **fields)
    placed = lamina.generate(PROMPT, model=models / "tiny-video", **fields)
    assert np.array_equal(named.frames, placed.frames)


def test_prompts_are_read_as_by_the_command_line(monkeypatch, caplog):
    monkeypatch.setattr("video.engines.own.sample", lambda *_, **__: torch.zeros(1, 3, 1, 8, 8))
    model = lamina.load("scenes-64", device="cpu")
    lamina.generate("a red circel moves left", model=model)
    assert "circle" in caplog.text
    with pytest.raises(lamina.Refusal, match="elephant"):
        lamina.generate("a purple elephant", model=model, strict=True)


def by_command(scan, pipe):
    request = lamina.SuperResolutionRequest(scan=str(scan), model="tiny-mri")
    run_here(request, scan.with_name("out.nii.gz"), overwrite=False)


DOORS = {
    "command": by_command,
    "call": lambda scan, pipe: lamina.super_resolve(scan, model="tiny-mri"),
    "call in memory": lambda scan, pipe: lamina.super_resolve(
        lamina.read_volume(scan), model="tiny-mri"
    ),
    "pipeline": lambda scan, pipe: pipe(scan),
    "pipeline in memory": lambda scan, pipe: pipe(lamina.read_volume(scan)),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_every_door_refuses_a_grid_that_memory_has_no_room_for(models, scan, monkeypatch, door):
    pipe = lamina.SuperResolutionPipeline.from_pretrained(models / "tiny-mri")
    for place in ("core.memory.memory_gb", "flows.machines.resources.memory_limit_gb"):
        monkeypatch.setattr(place, lambda: 0.25)
    for work in ("SuperResolveMRI.prepare", "SuperResolveMRI.draw"):
        monkeypatch.setattr(f"medical.operations.super_resolve_mri.{work}", None)
    monkeypatch.setattr("lamina.super_resolution.super_resolve", None)
    with pytest.raises(
        lamina.Refusal,
        match=r"0\.8 GB memory.*: a job must fit on one machine \(one offers 0\.25 GB of memory",
    ):
        door(scan, pipe)


def test_what_a_scan_showed_and_what_is_assumed_is_said_by_every_door(models, scan, caplog):
    pipe = lamina.SuperResolutionPipeline.from_pretrained(models / "tiny-mri")
    pipe.set_progress_bar_config(disable=True)
    doors = [
        lambda: lamina.super_resolve(scan, model="tiny-mri", samples=1, steps=1),
        lambda: pipe(scan, num_samples=1, num_inference_steps=1).restoration,
    ]
    for door in doors:
        caplog.clear()
        restored = door()
        assert any(line.startswith("slice profile: ") for line in restored.remarks)
        assert [record.getMessage() for record in caplog.records] == list(restored.remarks)


def test_a_loaded_model_is_as_good_as_a_name(models, scan):
    video, mri = lamina.load("tiny-video", device="cpu"), lamina.load(models / "tiny-mri")
    named = lamina.generate(PROMPT, model="tiny-video", device="cpu", num_frames=2, steps=1)
    loaded = lamina.generate(PROMPT, model=video, num_frames=2, steps=1)
    assert np.array_equal(named.frames, loaded.frames)
    assert lamina.super_resolve(scan, model=mri, samples=1, steps=1).samples == 1
    with pytest.raises(lamina.Refusal, match="is of kind video: super_resolve_mri needs one"):
        lamina.super_resolve(scan, model=video)
    with pytest.raises(lamina.Refusal, match="'nobody' is not an installed model"):
        lamina.load("nobody")


def test_steps_can_be_watched(models, scan):
    seen = []
    lamina.super_resolve(
        scan, model="tiny-mri", samples=2, steps=2,
        on_step=lambda done, total, estimate: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("nobody", "is not an installed video model"),
        ("tiny-mri", "is not an installed video model"),
        ("./nobody", "holds no model.json"),
    ],
)
def test_other_models_are_refused(models, model, sentence):
    with pytest.raises(lamina.Refusal, match=sentence):
        lamina.generate(PROMPT, model=model)


def test_a_folder_of_the_other_kind_is_refused(models):
    with pytest.raises(lamina.Refusal, match="of kind mri: one of video is needed"):
        lamina.generate(PROMPT, model=models / "tiny-mri")


@pytest.mark.parametrize("field", [{"frames": 3}, {"steps": -1}, {"num_frames": True}])
def test_fields_are_held_against_the_request(models, field):
    with pytest.raises(ValidationError, match=next(iter(field))):
        lamina.generate(PROMPT, model="tiny-video", **field)
