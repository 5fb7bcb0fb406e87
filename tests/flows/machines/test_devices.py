import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock, Timeout

from flows.jobs.job_stages import check
from flows.jobs.operations import OPERATIONS
from flows.machines import devices as devices_module
from flows.machines.devices import choose_device, gpu_memory_gb, slot
from video.request import VideoRequest

GPU = torch.device("cuda:0")


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A pretended GPU, and the lock file of its slot."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    properties = SimpleNamespace(uuid="pretended", total_memory=500_000_000)
    monkeypatch.setattr(
        devices_module.torch.cuda, "get_device_properties", lambda device: properties
    )
    return tmp_path / "lamina-gpu-pretended.lock"


def free(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0, is_singleton=False):
            return True
    except Timeout:
        return False


def test_a_run_too_large_for_its_gpu_is_refused_before_its_prompt_is_read(
    gpu, places, monkeypatch
):
    assert gpu_memory_gb(torch.device("cpu")) == []
    monkeypatch.setattr(devices_module, "choose_device", lambda wish: GPU)
    with pytest.raises(
        ValueError, match=r"needs 1 GPU of 0\.8 GB.*one offers 0\.5 GB of GPU memo"
    ):
        check.fn(
            OPERATIONS["text_to_video"], VideoRequest(prompt="a red circle", model="tiny-video")
        )


def test_one_job_at_a_time_holds_a_gpu(gpu):
    with slot(GPU):
        assert not free(gpu)
    assert free(gpu)


def test_a_job_that_fails_gives_its_gpu_back(gpu):
    with pytest.raises(RuntimeError, match="out of memory"), slot(GPU):
        raise RuntimeError("out of memory")
    assert free(gpu)


def test_a_job_that_is_killed_gives_its_gpu_back(gpu):
    program = (
        "import sys; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(gpu)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        assert not free(gpu)
        holder.kill()
        holder.wait()
        assert free(gpu)


def test_a_cpu_needs_no_turn(gpu):
    with slot(torch.device("cpu")), slot(torch.device("cpu")):
        assert not gpu.exists()


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(devices_module.torch.cuda, "device_count", lambda: 1)
    assert choose_device("cuda:0") == GPU
    with pytest.raises(
        ValueError, match=r"LAMINA_DEVICE=cuda:1: this machine offers 1 .*; set it"
    ):
        choose_device("cuda:1")


def test_portable_arithmetic_takes_no_gpu(monkeypatch):
    monkeypatch.setenv("LAMINA_NUMERICS", "portable")
    monkeypatch.setattr(devices_module.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices_module.torch.cuda, "device_count", lambda: 1)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(ValueError, match="set the device to cpu or auto"):
        choose_device("cuda")


def test_auto_takes_a_gpu_only_where_there_is_one(monkeypatch):
    for there, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(devices_module.torch.cuda, "is_available", lambda there=there: there)
        assert choose_device("auto").type == kind
    assert choose_device("cpu").type == "cpu"
