"""A training with a time budget, on a real clock and in a process of its own."""

import os
import subprocess
import sys
import time

import pytest
from stacks import slowed

from core.models.checkpoints import find_model, read_record
from core.models.installed import load_folder
from flows.jobs.operations import OPERATIONS
from flows.jobs.pipeline import make
from video.request import VideoRequest

pytestmark = pytest.mark.slow

MINUTES = 1.0
STEPS, JUMPS = 1_000_000, 100_000
FIELDS = {"minutes": MINUTES, "steps": STEPS, "jump-steps": JUMPS, "batch-size": 4}


def test_a_training_is_over_within_its_minutes_and_its_model_generates(places, monkeypatch):
    monkeypatch.setenv("LAMINA_MODELS", str(places / "models"))
    words = [word for name, value in FIELDS.items() for word in (f"--{name}", str(value))]
    command = ["train", "video", "--name", "timed", "--preset", "tiny", *words]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "flows.commands.command_line", *command],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stderr[-2000:]
    assert 0.4 * 60 * MINUTES < seconds < slowed(60 * MINUTES)
    assert done.stdout.strip() == str(places / "models" / "timed")
    assert "flow: " in done.stderr
    assert "jumps: " in done.stderr
    record = read_record(find_model("timed", "video"))
    assert record["objective"]
    request = VideoRequest(
        prompt="a red circle moves left", num_frames=4, height=32, width=32, model="timed"
    )
    work = OPERATIONS["text_to_video"]
    model = load_folder(find_model("timed", work.kind), "cpu")
    paths = make(work, request, places / "clip.mp4", model)
    assert work.verify(request, paths)
