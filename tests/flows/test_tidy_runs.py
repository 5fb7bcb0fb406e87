import os
import socket
import subprocess
import sys

import pytest

from flows._hosts import MARK, RUN_ID, SERVER, Beat, beat, beats, jobs, mark
from flows._janitor import Sighting, verdict

LOST_S = 300.0
SERVER_URL = "http://nowhere.invalid/api"


def seen(**changes):
    facts = {"run": "a", "state": "s", "age_s": 1000.0, "worker": "gpu-far-0", "silence_s": 5.0}
    return Sighting(**(facts | changes))


def far(age_s=1.0, runs=(), worker="gpu-far-0"):
    return {worker: Beat("far", worker, frozenset(runs), age_s)}


@pytest.mark.parametrize(
    ("sighting", "said"),
    [
        (seen(age_s=10.0), far()),  # too young to judge
        (seen(), far(runs=["a"])),  # its host names it
        (seen(worker=""), far(runs=["a"])),  # some host names it
        (seen(), far(runs=["a"]) | far(age_s=900.0)),  # sent twice: the host's other worker knows
        (seen(silence_s=5.0), far(age_s=1000.0)),  # its host is silent, itself it is not
        (seen(silence_s=1000.0), far(age_s=100.0)),  # silent, but not for long enough
        (seen(age_s=100.0, silence_s=None), {}),  # nobody has ever heard of it; it is young
        (seen(silence_s=20.0, worker="kubernetes"), {}),  # no host of ours; its heart beats
    ],
)
def test_a_run_that_may_be_alive_is_left_alone(sighting, said):
    assert verdict(sighting, said, LOST_S) == ""


@pytest.mark.parametrize(
    ("sighting", "said", "reason"),
    [
        (seen(), far(runs=["b"]), "far is up, and this run has no process there"),
        (seen(), far(age_s=900.0) | far(worker="gpu-far-1"), "far is up"),
        (seen(silence_s=400.0), far(age_s=900.0), "Nothing was heard of this run and of far"),
        (seen(silence_s=None), {}, "and of gpu-far-0 for 1000 s"),
        (seen(silence_s=None, worker=""), {}, "the worker that took it"),
    ],
)
def test_a_dead_run_is_told_with_the_reason(sighting, said, reason):
    assert reason in verdict(sighting, said, LOST_S)


def test_what_a_host_says_is_read_back_with_its_age(tmp_path):
    beat(tmp_path, "gpu-here-0", {"b", "a"}, {"batch": 1})
    beat(tmp_path, "cpu-here-0", set(), {})
    os.utime(tmp_path / "cpu-here-0.json", (0, 0))
    (tmp_path / "torn.json").write_text("{")
    said = beats(tmp_path)
    assert said["gpu-here-0"].runs == {"a", "b"}
    assert said["gpu-here-0"].host == socket.gethostname()
    assert said["gpu-here-0"].lanes == {"batch": 1}
    assert said["gpu-here-0"].fresh
    assert not said["cpu-here-0"].fresh
    assert set(said) == {"gpu-here-0", "cpu-here-0"}
    assert {path.name for path in tmp_path.iterdir()} == {
        "gpu-here-0.json",
        "cpu-here-0.json",
        "torn.json",
    }


def test_no_host_has_said_anything(tmp_path):
    assert beats(tmp_path / "missing") == {}


def sleeper(worker, run="run", server=SERVER_URL):
    """A process that looks like a flow run's, and has a child of its own."""
    nap = "import time; time.sleep(60)"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {nap!r}])"
    return subprocess.Popen(
        [sys.executable, "-c", program, "prefect.engine"],
        env={**os.environ, MARK: worker, RUN_ID: run, SERVER: server},
    )


def both_there():
    return [job for job in jobs(SERVER_URL) if len(job.processes) == 2]


@pytest.mark.parametrize("orphaned", [True, False])
def test_a_run_is_known_with_all_its_processes_and_can_be_ended(orphaned):
    worker = "1:0.00" if orphaned else mark()
    with sleeper(worker) as process, sleeper(worker, server="http://other.invalid/api") as other:
        try:
            while not (found := both_there()):
                assert process.poll() is None
            (job,) = found
            assert (job.run, job.has_engine, job.orphaned) == ("run", True, orphaned)
            job.kill()
            process.wait(10)
            assert jobs(SERVER_URL) == []
            assert other.poll() is None, "a run of another server is none of ours"
        finally:
            for job in [*jobs(SERVER_URL), *jobs("http://other.invalid/api")]:
                job.kill()
