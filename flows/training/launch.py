"""Training on several processes of one machine: one per GPU, or one per core of a CPU.

The network is small: on a CPU, processes of one thread that average their gradients are faster
than one process of many threads. This process is the first of them; the others run the same
request beside it and end with it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import gcd
from typing import Any

import torch
from accelerate.state import AcceleratorState, PartialState

from flows.settings.environment import child_environment
from flows.settings.settings import Settings

HOST = "127.0.0.1"
MOST_ON_CPU = 8
CPU_ALONE = "ACCELERATE_USE_CPU"
RENDEZVOUS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def number_of_processes(batch_size: int, device: str) -> int:
    """How many processes share a batch: one per GPU or core, each with an equal part of it.

    Args:
        batch_size: Of all processes together.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; a numbered GPU is used alone.
    """
    if "RANK" in os.environ or device.startswith("cuda:"):
        return 1
    gpus = torch.cuda.device_count() if device != "cpu" else 0
    available = gpus or min(MOST_ON_CPU, len(os.sched_getaffinity(0)))
    return gcd(batch_size, available) if batch_size % available else available


@contextmanager
def on_device(device: str) -> Iterator[None]:
    """This device as the one that training takes, for as long as the block lasts.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; what is left open, accelerate chooses.
    """
    forbid_gpus = device == "cpu" and CPU_ALONE not in os.environ
    if forbid_gpus:
        os.environ[CPU_ALONE] = "true"
    number = int(device[5:]) if device.startswith("cuda:") and "RANK" not in os.environ else -1
    try:
        with torch.cuda.device(number):  # a negative one changes nothing
            yield
    finally:
        if forbid_gpus:
            del os.environ[CPU_ALONE]


def follows() -> bool:
    """Whether torchrun or accelerate started this process beside a first one, which leads."""
    return os.environ.get("RANK", "0") != "0"


@contextmanager
def joined(count: int, kind: str, request: str, settings: Settings) -> Iterator[None]:
    """This process as the first of ``count`` that train together, for as long as the block lasts.

    Args:
        count: Number of processes; 1 changes nothing.
        kind: ``"video"`` or ``"mri"``.
        request: The training request as JSON.
        settings: Places, the same for all.
    """
    if count == 1:
        yield
        return
    threads = torch.get_num_threads()
    group = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(_free_port()),
        "OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // count)),
    }
    reading, lifeline = os.pipe()
    others: list[subprocess.Popen[Any]] = []
    try:
        for rank in range(1, count):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            others.append(
                subprocess.Popen(
                    [sys.executable, "-m", "flows.training.peer", kind, request],
                    stdin=reading,
                    stdout=subprocess.DEVNULL,
                    env=child_environment(settings, {**group, **place}),
                    start_new_session=True,
                )
            )
        os.environ.update({**group, "RANK": "0", "LOCAL_RANK": "0"})
        torch.set_num_threads(int(group["OMP_NUM_THREADS"]))
        yield
    finally:
        os.close(reading)
        os.close(lifeline)
        _leave(threads)
        for other in others:
            _end(other)


def _leave(threads: int) -> None:
    """Make this process a single one again."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    AcceleratorState._reset_state()
    PartialState._reset_state()
    for name in RENDEZVOUS:
        os.environ.pop(name, None)
    torch.set_num_threads(threads)


def _end(process: subprocess.Popen[Any], patience_s: float = 15.0) -> None:
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as ear:
        ear.bind((HOST, 0))
        return ear.getsockname()[1]
