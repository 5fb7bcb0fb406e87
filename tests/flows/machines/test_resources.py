import logging
import math
from pathlib import Path

import pytest
import torch
import yaml

from core.refusal import Refusal
from flows.jobs.operations import OPERATIONS
from flows.machines.resources import (
    Resources,
    check_fits,
    check_here,
    check_room,
    check_whole,
    job_variables,
    memory_limit_gb,
    needed,
    this_host,
    training_needs,
)
from medical.request import SuperResolutionRequest
from video.request import VideoRequest, VideoTrainingRequest

HEAD = ((197, 233, 47), (1.0, 1.0, 4.0))


@pytest.fixture
def scanned(monkeypatch):
    """Every scan has the size of a head."""
    monkeypatch.setattr("medical.files.scan.read_size", lambda path: HEAD)


def clip(**changes):
    return needed(OPERATIONS["text_to_video"], VideoRequest(prompt="a red circle", **changes))


def head(**changes):
    return needed(
        OPERATIONS["super_resolve_mri"], SuperResolutionRequest(scan="head.nii.gz", **changes)
    )


@pytest.mark.parametrize(
    ("frames", "side", "steps", "seconds"),  # measured on one core
    [
        (16, 64, 4, 0.38),
        (16, 64, 16, 0.72),
        (64, 64, 4, 0.69),
        (64, 128, 1, 1.05),
        (128, 128, 1, 3.51),
    ],
)
def test_time_is_near_what_was_measured(frames, side, steps, seconds):
    wanted = clip(num_frames=frames, height=side, width=side, steps=steps)
    assert wanted.minutes * 60 / 1.25 - 20.0 == pytest.approx(seconds, rel=0.35)


@pytest.mark.parametrize(
    ("samples", "steps", "seconds", "memory_gb"), [(1, 1, 10.4, 0.845), (2, 2, 24.4, 0.905)]
)
def test_a_head_takes_what_was_measured(samples, steps, seconds, memory_gb, monkeypatch):
    size = (180, 220, 45), (1.0, 1.0, 4.0)
    monkeypatch.setattr("medical.files.scan.read_size", lambda path: size)
    wanted = head(samples=samples, steps=steps)
    assert wanted.minutes * 60 / 1.25 - 20.0 == pytest.approx(seconds, rel=0.3)
    assert wanted.memory_gb / 1.25 == pytest.approx(memory_gb, rel=0.1)


FINE_MM = 0.4, 0.4, 1.6


@pytest.mark.parametrize(
    ("scan", "spacing", "samples", "memory_gb"),
    [
        ((90, 110, 45), 2.0, 2, 0.674),
        ((256, 256, 64), 0.8, 1, 1.02),
        ((512, 512, 128), 0.4, 1, 4.87),
        ((512, 512, 128), 0.4, 2, 5.77),
    ],
)
def test_a_small_grid_and_a_large_one_take_what_was_measured(
    scan, spacing, samples, memory_gb, monkeypatch
):
    size = scan, (spacing, spacing, 4 * spacing if spacing < 1 else 4.0)
    monkeypatch.setattr("medical.files.scan.read_size", lambda path: size)
    wanted = head(samples=samples, steps=samples, spacing_mm=(spacing, spacing, spacing))
    assert wanted.memory_gb / 1.25 == pytest.approx(memory_gb, rel=0.15)


@pytest.mark.parametrize(("samples", "seconds"), [(1, 338), (2, 361)])
def test_the_time_of_a_large_grid_grows_with_its_sides(samples, seconds, monkeypatch):
    monkeypatch.setattr("medical.files.scan.read_size", lambda path: ((512, 512, 128), FINE_MM))
    wanted = head(samples=samples, steps=1, spacing_mm=(0.4, 0.4, 0.4))
    assert wanted.minutes * 60 / 1.25 == pytest.approx(seconds, rel=0.3)  # with the start


@pytest.mark.usefixtures("scanned")
def test_more_of_anything_never_needs_less():
    small, long, large = clip(num_frames=16), clip(num_frames=32), clip(num_frames=32, height=128)
    for name in ("memory_gb", "disk_gb", "minutes"):
        values = [getattr(wanted, name) for wanted in (small, long, large)]
        assert values == sorted(values)
    assert head(samples=8).minutes > head(samples=2).minutes
    coarse = needed(
        OPERATIONS["super_resolve_mri"],
        SuperResolutionRequest(scan="s", spacing_mm=(4.0, 4.0, 4.0)),
    )
    assert coarse.disk_gb == pytest.approx(head().disk_gb / 4, rel=0.01)


def test_a_restoration_of_unknown_size_is_refused():
    with pytest.raises(ValueError, match=r"head\.nii\.gz"):
        needed(OPERATIONS["super_resolve_mri"], SuperResolutionRequest(scan="head.nii.gz"))


def test_the_first_machine_with_room_is_taken():
    small, large = Resources(memory_gb=0.5), Resources(memory_gb=64.0, disk_gb=100.0)
    assert check_fits(clip(), [small, large]) is large


def test_what_fits_nowhere_is_refused_with_the_numbers():
    wanted = needed(
        OPERATIONS["text_to_video"],
        VideoRequest(prompt="x", height=256, width=256, num_frames=128),
        gpus=1,
    )
    with pytest.raises(ValueError, match=r"needs 1 GPU of 2\.3 GB, .*0 GPUs.*0\.5 GB of memory"):
        check_fits(wanted, [Resources(memory_gb=0.5, disk_gb=9.0)])
    with pytest.raises(ValueError, match="none offered"):
        check_fits(wanted, [])


def test_this_host_offers_something(tmp_path):
    offer = this_host(tmp_path / "not" / "yet", gpus=[80.0, 40.0])
    assert offer.cpus >= 1
    assert offer.memory_gb > 0.5
    assert offer.disk_gb > 0
    assert (offer.gpus, offer.gpu_memory_gb) == (2, 80.0)
    assert math.isinf(offer.minutes)


def test_a_job_is_refused_where_it_starts_if_the_host_or_its_gpu_is_too_small(tmp_path, caplog):
    small, vast = clip(), clip().model_copy(update={"memory_gb": 1e6})
    with caplog.at_level(logging.INFO):
        check_here(small, tmp_path)
    assert f"needs {small}" in caplog.text
    with pytest.raises(
        ValueError, match=r"needs 1 CPU, 1000000\.0 GB memory.*one offers .* GB of me"
    ):
        check_here(vast, tmp_path)
    large = needed(
        OPERATIONS["text_to_video"],
        VideoRequest(prompt="x", height=256, width=256, num_frames=128),
        gpus=1,
    )
    check_here(large, tmp_path, gpus=[4.0])
    with pytest.raises(ValueError, match=r"1 GPU of 2\.3 GB.*one offers 2 GB of GPU memory"):
        check_here(large, tmp_path, gpus=[2.0])


def test_the_memory_of_a_container_or_a_unit_is_what_it_is_allowed(tmp_path, monkeypatch):
    own, inside = tmp_path / "cgroup", tmp_path / "groups" / "lamina.slice" / "worker"
    inside.mkdir(parents=True)
    assert memory_limit_gb(tmp_path / "groups", own) == math.inf
    own.write_text("0::/lamina.slice/worker\n")
    (inside / "memory.max").write_text("max\n")
    assert memory_limit_gb(tmp_path / "groups", own) == math.inf
    (inside.parent / "memory.max").write_text("3000000000\n")  # the tightest above it holds
    assert memory_limit_gb(tmp_path / "groups", own) == 3.0
    own.write_text("4:memory:/elsewhere\n")
    (tmp_path / "groups" / "memory").mkdir()
    (tmp_path / "groups" / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712")
    assert memory_limit_gb(tmp_path / "groups", own) > 1e6  # how older kernels say none
    monkeypatch.setattr("flows.machines.resources.memory_limit_gb", lambda: 0.25)
    assert this_host(tmp_path).memory_gb == 0.25


def test_runs_that_a_form_starts_fit_the_share_of_a_pod(monkeypatch):
    chart = Path(__file__).parents[3] / "infra" / "helm" / "lamina" / "values.yaml"
    share = yaml.safe_load(chart.read_text())["gpu"]
    most = clip(num_frames=128, height=256, width=256, steps=128)
    asked, allowed = (share["resources"][x]["memory"] for x in ("requests", "limits"))
    assert most.memory_gb <= int(asked.removesuffix("Gi")) * 1.0737
    training = training_needs(VideoTrainingRequest(batch_size=4096), gpus=1)
    assert training.memory_gb <= int(asked.removesuffix("Gi")) * 1.0737
    size = ((1000, 1000, 300), (1.0, 1.0, 1.0))
    monkeypatch.setattr("medical.files.scan.read_size", lambda path: size)
    huge = needed(OPERATIONS["super_resolve_mri"], SuperResolutionRequest(scan="s"))
    assert huge.memory_gb <= int(allowed.removesuffix("Gi")) * 1.0737
    assert most.disk_gb <= int(share["scratch"].removesuffix("Gi"))


def test_each_kind_of_pool_is_told_in_its_own_words():
    wanted = Resources(gpus=1, gpu_memory_gb=8, cpus=4, memory_gb=12, disk_gb=2, minutes=30)
    assert job_variables(wanted, "process") == {"env": {"OMP_NUM_THREADS": "4"}}
    docker = job_variables(wanted, "docker")
    assert docker["container_create_kwargs"]["device_requests"][0]["count"] == 1
    assert docker["mem_limit"] == "12g"
    kubernetes = job_variables(wanted, "kubernetes")
    assert kubernetes["gpus"] == 1
    assert kubernetes["deadline_seconds"] == 7200
    assert "gpus" not in job_variables(Resources(), "kubernetes")
    assert "device_requests" not in str(job_variables(Resources(), "docker"))


def test_what_words_ask_is_held_against_the_engine_before_memory(tmp_path, monkeypatch):
    operation = OPERATIONS["text_to_video"]
    monkeypatch.setattr("flows.machines.resources.memory_limit_gb", lambda: 0.1)
    draft = VideoRequest(prompt="a red circle", steps=4, draft_after=9)
    with pytest.raises(Refusal, match="GB"):
        check_room(operation, draft, torch.device("cpu"), tmp_path)
    with pytest.raises(Refusal, match=r"draft_after=9 with steps=4"):
        check_whole(operation, draft, torch.device("cpu"), tmp_path)


def test_states_of_clips_count_in_memory_and_on_disk():
    plain, draft = clip(num_frames=64, steps=40), clip(num_frames=64, steps=40, draft_after=20)
    few = clip(num_frames=64, steps=20)
    kept_gb = 4 * 3 * 64 * 64 * 64 * 20 / 1e9
    assert draft.memory_gb - few.memory_gb >= kept_gb
    assert draft.disk_gb - few.disk_gb >= kept_gb
    assert plain.disk_gb == few.disk_gb
