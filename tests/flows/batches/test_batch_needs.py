"""What a batch needs is told and held against what the workers' hosts offer, before it starts."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.refusal import Refusal
from flows.batches import shard_runs as shard_runs_module
from flows.batches.coordinator import coordinate
from flows.batches.item import Item
from flows.batches.items import items_of
from flows.batches.makers import Job, Maker
from flows.batches.needs import (
    AT_WORK,
    check_items,
    check_single,
    offers,
    shard_gpus,
    shard_needs,
    single_needs,
)
from flows.batches.plan import expected_bytes
from flows.batches.shard import BEHIND
from flows.batches.shard_runs import Deployed, Here
from flows.commands.command_line import main
from flows.commands.stack import _check_offers
from flows.machines.hosts import beat
from flows.machines.resources import Resources, job_variables
from flows.requests.batch_requests import (
    BatchLimits,
    ClipBatchRequest,
    ScanBatchRequest,
    ShardRequest,
)
from flows.requests.flow_requests import TidyRequest
from flows.settings.settings import read_settings
from medical.files.nifti import write_volume
from medical.files.volume import Volume
from medical.request import SuperResolutionRequest
from video.request import VideoRequest, VideoTrainingRequest

SMALL_HOST = Resources(memory_gb=0.5, disk_gb=100.0)
HOST = Resources(cpus=8, memory_gb=64.0, disk_gb=100.0)
GPU_HOST = Resources(gpus=1, gpu_memory_gb=1.0, cpus=8, memory_gb=64.0, disk_gb=100.0)
LARGE = {"num_frames": 128, "height": 256, "width": 256}


def clips(**fields):
    limits = BatchLimits(reserve_gb=0.0)
    return ClipBatchRequest(prompts="a\nb", model="tiny-video", limits=limits, **fields)


def items(**fields):
    return items_of(clips(**fields))[0]


def test_a_shard_needs_room_for_its_largest_item_and_time_for_all(places):
    small, large = single_needs(items()[0].request), single_needs(items(**LARGE)[0].request)
    both = shard_needs([items()[0], items(**LARGE)[0]], gpus=1)
    assert both.gpu_memory_gb == large.memory_gb > small.memory_gb
    start = 1.25 * 20.0 / 60
    assert both.minutes == pytest.approx(small.minutes + large.minutes - start)
    assert both.gpus == 1


def test_a_shard_has_disk_for_what_stays_of_all_and_for_work_on_a_few(places):
    (item, _) = items(**LARGE)
    few, many = (shard_needs([item] * n).disk_gb for n in (AT_WORK, 1000))
    one, each = single_needs(item.request).disk_gb, expected_bytes(item) / 1e9  # as planned
    assert many - few == pytest.approx((1000 - AT_WORK) * each)
    assert few == pytest.approx(AT_WORK * (each + one))
    assert shard_needs([item]).disk_gb == pytest.approx(each + one)
    assert AT_WORK == BEHIND + 1
    two_lanes = shard_needs([item] * 1000, gpus=2).disk_gb
    assert two_lanes - many == pytest.approx(AT_WORK * one)


def test_a_shard_is_given_the_documented_memory_or_what_its_largest_item_needs(places):
    (item, _) = items()
    huge = item.request.model_copy(update={"num_frames": 1024, "height": 256, "width": 512})
    large = replace(item, request=huge)
    assert single_needs(item.request).memory_gb < shard_needs([item]).memory_gb == 4.0
    assert shard_needs([]).memory_gb == 4.0
    assert shard_needs([item, large]).memory_gb == single_needs(large.request).memory_gb > 4.0
    assert job_variables(shard_needs([item]), "docker")["mem_limit"] == "4g"


def template(**defaults):
    """A base job template whose variables have these defaults."""
    properties = {name: {"default": value} for name, value in defaults.items()}
    return {"variables": {"properties": properties}}


@pytest.mark.parametrize(
    ("pool", "gpus"),
    [
        (template(gpus=1), 1),
        (template(gpus=0), 0),
        (template(gpus=None), 0),
        (template(container_create_kwargs={"device_requests": [{"count": -1}]}), 1),
        (template(container_create_kwargs={"device_requests": [{"device_ids": ["0", "1"]}]}), 2),
        (template(container_create_kwargs=None), 0),
        (template(), 0),
        ({}, 0),
    ],
)
def test_a_shard_asks_for_the_gpus_that_its_pool_gives_a_run(places, pool, gpus):
    assert shard_gpus(read_settings(), pool) == gpus


def test_a_shard_with_ray_workers_asks_for_a_gpu_for_each(places, monkeypatch):
    monkeypatch.setenv("LAMINA_RAY", "4")
    assert shard_gpus(read_settings(), template(gpus=1)) == 4
    assert shard_gpus(read_settings(), template(gpus=0)) == 0
    monkeypatch.setenv("LAMINA_RAY", "head:6379")
    assert shard_gpus(read_settings(), template(gpus=1)) == 1
    one, four = (shard_needs(items(), gpus=gpus) for gpus in (1, 4))
    assert (four.gpus, four.cpus, four.memory_gb) == (4, 4, 4 * one.memory_gb)
    assert four.gpu_memory_gb == one.gpu_memory_gb
    assert job_variables(four, "kubernetes")["env"] == {"LAMINA_RAY": "4"}
    assert job_variables(four, "docker")["env"] == {"LAMINA_RAY": "4"}
    assert "env" not in job_variables(one, "kubernetes")


def test_a_shard_has_time_for_all_draws(places):
    item, _ = items(num_frames=16, height=64, width=64, steps=4)
    start = 1.25 * 20.0 / 60
    once, often = (shard_needs([item] * 50, draws=draws).minutes for draws in (1, 8))
    assert often - start == pytest.approx(8 * (once - start))
    pods = [job_variables(shard_needs([item] * 2000, draws=n), "kubernetes") for n in (1, 8)]
    assert pods[1]["deadline_seconds"] > 7 * pods[0]["deadline_seconds"]


def test_a_shard_of_many_items_starts_once(places):
    (item, _) = items(num_frames=16, height=64, width=64, steps=4)
    alone, many = single_needs(item.request).minutes, shard_needs([item] * 2000).minutes
    assert shard_needs([item]).minutes == pytest.approx(alone)
    assert many < 20  # and not the 14 hours of 2000 starts
    assert many > 2000 * 0.1 / 60


def test_the_size_of_scans_is_read_and_broken_ones_are_left_to_their_shard(places):
    write_volume(Volume(torch.rand(12, 10, 4), np.diag([1.0, 1.0, 4.0, 1.0])), places / "a.nii.gz")
    (places / "b.nii.gz").write_bytes(b"broken")
    found, _ = items_of(ScanBatchRequest(scans=str(places), model="tiny-mri"))
    good, broken = (single_needs(item.request) for item in found)
    assert good.disk_gb == pytest.approx(1.25 * 16 * 12 * 10 * 16 / 1e9)
    assert broken is None
    check_items(found, [HOST])
    assert shard_needs([found[1]]).memory_gb > 0


def test_what_fits_nowhere_is_refused_with_its_row_and_the_numbers(places):
    needs = re.escape(f"prompts:1: the request needs {single_needs(items()[0].request)}: ")
    with pytest.raises(ValueError, match=rf"^{needs}.*\(one offers 0\.5 GB of memory\)"):
        check_items(items(), [SMALL_HOST])
    with pytest.raises(ValueError, match=r"1 GPU of 2\.3 GB.*offers 1 GB of GPU memory"):
        check_items(items(**LARGE), [GPU_HOST])
    check_items(items(**LARGE), [GPU_HOST, HOST])
    check_items(items(), [SMALL_HOST, GPU_HOST])
    check_items(items(**LARGE), [])  # nobody told


def test_a_single_request_is_held_against_the_workers_too(places):
    training = VideoTrainingRequest(batch_size=4096)
    restoration = SuperResolutionRequest(scan=str(places / "none.nii.gz"))
    with pytest.raises(ValueError, match=r"needs 1 CPU, 160\.0 GB memory.*offers 64 GB of memory"):
        check_single(training, [HOST])
    check_single(training.model_copy(update={"accumulation": 64}), [HOST])
    check_single(restoration, [SMALL_HOST])  # a scan that is not here is left to its run
    check_single(training, [])  # nobody told
    tell(places, SMALL_HOST)
    with pytest.raises(ValueError, match=r"one offers 0\.5 GB of memory"):
        _check_offers(training, read_settings())
    _check_offers(TidyRequest(), read_settings())


def tell(places, offer, worker="gpu-here-0"):
    said = offer.model_dump(exclude={"minutes"})
    beat(read_settings().hosts, worker, set(), {"batch": 1}, said)


def test_a_batch_too_large_for_every_worker_is_refused_before_anything_is_written(places):
    tell(places, SMALL_HOST)
    tell(places, HOST, worker="cpu-here-0")
    assert offers(read_settings()) == [SMALL_HOST]
    with pytest.raises(ValueError, match=r"prompts:1: .*0\.5 GB of memory"):
        coordinate(read_settings(), "default", clips(), Deployed(), lambda *news: None)
    assert not (places / "outputs" / "default").exists()


def test_the_dry_run_says_what_a_shard_needs_and_refuses_what_fits_nowhere(places, capsys):
    (places / "p.txt").write_text("a red circle\n")
    words = ["batch", "plan", str(places / "p.txt"), "--set", "model=tiny-video"]
    words += ["--set", "limits.reserve_gb=0"]
    assert main(words) == 0
    assert "a shard needs 1 CPU, 4.0 GB memory" in capsys.readouterr().out
    tell(places, SMALL_HOST)
    assert main(words) == 2
    assert "p.txt:1: the request needs" in capsys.readouterr().err


def test_a_batch_of_this_machine_is_not_held_against_the_workers_of_others(places, capsys):
    (places / "p.txt").write_text("a red circle\n")
    tell(places, SMALL_HOST)
    (offer,) = Here().offers(read_settings())
    assert (offer.gpus, offer.memory_gb > 0.5) == (0, True)  # LAMINA_DEVICE=cpu
    words = ["batch", "run", str(places / "p.txt"), "--set", "model=tiny-video"]
    words += ["--set", "limits.reserve_gb=0", "--dry-run"]
    assert main(words) == 2
    assert main([*words, "--here"]) == 0


def test_this_machine_offers_the_memory_of_its_gpus(places, monkeypatch):
    monkeypatch.setenv("LAMINA_DEVICE", "cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(
        shard_runs_module, "gpu_memory_gb", lambda visible: [[24.0], [80.0]][int(visible)]
    )
    (offer,) = Here().offers(read_settings())
    assert (offer.gpus, offer.gpu_memory_gb) == (2, 80.0)


def test_the_hands_say_against_what_a_batch_is_held(places):
    tell(places, SMALL_HOST)

    class Elsewhere(Here):
        def offers(self, settings):
            return [HOST.model_copy(update={"memory_gb": 0.25})]

    with pytest.raises(ValueError, match=r"0\.25 GB of memory"):
        coordinate(read_settings(), "default", clips(), Elsewhere(), lambda *news: None)


@pytest.mark.parametrize(("kind", "key"), [("kubernetes", "gpus"), ("docker", "mem_limit")])
def test_a_shard_in_a_container_is_given_its_share(places, monkeypatch, kind, key):
    pool = template(container_create_kwargs={"device_requests": [{"count": 1}]}, gpus=1)
    monkeypatch.setattr(shard_runs_module, "_read_pool", lambda: (kind, pool))
    asked = ShardRequest(batch="night", shard=0)
    host = {0: HOST, 1: GPU_HOST}
    assert key in Deployed(lambda _, gpus: host[gpus])._variables(asked)
    assert "gpus" not in Deployed(lambda _, gpus: HOST)._variables(asked)


def test_a_shard_in_a_process_shares_its_host(monkeypatch):
    monkeypatch.setattr(shard_runs_module, "_read_pool", lambda: ("process", {}))
    assert Deployed(lambda *_: GPU_HOST)._variables(ShardRequest(batch="night", shard=0)) == {}


@pytest.mark.parametrize("kind", ["clips", "scan"])
def test_a_shard_refuses_what_its_own_machine_cannot_hold(tmp_path, monkeypatch, kind):
    """The plan may have been held against a larger one; the disk is waited for, not refused."""
    tight = Resources(memory_gb=0.1, disk_gb=1e-9)
    monkeypatch.setattr("flows.machines.resources.this_host", lambda *_, **__: tight)
    scan = tmp_path / "scan.nii.gz"
    write_volume(Volume(torch.rand(8, 8, 4), np.diag([1.0, 1.0, 4.0, 1.0])), scan)
    request = SuperResolutionRequest(scan=str(scan))
    if kind == "clips":
        request = VideoRequest(prompt="a red circle")
    job = Job(Item("0" * 16, "row 1", request))
    with pytest.raises(Refusal, match=r"one offers 0\.1 GB of memory\)"):
        Maker(torch.device("cpu")).prepare(job)
