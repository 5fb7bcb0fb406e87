"""What a training needs is near what was measured, and refused where there is not as much."""

import numpy as np
import pytest
import torch

from flows.machines import resources as resources_module
from flows.machines.resources import training_needs
from flows.settings.settings import read_settings
from flows.training import launch as training_processes_module
from flows.training.training import train_model
from medical.files.nifti import write_volume
from medical.files.volume import Volume
from medical.request import MRITrainingRequest
from video.request import VideoTrainingRequest

SIX, SIXTY = 29_400_000, 281_600_000  # voxels of heads without their faces


def video(preset, batch_size, **more):
    request = VideoTrainingRequest(preset=preset, batch_size=batch_size, clips="none", **more)
    return training_needs(request).memory_gb / 1.25


def mri(preset, batch_size, voxels, **more):
    request = MRITrainingRequest(heads="h", preset=preset, batch_size=batch_size)
    return training_needs(request, data_size=voxels, **more).memory_gb / 1.25


@pytest.mark.parametrize(
    ("preset", "clips", "peak_gb"),  # of one process that has read few captions
    [("base", 8, 0.96), ("base", 32, 1.74), ("base", 64, 2.48), ("tiny", 64, 1.20)],
)
def test_a_video_training_takes_what_was_measured(preset, clips, peak_gb):
    assert video(preset, clips) == pytest.approx(peak_gb, rel=0.17)


@pytest.mark.parametrize(
    ("preset", "patches", "voxels", "peak_gb"),
    [
        ("base", 8, SIX, 1.47), ("base", 24, SIX, 2.84), ("tiny", 48, SIX, 1.98),
        ("base", 8, SIXTY, 2.29), ("base", 24, SIXTY, 3.38), ("tiny", 24, SIXTY, 2.38),
    ],
)  # fmt: skip
def test_an_mri_training_takes_what_was_measured(preset, patches, voxels, peak_gb):
    assert mri(preset, patches, voxels) == pytest.approx(peak_gb, rel=0.1)


def test_each_process_has_heads_of_its_own_and_a_part_of_the_batch():
    both = mri("base", 8, SIXTY, processes=2)
    assert both == pytest.approx(4.76, rel=0.1)  # measured, of both together
    assert training_needs(VideoTrainingRequest(), processes=4).cpus == 4


def test_parts_of_a_step_need_less_memory_and_a_gpu_holds_the_rows():
    whole, parts = video("base", 512), video("base", 512, accumulation=16)
    assert parts == pytest.approx(video("base", 32))
    assert parts < whole / 5
    request = VideoTrainingRequest(batch_size=4096)
    wanted = training_needs(request, gpus=1)
    assert wanted.memory_gb < 2.0
    assert 0 < wanted.gpu_memory_gb < 2.0  # a batch that does not fit is computed in pieces


@pytest.fixture
def heads(tmp_path):
    for name in ("01", "02"):
        path = tmp_path / f"sub-{name}" / "anat" / f"sub-{name}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        write_volume(Volume(torch.rand(12, 10, 8), np.eye(4)), path)
    return tmp_path


def test_voxels_are_counted_without_reading_them(heads):
    assert MRITrainingRequest(heads=str(heads)).data_size() == 2 * 12 * 10 * 8
    assert MRITrainingRequest(heads=str(heads / "none")).data_size() == 0
    assert VideoTrainingRequest().data_size() == 0


def test_a_training_too_large_for_this_host_is_refused_before_it_reads_anything(
    places, monkeypatch
):
    monkeypatch.setattr(resources_module, "memory_limit_gb", lambda: 8.0)
    monkeypatch.setattr(training_processes_module, "number_of_processes", lambda rows, device: 1)
    asked = VideoTrainingRequest(name="vast", batch_size=4096)
    with pytest.raises(ValueError, match=r"needs 1 CPU, 160.*one offers 8 GB of memory.*batch"):
        train_model(asked, read_settings(), lambda *news: None)
    assert not (places / "state" / "training" / "vast").exists()


@pytest.mark.parametrize("model", [VideoTrainingRequest, MRITrainingRequest])
def test_the_parts_of_a_step_divide_its_batch(model):
    needed = {"heads": "h"} if model is MRITrainingRequest else {}
    assert model(batch_size=12, accumulation=3, **needed).accumulation == 3
    with pytest.raises(ValueError, match=r"batch_size=9, accumulation=2: a batch is computed in"):
        model(batch_size=9, accumulation=2, **needed)
