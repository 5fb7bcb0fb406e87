"""Warm Ray workers inside a shard: the same bits, and no more lost than one sample."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from flows._batch_items import items_of
from flows._batch_requests import ClipBatchRequest
from flows._batch_start import plan_batch, start_batch
from flows._journal import read_lines
from flows._manifest import Batch, intact
from flows._settings import read_settings

DEADLINE_S = 300.0
SMALL = {"num_frames": 4, "height": 32, "width": 32, "steps": 1, "model": "tiny-video"}


def prompts(count):
    return "\n".join(f"a red circle moves left {'very ' * n}slowly" for n in range(count))


def planned(request):
    batch = Batch.named(read_settings(), "default", request.name)
    batch.root.mkdir(parents=True, exist_ok=True)
    start_batch(batch, request, plan_batch(batch, request, items_of(request)))
    return batch


def started(batch, ray=""):
    """The shard in a process of its own, as a worker or the command line starts it."""
    words = [sys.executable, "-m", "flows._shard", "default", batch.root.name, "0", "1"]
    environment = os.environ | {"LAMINA_RAY": ray, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)


def ended_well(shard):
    _, said = shard.communicate(timeout=DEADLINE_S)
    assert shard.returncode == 0, said
    return said


def digests(batch):
    """Address to the digests of what was made, without what tells times."""
    found = {item.address: intact(batch, item) for item, _ in batch.items()}
    assert all(found.values()), "every item stands, whole"
    return {
        address: {role: said["sha256"] for role, said in files.items() if role != "record"}
        for address, files in found.items()
    }


def samplers(shard):
    """Processes of this shard's warm workers."""
    found = []
    for child in psutil.Process(shard.pid).children(recursive=True):
        try:
            if child.name().startswith("ray::Sampler"):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def until(holds, what):
    deadline = time.monotonic() + DEADLINE_S
    while not (found := holds()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


@pytest.mark.integration
def test_items_of_two_workers_are_those_of_none(places):
    pytest.importorskip("ray")
    batches = [planned(ClipBatchRequest(name=f"b-{n}", prompts=prompts(6), **SMALL)) for n in "xy"]
    ended_well(started(batches[0]))
    shard = started(batches[1], ray="2")
    ended_well(shard)
    alone, spread = map(digests, batches)
    assert alone == spread
    assert len(list(read_lines(batches[1].shard_file(0)))) == 6
