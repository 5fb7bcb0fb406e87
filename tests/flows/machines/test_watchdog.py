"""The process that ends jobs that hang, apart from any server."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest

from flows.machines.watchdog import TRAINING, Patience, watched

DEADLINE_S = 120.0
HANGS = """
import ctypes, os, signal, subprocess, sys
from pathlib import Path
from flows.machines.watchdog import watched
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with watched(Path(sys.argv[1])) as dog:
    dog.says(0)
    dog.says(1.5, item="an-item", draw=2)
    print(child.pid, flush=True)
    ctypes.PyDLL(None).sleep(600)  # in C, the lock of the interpreter held
"""
LIVES = """
import time
from flows.machines.watchdog import watched
with watched() as dog:
    dog.says(30)
    for _ in range(5):
        dog.says(3)
        time.sleep(1)
    dog.says(0)
    time.sleep(4)
print("ended well")
"""


def program(text, *words):
    return subprocess.Popen(
        [sys.executable, "-c", text, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_process_that_hangs_in_c_is_ended_with_all_it_started(tmp_path):
    with program(HANGS, tmp_path / "0000.jsonl") as process:
        child = psutil.Process(int(process.stdout.readline()))
        began = time.monotonic()
        process.wait(DEADLINE_S)
        assert process.returncode == -signal.SIGKILL
        assert time.monotonic() - began > 1
        _, err = process.communicate(timeout=DEADLINE_S)
    assert psutil.wait_procs([child], timeout=DEADLINE_S)[1] == []
    assert "TimeoutError: no sign of life for 2 s: the job hung and was ended" in err
    outcome = json.loads((tmp_path / "0000.jsonl").read_text())
    assert (outcome["item"], outcome["attempt"], outcome["state"]) == ("an-item", 2, "failed")
    assert outcome["sample_s"] == outcome["seconds"] == 1.5  # it counts as GPU time


@pytest.mark.slow
def test_a_process_that_shows_signs_of_life_is_left_alone():
    with program(LIVES) as process:
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, err) == (0, "ended well\n", "")


def test_a_job_ends_well_whose_watchdog_was_killed_and_says_so_once(caplog):
    with watched() as dog:
        dog.says(30)
        dog._process.kill()
        dog._process.wait(DEADLINE_S)
        dog.says(30)
        dog.says(30)
    assert caplog.text.count("the watchdog ended") == 1


def test_a_job_has_many_times_what_it_should_take_and_never_too_little():
    assert Patience.with_job(0.1) == Patience(300.0, 300.0)
    assert Patience.with_job(10.0) == Patience(12_000.0, 12_000.0)
    assert TRAINING.step_s == 1800.0 < TRAINING.first_s
