"""What is killed while it works: after each, nothing is lost and every place is free again."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from stacks import RUN_S, START_S, WINDOW_S, Stack, lines, wait

from flows.machines.hosts import MARK, RUN_ID, SERVER, Beat, beat, beats
from flows.stack.api import Run

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LEASE_S = 300.0  # Prefect's own, for a run under way


@pytest.fixture(scope="module")
def stack(tmp_path_factory, database):
    stack = Stack(tmp_path_factory.mktemp("survival"), database())
    yield stack
    stack.end()


@pytest.mark.survival
@pytest.mark.usefixtures("all_free")
def test_a_killed_engine_is_noticed_and_its_gpu_is_free(stack, tmp_path):
    run, engine = stack.begin(tmp_path / "run")
    engine.kill()
    wait(lambda: stack.state(run) == "CRASHED", WINDOW_S)


@pytest.mark.survival
@pytest.mark.usefixtures("all_free")
def test_a_killed_worker_takes_its_engine_along_and_comes_back(stack, tmp_path):
    run, engine = stack.begin(tmp_path / "run")
    worker = engine.parent()
    worker.kill()
    wait(lambda: not engine.is_running(), WINDOW_S)
    wait(lambda: stack.state(run) == "CRASHED", WINDOW_S)
    assert lines(tmp_path / "run" / "ends") == []


@pytest.mark.survival
@pytest.mark.usefixtures("all_free")
def test_worker_and_engine_killed_at_once_leave_no_run_behind(stack, tmp_path):
    run, engine = stack.begin(tmp_path / "run")
    worker = engine.parent()
    engine.suspend()  # so that the worker cannot report it
    worker.kill()
    engine.kill()
    wait(lambda: stack.state(run) == "CRASHED", WINDOW_S)


@pytest.mark.survival
@pytest.mark.usefixtures("all_free")
def test_a_run_outlives_the_server(stack, tmp_path):
    run, _ = stack.begin(tmp_path / "run")
    stack.child("flows.stack.server").kill()
    (tmp_path / "run" / "go").touch()
    wait(lambda: lines(tmp_path / "run" / "ends"), WINDOW_S)
    wait(stack.server.healthy, START_S)
    wait(lambda: stack.state(run) == "COMPLETED", 2 * WINDOW_S)
    assert len(lines(tmp_path / "run" / "starts")) == 1


@pytest.mark.survival
def test_the_same_request_ten_times_at_once_is_one_run(stack, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "go").touch()
    with ThreadPoolExecutor(10) as together:
        asked = together.map(lambda _: stack.ask(tmp_path / "run", key="the same"), range(10))
        runs = {run.id for run in asked}
    assert len(runs) == 1
    run = Run(runs.pop(), "survive", "", "")
    wait(lambda: stack.state(run) == "COMPLETED", RUN_S)
    assert len(lines(tmp_path / "run" / "ends")) == 1


@pytest.mark.usefixtures("all_free")
def test_a_suspended_run_resumed_at_once_ends_well_and_spares_the_worker(stack, tmp_path):
    workers = stack.gpu_workers()
    run = stack.ask(tmp_path / "run", suspend=True)
    wait(lambda: stack.state(run) == "PAUSED", RUN_S)
    (tmp_path / "run" / "go").touch()
    stack.server._answer(f"/flow_runs/{run.id}/resume", {})
    wait(lambda: stack.state(run) == "COMPLETED", RUN_S)
    assert len(lines(tmp_path / "run" / "starts")) == 2
    assert len(lines(tmp_path / "run" / "ends")) == 1
    assert stack.gpu_workers() == workers


@pytest.mark.usefixtures("all_free")
def test_an_orphan_is_ended_and_its_run_closed(stack, tmp_path):
    run = stack.pretend(tmp_path, "gpu-of-a-worker-that-is-gone-0")
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)", "prefect.engine"],
        env={
            **os.environ,
            MARK: "1:0.00",
            RUN_ID: run.id,
            SERVER: f"{stack.server.address}/api",
        },
    )
    with orphan:
        wait(lambda: orphan.poll() is not None, WINDOW_S)
    wait(lambda: stack.state(run) == "CRASHED", WINDOW_S)


@pytest.mark.usefixtures("all_free")
def test_the_killed_holder_of_a_lease_keeps_nobody_waiting(stack, tmp_path):
    alone = stack.deploy("survive", concurrency_limit=1)
    run, engine = stack.begin(tmp_path / "run", deployment=alone)
    after = stack.ask(tmp_path / "after", deployment=alone)
    (tmp_path / "after" / "go").touch()
    worker = engine.parent()
    engine.suspend()  # so that nobody gives the lease back
    worker.kill()
    engine.kill()
    wait(lambda: stack.state(run) == "CRASHED", WINDOW_S)
    wait(lambda: stack.state(after) == "COMPLETED", RUN_S + LEASE_S)


@pytest.mark.usefixtures("all_free")
def test_a_data_loader_with_processes_works_within_a_run(stack, tmp_path):
    run = stack.ask(tmp_path / "run", deployment=stack.deploy("load"))
    wait(lambda: stack.server.read(run).ended, START_S)  # its processes import torch anew
    assert stack.state(run) == "COMPLETED"
    assert lines(tmp_path / "run" / "loaded")[0].split()[1:] == ["28"]


@pytest.mark.usefixtures("all_free")
def test_the_janitor_closes_what_no_host_knows_and_leaves_what_waits(stack, tmp_path):
    hosts = stack.folder / "outputs" / ".hosts"
    dead, alive = (stack.pretend(tmp_path, "gpu-far-0") for _ in range(2))
    waiting = stack.pretend(tmp_path, "gpu-far-0", state="PAUSED")
    young = time.monotonic() + 35.0
    wait(lambda: time.monotonic() > young, 60.0)
    janitor = stack.server.start("tidy_runs", {"request": {"second_look_s": 1}})

    def ended() -> bool:
        said: dict[str, Beat] = beats(hosts)
        assert {"cpu", "gpu"} <= {worker.partition("-")[0] for worker in said}
        beat_elsewhere(hosts, alive.id)
        return stack.server.read(janitor).ended

    wait(ended, RUN_S + WINDOW_S)
    assert stack.state(janitor) == "COMPLETED"
    assert [stack.state(run) for run in (dead, alive, waiting)] == ["CRASHED", "RUNNING", "PAUSED"]
    for run in (alive, waiting):
        state = {"state": {"type": "CANCELLED"}, "force": True}
        stack.server._answer(f"/flow_runs/{run.id}/set_state", state)
    (hosts / "gpu-far-0.json").unlink()


def beat_elsewhere(hosts: Path, run: str) -> None:
    """Say that one run is alive on another host."""
    beat(hosts, "gpu-far-0", {run}, {})
    path = hosts / "gpu-far-0.json"
    said = json.loads(path.read_text()) | {"host": "far"}
    temporary = hosts / ".part-far"
    temporary.write_text(json.dumps(said))
    temporary.replace(path)
