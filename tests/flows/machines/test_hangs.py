"""Computations that hang in C and ignore signals: each is ended from outside, its GPU is free."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from clips import SMALL
from stacks import RUN_S, START_S, Stack, lines, slowed, wait

from flows.stack.api import Run
from medical.files.nifti import Volume, write_volume

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HANGS_FOR_S = 8.0
END_S = 60.0  # until a hung process is ended: its own patience, and asking the server first
FREE_S = 20.0  # from the cancellation until the GPU has the next run, on a quiet machine
TRAINING = {"name": "never", "preset": "tiny", "steps": 2, "jump_steps": 0, "batch_size": 2}


@pytest.fixture(scope="module")
def stack(tmp_path_factory, database, tiny_models):
    folder = tmp_path_factory.mktemp("hangs")
    places = {
        "HANGS": str(folder / "hangs"),
        "HANGS_FOR_S": str(HANGS_FOR_S),
        "LAMINA_MODELS": str(tiny_models),
    }
    stack = Stack(folder, {**places, **database()})
    yield stack
    stack.end()


def hung(stack: Stack, flow: str, parameters: dict) -> tuple[Run, psutil.Process]:
    """A run of a flow that hangs while it holds its GPU, and the process that does."""
    note = stack.folder / "hangs"
    note.unlink(missing_ok=True)
    deployment = stack.deploy(flow, "hanging")
    body = {"parameters": parameters}
    answer = stack.server._answer(f"/deployments/{deployment}/create_flow_run", body)
    run = Run(answer["id"], flow, "", "")
    wait(lambda: lines(note) or stack.server.read(run).ended, START_S)
    assert lines(note), stack.server.read(run)
    return run, psutil.Process(int(lines(note)[0].split()[0]))


def request_of(flow: str, folder: Path) -> dict:
    if flow == "text_to_video":
        return {"request": {"prompt": "a red circle", **SMALL}}
    if flow == "super_resolve_mri":
        data = torch.zeros(12, 10, 4)
        data[3:9, 3:8, 1:3] = 300.0
        write_volume(Volume(data, np.diag([1.0, 1.0, 4.0, 1.0])), folder / "head.nii.gz")
        return {"request": {"scan": "head.nii.gz", "model": "tiny-mri", "samples": 1, "steps": 1}}
    return {"request": TRAINING}


@pytest.mark.usefixtures("all_free")
@pytest.mark.parametrize("flow", ["text_to_video", "super_resolve_mri", "train_video"])
def test_a_hung_computation_is_ended_and_its_run_says_what_to_do(stack, flow):
    run, process = hung(stack, flow, request_of(flow, stack.folder))
    family = [process, *process.children(recursive=True)]
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(1)
    assert process.is_running()  # it takes no notice
    assert psutil.wait_procs(family, timeout=HANGS_FOR_S + END_S)[1] == []
    wait(lambda: stack.server.read(run).ended, END_S)
    ended = stack.server.read(run)
    assert (ended.state, ended.name) == ("FAILED", "Failed")
    assert f"no sign of life for {HANGS_FOR_S:.0f} s" in ended.message
    assert "its GPU is free. Press Retry" in ended.message
    (page,) = stack.server.artifacts(run, "markdown")
    assert ended.message in page["data"]
    time.sleep(5)  # the worker has seen its process end meanwhile
    assert stack.server.read(run).state == "FAILED"


@pytest.mark.usefixtures("all_free")
def test_a_canceled_run_that_ignores_it_frees_its_gpu_in_seconds(stack, tmp_path):
    run, engine = stack.begin(tmp_path / "deaf", deaf=True, wait_s=600)
    other, _ = stack.begin(tmp_path / "other", wait_s=600)
    after = stack.ask(tmp_path / "after")
    began = time.monotonic()
    stack.cancel(run)
    wait(lambda: not engine.is_running(), RUN_S)
    wait(lambda: lines(tmp_path / "after" / "held"), RUN_S)
    assert time.monotonic() - began < slowed(FREE_S)
    for notes in ("other", "after"):
        (tmp_path / notes / "go").touch()
    wait(lambda: stack.state(run) == "CANCELLED", RUN_S)
    wait(lambda: {stack.state(other), stack.state(after)} == {"COMPLETED"}, RUN_S)
    held = [lines(tmp_path / notes / "held")[0].split()[1] for notes in ("deaf", "after")]
    assert held[0] == held[1]
