import asyncio
import json
import subprocess
from types import SimpleNamespace

import pytest
from prefect.exceptions import ObjectAlreadyExists

from flows.machines import pools as pools_module
from flows.machines import sweeper as sweeper_module
from flows.machines.pools import CPU, GPU, Place, gpu_memory_gb, places
from flows.settings.settings import read_settings
from flows.stack.deployments import prepare_pool


def gpus(monkeypatch, *known, visible=None, **variables):
    monkeypatch.setattr(pools_module, "_driver_knows", lambda: list(known))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    settings = read_settings({f"LAMINA_{name}": value for name, value in variables.items()})
    return [(place.visible, place.slot) for place in places(GPU, settings)]


def test_each_gpu_has_a_worker_of_its_own(monkeypatch):
    assert gpus(monkeypatch, "GPU-a", "GPU-b") == [("GPU-a", ""), ("GPU-b", "")]
    assert gpus(monkeypatch, "GPU-a", "GPU-b", visible="GPU-b") == [("GPU-b", "")]
    assert gpus(monkeypatch, "GPU-a", "GPU-b", DEVICE="cuda:1") == [("GPU-b", "")]
    assert gpus(monkeypatch, "GPU-a", "GPU-b", GPUS="1") == [("GPU-a", "")]


@pytest.mark.parametrize("variables", [{}, {"DEVICE": "cpu"}])
def test_without_a_gpu_one_worker_computes_on_the_cpu(monkeypatch, variables):
    known = ["GPU-a"] if variables else []
    assert gpus(monkeypatch, *known, **variables) == [("", "")]


def test_portable_arithmetic_is_computed_on_the_cpu(monkeypatch):
    monkeypatch.setenv("LAMINA_NUMERICS", "portable")
    assert gpus(monkeypatch, "GPU-a") == [("", "")]


def test_gpus_can_be_pretended(monkeypatch):
    assert gpus(monkeypatch, "GPU-a", GPUS="2") == [("GPU-a", ""), ("", "pretended-1")]


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="LAMINA_DEVICE=cuda: this host shows no such GPU"):
        gpus(monkeypatch, DEVICE="cuda")


@pytest.mark.parametrize("count", ["0", "-1", "two", "1000"])
def test_a_number_of_gpus_is_a_number(monkeypatch, count):
    with pytest.raises(ValueError, match=f"LAMINA_GPUS={count}: "):
        gpus(monkeypatch, GPUS=count)


def test_a_worker_keeps_its_jobs_on_its_device():
    assert Place(GPU, 0, "GPU-a").environment()["CUDA_VISIBLE_DEVICES"] == "GPU-a"
    assert Place(GPU, 0, "GPU-a").environment()["LAMINA_DEVICE"] == "cuda"
    assert Place(CPU).environment()["CUDA_VISIBLE_DEVICES"] == ""
    pretended = Place(GPU, 1, slot="pretended-1")
    assert pretended.environment()["LAMINA_DEVICE"] == "cpu"
    assert Place.read(pretended.write()) == pretended


def test_the_janitor_always_finds_room():
    assert Place(CPU).lanes["interactive"] >= 1
    assert set(Place(GPU).lanes) == {"interactive", "batch"}


def test_a_driver_that_hangs_tells_nothing(monkeypatch):
    waited = []

    def hangs(asked, *, timeout, **_):
        waited.append(timeout)
        raise subprocess.TimeoutExpired(asked, timeout)

    monkeypatch.setattr(pools_module.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(pools_module.subprocess, "run", hangs)
    assert gpu_memory_gb("GPU-a") == []
    assert waited == [5]


def test_a_host_is_known_to_live_though_its_offer_is_not_known(monkeypatch, tmp_path):
    asked = []

    def broken(visible):
        asked.append(visible)
        raise RuntimeError("no driver")

    class Away(Exception):  # noqa: N818
        pass

    def away(**_):
        raise Away

    monkeypatch.setattr(sweeper_module, "gpu_memory_gb", broken)
    monkeypatch.setattr(sweeper_module, "get_client", away)
    place, hosts = Place(GPU, 0, "GPU-a"), tmp_path / "hosts"
    sweeper = sweeper_module.Sweeper(place, "http://server", (hosts, tmp_path / "locks"), set)
    said = []
    for _ in range(2):
        with pytest.raises(Away):
            sweeper.look()
        said.append(json.loads((hosts / f"{place.name}.json").read_text())["offer"])
    assert asked == ["GPU-a"]
    assert said[0] == {}
    assert said[1]["gpus"] == 0


class PoolOfAnotherKind:
    """A client of a server whose pool of GPUs an operator made for Kubernetes."""

    def __init__(self, *known):
        self.known, self.made = known, {}

    async def read_work_pool(self, name):
        return SimpleNamespace(type="kubernetes")

    async def create_work_queue(self, name, *, work_pool_name, priority, concurrency_limit):
        if name in self.known:
            raise ObjectAlreadyExists(None)
        self.made[name] = (priority, concurrency_limit)


def test_a_pool_of_another_kind_gets_its_queues_and_keeps_its_limits():
    client = PoolOfAnotherKind("interactive")
    asyncio.run(prepare_pool(client, [Place(GPU)]))
    assert client.made == {"batch": (10, None)}


def test_datasets_are_drawn_portably_by_workers_unless_it_is_said_otherwise(places, monkeypatch):
    from prefect.client.schemas.objects import Flow

    from flows.machines.worker import JobHere

    def environment(name):
        job = JobHere()
        with pytest.raises(AttributeError):  # of the run that is none
            job.prepare_for_flow_run(None, flow=Flow(name=name))
        return job.env

    monkeypatch.delenv("LAMINA_NUMERICS", raising=False)
    asked = environment("augment_mri_dataset")
    assert (asked["LAMINA_NUMERICS"], asked["ONEDNN_MAX_CPU_ISA"]) == ("portable", "AVX2")
    assert "LAMINA_NUMERICS" not in environment("text_to_video")
    monkeypatch.setenv("LAMINA_NUMERICS", "native")
    assert "LAMINA_NUMERICS" not in environment("augment_mri_dataset")
