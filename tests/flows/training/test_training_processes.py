"""Training on several processes of one machine."""

import json
import logging
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from pretended_cuda import pretended_cuda
from safetensors.torch import load_file

from core.training.feed import training_device
from flows.training import peer
from flows.training.launch import joined, number_of_processes, on_device

TINY = ("--preset", "tiny", "--steps", "3", "--jump-steps", "0", "--batch-size", "4")
COMMAND = (
    sys.executable,
    "-m",
    "flows.commands.command_line",
    "train",
    "video",
    "--name",
    "two",
    *TINY,
)


@pytest.fixture
def cores(monkeypatch):
    """Pretend to have that many cores and no GPU."""

    def pretend(number):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(number)))

    return pretend


@pytest.mark.parametrize(
    ("number", "batch_size", "expected"),
    [(1, 32, 1), (2, 32, 2), (4, 32, 4), (4, 6, 2), (3, 32, 1), (64, 32, 8), (8, 5, 1)],
)
def test_every_process_gets_an_equal_part_of_the_batch(cores, number, batch_size, expected):
    cores(number)
    assert number_of_processes(batch_size, "cpu") == expected


def test_a_process_that_was_launched_beside_others_starts_none(cores, monkeypatch):
    cores(4)
    monkeypatch.setenv("RANK", "1")
    assert number_of_processes(32, "cpu") == 1


def test_one_gpu_by_number_is_used_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert number_of_processes(32, "cuda:1") == 1
    assert number_of_processes(32, "auto") == 4


@pytest.mark.parametrize(
    ("wish", "expected"), [("auto", "cuda"), ("cuda", "cuda"), ("cuda:1", "cuda"), ("cpu", "cpu")]
)
def test_training_takes_the_device_it_is_told_to(monkeypatch, wish, expected):
    monkeypatch.delenv("RANK", raising=False)
    chosen = []
    monkeypatch.setattr(torch.cuda, "_exchange_device", lambda number: chosen.append(number) or 0)
    monkeypatch.setattr(torch.cuda, "_maybe_exchange_device", chosen.append)
    before = dict(os.environ)
    with pretended_cuda(), on_device(wish):
        assert training_device().type == expected
    assert chosen == [1 if wish == "cuda:1" else -1, 0]
    assert dict(os.environ) == before


def test_a_single_process_changes_nothing():
    before = dict(os.environ)
    with joined(1, "video", "{}", None):
        assert dict(os.environ) == before


REFUSED = ("mri", {"heads": "none", "name": "two"}), ("video", {"clips": "none", "name": "two"})


@pytest.mark.parametrize(("kind", "fields"), REFUSED)
def test_a_process_beside_the_first_is_silent_about_refused_input(
    places, monkeypatch, capfd, kind, fields
):
    monkeypatch.setattr(peer, "end_with_parent", lambda: None)
    try:
        with pytest.raises(SystemExit, match=r"^1$"):
            peer.main(kind, json.dumps(fields))
    finally:
        for room in ("core", "medical", "video"):
            logging.getLogger(room).setLevel(logging.NOTSET)
    assert capfd.readouterr().err == ""


def train(home, cores="0,1"):
    limited = ("taskset", "-c", cores, *COMMAND)
    return subprocess.run(
        limited,
        check=False,
        env=os.environ | {"LAMINA_HOME": str(home)},
        capture_output=True,
        text=True,
    )


needs_two_cores = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="needs two cores for two processes"
)


@pytest.mark.slow
@needs_two_cores
def test_two_processes_publish_one_model_and_leave_nothing_behind(tmp_path):
    done = train(tmp_path)
    assert done.returncode == 0, done.stderr
    model = tmp_path / "models" / "two"
    assert str(model) in done.stdout
    assert f"tensorboard --logdir {tmp_path / 'training' / 'two' / 'log'}" in done.stderr
    assert "arning" not in done.stderr
    weights = load_file(model / "weights.safetensors")
    assert all(torch.isfinite(weight).all() for weight in weights.values())
    state = json.loads((tmp_path / "training/two/flow/checkpoint/state.json").read_text())
    assert state["step"] == 3
    assert not peers(tmp_path)


@pytest.mark.slow
@needs_two_cores
def test_the_others_end_when_the_first_is_killed(tmp_path):
    command = [part if part != "3" else "100000" for part in COMMAND]
    first = subprocess.Popen(
        command,
        env=os.environ | {"LAMINA_HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: peers(tmp_path), 60)
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait_for(lambda: not peers(tmp_path), 30)


def peers(home):
    """Processes that train beside the first one of this state folder."""
    found = []
    for process in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/environ", "rb") as file:
                ours = f"LAMINA_HOME={home}\0".encode() in file.read()
            with open(f"/proc/{process}/cmdline", "rb") as file:
                if ours and b"flows.training.peer" in file.read():
                    found.append(process)
        except OSError:
            continue
    return found


def wait_for(condition, limit_s):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
