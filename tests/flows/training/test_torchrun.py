"""Training under torchrun and accelerate, as a scheduler of several hosts starts it."""

import os
import subprocess
import sys

import pytest

from core.models.checkpoints import read_record

TIMEOUT_S = 500.0
LAUNCHERS = {
    "torchrun": "torch.distributed.run --nproc-per-node 2",
    "accelerate": "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 "
    "--mixed_precision no --dynamo_backend no",
}


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_processes_that_a_launcher_starts_train_and_publish_one_model(places, launcher):
    words = "train video --name joint --preset tiny --steps 2 --jump-steps 0 --batch-size 2"
    command = [sys.executable, "-m", *LAUNCHERS[launcher].split()]
    done = subprocess.run(
        [*command, "-m", "flows.commands.command_line", *words.split(), "--minutes", "0"],
        env=os.environ | {"LAMINA_MODELS": str(places / "models"), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(places / "models" / "joint")], "one of them reports"
    assert read_record(places / "models" / "joint")["name"] == "joint"
