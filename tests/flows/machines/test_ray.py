"""Warm Ray workers inside a shard: the same bits, and no more lost than one sample."""

import os
import signal
import subprocess
import sys
from concurrent.futures import CancelledError
from contextlib import suppress
from types import SimpleNamespace

import psutil
import pytest
from clips import SMALL, prompts_of
from waiting import until

from core.storage.journal import read_lines
from flows.batches import shard as shard_module
from flows.batches.items import items_of
from flows.batches.ledger import Batch, intact
from flows.batches.makers import Job
from flows.batches.start import plan_batch, start_batch
from flows.machines import ray_workers as ray_workers_module
from flows.machines.ray_workers import LIVES, Workers, spread
from flows.requests.batch_requests import ClipBatchRequest, ScanBatchRequest, ShardRequest
from flows.settings.settings import read_settings

DEADLINE_S = 400.0
STORE_BYTES = 100_000_000


def prompts(count):
    return "\n".join(prompts_of(count))


def planned(request):
    batch = Batch.named(read_settings(), "default", request.name)
    batch.root.mkdir(parents=True, exist_ok=True)
    start_batch(batch, request, plan_batch(batch, request, items_of(request)))
    return batch


def made_here(batch):
    asked = ShardRequest(batch=batch.root.name, shard=0)
    return shard_module.run_shard(
        read_settings(), asked, lambda done, total, note="": None
    ).plain()


def started(batch, ray):
    """The shard in a process of its own, as a worker or the command line starts it."""
    import torch

    words = [sys.executable, "-m", "flows.batches.shard", "default", batch.root.name, "0", "1"]
    environment = {"LAMINA_RAY": ray, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen(words, env=os.environ | environment, stderr=subprocess.PIPE, text=True)


def digests(batch):
    """Address to the digests of what was made, without the records, which tell times."""
    found = {item.address: intact(batch, item) for item, _ in batch.items()}
    assert all(found.values()), "every item stands, whole"
    return {
        address: {role: said["sha256"] for role, said in files.items() if role != "record"}
        for address, files in found.items()
    }


def lines_of(batch):
    return list(read_lines(batch.shard_file(0)))


def samplers():
    """Processes of warm workers, whoever's."""
    names = psutil.process_iter(["name"])
    return [process for process in names if (process.info["name"] or "").startswith("ray::Samp")]


@pytest.fixture
def two_nodes():
    """The address of a cluster of two nodes with a core each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        yield cluster.address
    finally:
        cluster.shutdown()


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.usefixtures("encoder_read_once")
def test_two_nodes_make_what_one_process_makes_though_a_worker_is_killed(places, two_nodes):
    alone = planned(ClipBatchRequest(name="alone", prompts=prompts(12), **SMALL))
    made_here(alone)
    batch = planned(ClipBatchRequest(name="spread", prompts=prompts(12), **SMALL))
    shard = started(batch, two_nodes)
    until(lambda: len(samplers()) == 2 or shard.poll() is not None, "two workers")
    until(lambda: lines_of(batch) or shard.poll() is not None, "a first item")
    samplers()[0].send_signal(signal.SIGKILL)
    _, said = shard.communicate(timeout=DEADLINE_S)
    assert shard.returncode == 0, said
    assert "is drawn again" in said
    assert digests(batch) == digests(alone)
    lines = lines_of(batch)
    assert {line["state"] for line in lines} == {"made"}
    assert len(lines) == len({line["item"] for line in lines}) == 12, "each made once"
    until(lambda: not samplers(), "workers end with their shard")


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_killed_shard_takes_its_workers_along(places):
    pytest.importorskip("ray")
    import numpy as np
    import torch

    from medical.files.nifti import write_volume
    from medical.files.volume import Volume

    scans = places / "scans"
    scans.mkdir()
    for n in range(6):
        volume = Volume(torch.rand(24, 24, 6) + n, np.diag([1.0, 1.0, 4.0, 1.0]))
        write_volume(volume, scans / f"{n}.nii.gz")
    asked = {"scans": str(scans), "model": "tiny-mri", "samples": 2, "steps": 1}
    alone = planned(ScanBatchRequest(name="alone", **asked))
    made_here(alone)
    batch = planned(ScanBatchRequest(name="spread", **asked))
    shard = started(batch, "2")
    until(lambda: lines_of(batch) or shard.poll() is not None, "a first item")
    family = psutil.Process(shard.pid).children(recursive=True)
    assert any(process.name().startswith("ray::Samp") for process in family)
    shard.kill()
    shard.communicate()
    until(lambda: not any(map(psutil.Process.is_running, family)), "Ray ends with its shard")
    again = started(batch, "2")
    _, said = again.communicate(timeout=DEADLINE_S)
    assert again.returncode == 0, said
    assert digests(batch) == digests(alone)


class Answer:
    """What an actor's method gives: a value, or an error when it is asked for."""

    def __init__(self, value):
        self.value = value

    def remote(self, *arguments):
        return self


class LostError(Exception):
    """Ray's own trouble: the base of its errors."""


class RaisedError(LostError):
    """What a method raised."""

    def __init__(self, cause):
        self.cause = cause


class FakeRay:
    """As much of Ray as the shard speaks to; workers answer from a list."""

    exceptions = SimpleNamespace(
        RayError=LostError,
        RayTaskError=RaisedError,
        GetTimeoutError=type("LateError", (LostError,), {}),
    )

    def __init__(self, *answers):
        self.ready, self.down = True, False
        self.answers, self.started, self.killed = list(answers), 0, 0

    def start(self):
        self.started += 1
        answers = SimpleNamespace(remote=lambda job: Answer(self.answers.pop(0)))
        return SimpleNamespace(load=Answer(1), wait_turn=Answer(None), sample=answers)

    def get(self, answer, timeout=None):
        if isinstance(answer.value, Exception):
            raise answer.value
        return answer.value

    def wait(self, answers, timeout):
        return (answers, []) if self.ready else ([], answers)

    def kill(self, worker):
        self.killed += 1

    def shutdown(self):
        self.down = True


def sampled(ray, width=1):
    workers = Workers(ray, ray.start, width)
    workers.load("some-model")
    job = Job(SimpleNamespace(row="prompts:1"))
    try:
        workers.sample(job, 5.0)
    finally:
        workers._starting.shutdown()
    return job


def test_an_item_whose_worker_dies_is_drawn_by_another(caplog):
    ray = FakeRay(LostError("killed"), ("a clip", 0.5))
    job = sampled(ray)
    assert (job.sampled, job.timings["sample"]) == ("a clip", 0.5)
    assert (ray.started, ray.killed) == (2, 1)
    assert "prompts:1 lost its worker and is drawn again: killed" in caplog.text


def test_a_worker_whose_gpu_gave_out_is_replaced():
    broken = RaisedError(RuntimeError("CUDA error: an illegal access"))
    ray = FakeRay(broken, ("a clip", 0.5))
    assert sampled(ray).sampled == "a clip"
    assert ray.killed == 1


def test_an_item_that_kills_every_worker_is_given_up():
    ray = FakeRay(*[LostError("killed")] * LIVES)
    with pytest.raises(RuntimeError, match="3 workers died over it"):
        sampled(ray)


def test_a_worker_that_hangs_is_ended_and_the_item_failed():
    ray = FakeRay(FakeRay.exceptions.GetTimeoutError())
    with pytest.raises(TimeoutError, match="no sign of life for 5 s"):
        sampled(ray)
    assert (ray.started, ray.killed) == (2, 1)


def test_an_item_that_cannot_be_made_says_so_as_without_workers():
    ray = FakeRay(RaisedError(ValueError("slices=1: too few")))
    with pytest.raises(ValueError, match=r"^slices=1: too few$"):
        sampled(ray)
    assert ray.killed == 0


def test_a_shard_that_ends_has_nothing_more_sampled():
    ray = FakeRay(("a clip", 0.5))
    workers = Workers(ray, ray.start, 1)
    workers.load("some-model")
    workers.stop()
    with pytest.raises(CancelledError):
        workers.sample(Job(SimpleNamespace(row="prompts:1")), 5.0)
    assert ray.answers, "nobody was asked"
    workers.close()


def test_nobody_asks_for_a_worker_after_the_end():
    ray = FakeRay()
    workers = Workers(ray, ray.start, 1)
    workers.load("some-model")
    ray.ready = False
    workers._replace(workers._free.get())
    until(lambda: ray.started == 2, "another is being started")
    workers.close()
    assert (ray.killed, ray.down) == (2, True)
    assert not any(thread.is_alive() for thread in workers._starting._threads)


def test_a_run_that_is_cancelled_is_told_so_and_not_ray():
    before = signal.getsignal(signal.SIGTERM)
    with suppress(ConnectionError), ray_workers_module._own_signals():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise ConnectionError("no such cluster")
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_model_that_cannot_be_read_ends_the_shard_at_once():
    ray = FakeRay()
    ray.start = lambda: SimpleNamespace(load=Answer(RaisedError(ValueError("model='x': unknown"))))
    workers = Workers(ray, ray.start, 2)
    with pytest.raises(ValueError, match="unknown"):
        workers.load("x")
    workers.close()


def test_without_ray_the_setting_is_refused_with_the_way_out(places, monkeypatch):
    monkeypatch.setenv("LAMINA_RAY", "2")
    monkeypatch.setattr(ray_workers_module, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"LAMINA_RAY=2: .*install lamina\[ray\]"):
        spread(read_settings(), 3).__enter__()


@pytest.mark.parametrize("text", ["0", "-1", "here", "100", "a b:1"])
def test_where_workers_are_is_a_count_or_an_address(places, monkeypatch, text):
    monkeypatch.setenv("LAMINA_RAY", text)
    with pytest.raises(ValueError, match="LAMINA_RAY="):
        read_settings()


@pytest.mark.usefixtures("encoder_read_once")
def test_without_the_setting_a_shard_needs_no_ray(places, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # an import of it fails
    batch = planned(ClipBatchRequest(name="alone", prompts=prompts(1), **SMALL))
    assert made_here(batch) == {"made": 1, "left": 0, "ended": ""}
