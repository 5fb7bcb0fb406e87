"""A process that is killed outright, SIGKILL, while it draws: another one goes on to its bytes."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from core.progress import RESUMED
from video.change_request import FillRequest
from video.engines.places import states_folder
from video.files.clip import Clip, write_mp4
from video.operations.table import OPERATIONS

STEPS, AT = 4, 3
DRAWN_AND_KILLED = f"""
import os, signal, sys, time
import torch
from video.change_request import FillRequest
from video.engines.places import states_folder
from video.operations.table import OPERATIONS

def told(done, total, estimate):
    if done == {AT}:
        until = time.monotonic() + 20
        while not list(states_folder().glob("*.safetensors")) and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(int(sys.argv[2]))
request, operation = FillRequest.model_validate_json(sys.argv[1]), OPERATIONS["fill_video"]
model = operation.source(request).load("cpu")
operation.draw(request, operation.prepare(request), model, told)
"""


@pytest.fixture
def request_(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    frames[..., 0] = np.arange(32) * 8
    frames[:, 8:16, 8:16] = 200
    clip = str(write_mp4(Clip(frames, 8.0), tmp_path / "clip.mp4"))
    return FillRequest.model_validate({"clip": clip, "left": 8, "steps": STEPS})


def test_a_process_that_was_killed_outright_is_gone_on_from_to_the_same_bytes(request_, tmp_path):
    operation = OPERATIONS["fill_video"]
    threads = str(torch.get_num_threads())  # by others no state is gone on from
    words = [sys.executable, "-c", DRAWN_AND_KILLED, request_.model_dump_json(), threads]
    killed = subprocess.run(words, env=dict(os.environ), timeout=80, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(states_folder().glob("*.safetensors"))
    model, told = operation.source(request_).load("cpu"), []

    def written(name):
        news = told.append
        clip = operation.draw(
            request_, operation.prepare(request_), model, lambda *each: news(each)
        )
        operation.write(request_, clip, tmp_path / name, overwrite=False)
        return clip.facts.get("resumed_at_step", 0), (tmp_path / name).read_bytes()

    resumed, again = written("again.mp4")
    assert 0 < resumed <= AT
    assert told[0] == (resumed, STEPS, RESUMED)
    told.clear()
    resumed, unbroken = written("unbroken.mp4")  # the state went with the clip that stands
    assert resumed == 0
    assert [each[0] for each in told] == list(range(1, STEPS + 1))
    assert again == unbroken
