"""The real stack: server, worker and flow runs as processes, from start to nothing left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import psutil
import pytest
import torch

from flows.machines.hosts import RUN_ID
from flows.requests.flow_requests import MODELS
from flows.stack.api import Run, Server
from medical.files.nifti import read_volume, write_volume
from medical.files.volume import Volume
from video.files.clip import read_mp4

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[3]
PATIENCE_S = 400.0
VIDEO = {"prompt": "two red circles move left", "model": "tiny-video", "num_frames": 4, "seed": 7}


class Lamina:
    """``lamina up`` in a process of its own, with a state folder of its own."""

    def __init__(self, folder: Path, models: Path, more: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "LAMINA_HOME": str(folder / "state"),
            "LAMINA_OUTPUTS": str(folder / "outputs"),
            "LAMINA_MODELS": str(models),
            "LAMINA_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
            **more,
        }

    def up(self) -> "Lamina":
        self.process = self.start("up")
        state = self.folder / "state" / "stack.json"
        wait(lambda: self.process.poll() is not None or self.wrote(state))
        assert self.process.poll() is None, self.process.communicate()
        self.server = Server(json.loads(state.read_text())["address"])
        self.family = psutil.Process(self.process.pid).children(recursive=True)
        return self

    def wrote(self, state: Path) -> bool:
        return state.exists() and json.loads(state.read_text())["pid"] == self.process.pid

    def end(self, number: int) -> tuple[str, str]:
        self.process.send_signal(number)
        return self.process.communicate(timeout=PATIENCE_S)

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "flows.commands.command_line", *words]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, flow: str, request: dict) -> tuple[int, str, str]:
        path = self.folder / f"{flow}.json"
        path.write_text(json.dumps(request))
        process = self.start("run", flow, "--request", str(path))
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err

    def tasks(self, run: Run) -> list[dict]:
        wanted = {"flow_run_id": {"any_": [run.id]}}
        return self.server._answer("/task_runs/filter", {"task_runs": wanted})

    def everyone(self) -> list[psutil.Process]:
        alive = [process for process in self.family if process.is_running()]
        below = [child for process in alive for child in process.children(recursive=True)]
        return [*alive, *below]


def wait(ready, seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)


def gone(processes: list[psutil.Process], seconds: float = 40.0) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=seconds)[1]


def schedules(server: Server) -> list[dict]:
    return server._answer("/deployments/name/generate_clips/generate_clips")["schedules"]


def switch_on(server: Server) -> None:
    (schedule,) = schedules(server)
    assert not schedule["active"]
    request = Request(
        f"{server.address}/api/deployments/{schedule['deployment_id']}/schedules/{schedule['id']}",
        data=b'{"active": true}',
        headers={"Content-Type": "application/json"},
        method="PATCH",
    )
    urlopen(request).close()


@pytest.fixture(scope="module")
def lamina(tiny_models, tmp_path_factory, database):
    folder = tmp_path_factory.mktemp("stack")
    lamina = Lamina(folder, tiny_models, database()).up()
    yield lamina
    out, err = lamina.end(signal.SIGINT)
    assert lamina.process.returncode == 130, err
    assert "Stopped" in err
    assert f"user interface  {lamina.server.address}\n" in out
    assert f"gallery         {lamina.server.address}/gallery/\n" in out
    assert gone(lamina.family) == []
    assert not (folder / "state" / "stack.json").exists()


def test_every_flow_is_deployed(lamina):
    assert sorted(lamina.server.flows()) == sorted(MODELS)


def test_the_worker_makes_a_clip(lamina):
    run = lamina.server.start("text_to_video", {"request": VIDEO, "output_name": "../A clip"})
    wait(lambda: lamina.server.read(run).ended)
    run = lamina.server.read(run)
    assert run.state == "COMPLETED", run.message
    folder = lamina.folder / "outputs" / "default" / "text_to_video" / f"a-clip-{run.id[:8]}"
    (video,) = folder.glob("*.mp4")
    assert len(read_mp4(video).frames) == 4
    record = json.loads(video.with_suffix(".json").read_text())
    assert record["request"]["seed"] == 7
    assert set(record["timings_s"]) == {"prepare", "sample", "encode", "verify"}
    (page,) = lamina.server.artifacts(run, "markdown")
    assert "](data:image/webp;base64," in page["data"]
    assert len(page["data"]) < 200_000
    assert lamina.server.progress(run)[0] == 100.0
    stages = {task["name"].rpartition("-")[0] for task in lamina.tasks(run)}
    assert stages >= {"check", "draw", "publish", "verify", "report"}
    assert not any((lamina.folder / "state" / "work").iterdir())


def test_the_worker_restores_a_scan_named_by_a_relative_path(lamina):
    data = torch.zeros(12, 10, 4)
    data[3:9, 3:8, 1:3] = 300.0
    write_volume(Volume(data, np.diag([1.0, 1.0, 4.0, 1.0])), lamina.folder / "head.nii.gz")
    asked = {"scan": "head.nii.gz", "model": "tiny-mri", "samples": 2, "steps": 1}
    code, out, err = lamina.run("super_resolve_mri", asked)
    assert code == 0, err
    (folder,) = (lamina.folder / "outputs" / "default" / "super_resolve_mri").iterdir()
    files = {path.name for path in folder.iterdir()}
    maps = {"head.nii.gz", "head_std.nii.gz", "head_consistency.nii.gz"}
    assert files == maps | {"head.json", "head.png"}
    assert {str(folder / name) for name in files} <= set(out.split())
    assert read_volume(folder / "head.nii.gz").shape == (12, 10, 16)
    run = Run(out.rsplit("/", 1)[1].strip(), "super_resolve_mri", "", "")
    (page,) = lamina.server.artifacts(run, "markdown")
    assert "](data:image/webp;base64," in page["data"]
    assert len(page["data"]) < 200_000


def test_input_that_a_run_refuses_is_code_2_and_leaves_nothing(lamina):
    asked = {"scan": "no.nii.gz", "model": "tiny-mri"}
    code, _, err = lamina.run("super_resolve_mri", asked)
    assert code == 2
    assert "no.nii.gz does not exist: a scan is read from a file; check the path." in err
    assert "Traceback" not in err
    outputs = lamina.folder / "outputs" / "default" / "super_resolve_mri"
    assert not list(outputs.glob("no-*/*"))


def test_training_goes_to_the_batch_queue_and_its_log_reaches_the_run(lamina):
    asked = {"name": "mine", "preset": "tiny", "steps": 1, "jump_steps": 1, "batch_size": 2}
    run = lamina.server.start("train_video", {"request": asked})
    wait(lambda: lamina.server.read(run).ended)
    assert lamina.server.read(run).state == "COMPLETED", lamina.server.read(run).message
    wait(lambda: any("checkpoint written" in line for line in lamina.server.logs(run, 100)), 30)
    asked = {"artifacts": {"flow_run_id": {"any_": [run.id]}}}
    shown = [
        str(artifact["data"]) for artifact in lamina.server._answer("/artifacts/filter", asked)
    ]
    (page,) = [text for text in shown if text.startswith("## How training goes")]
    assert page.count("](data:image/webp;base64,") == 2
    assert "| stage | jumps |" in page  # the page of the first stage, written anew
    assert any("| jumps | 1 step in" in text for text in shown)


def test_a_canceled_run_ends_with_its_process(lamina):
    asked = {"name": "canceled", "preset": "tiny", "steps": 100_000, "batch_size": 2}
    run = lamina.server.start("train_video", {"request": asked})
    wait(lambda: lamina.server.progress(run)[1] != "")
    engines = [p for p in lamina.everyone() if "prefect.engine" in " ".join(p.cmdline())]
    (process,) = [p for p in engines if p.environ().get(RUN_ID) == run.id]  # not the janitor's
    state = {"state": {"type": "CANCELLING"}}
    lamina.server._answer(f"/flow_runs/{run.id}/set_state", state)
    assert gone([process]) == []
    wait(lambda: lamina.server.read(run).state == "CANCELLED")


def test_a_second_stack_in_the_same_state_folder_is_refused(lamina):
    second = lamina.start("up")
    _, err = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "in use by a running stack" in err


def test_the_prefect_file_is_valid_for_prefects_own_command(lamina):
    deploy = ["deploy", "--all", "--prefect-file", str(ROOT / "infra" / "prefect.yaml")]
    environment = {**lamina.environment, "PREFECT_API_URL": f"{lamina.server.address}/api"}
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *deploy],
        cwd=ROOT,
        env=environment | {"PREFECT_HOME": str(lamina.folder / "prefect")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer = lamina.server._answer("/deployments/filter", {})
    assert {d["name"]: d["entrypoint"] for d in answer} == {
        flow: f"flows.{flow}.{flow}" for flow in MODELS
    }
    assert all(not d["pull_steps"] for d in answer)


def test_a_killed_stack_leaves_nothing_and_the_next_one_closes_its_books(
    tiny_models, tmp_path_factory, database
):
    lamina = Lamina(tmp_path_factory.mktemp("killed"), tiny_models, database()).up()
    long = {"name": "long", "preset": "tiny", "steps": 100_000, "batch_size": 2}
    run = lamina.server.start("train_video", {"request": long})
    wait(lambda: lamina.server.progress(run)[1] != "")
    switch_on(lamina.server)
    everyone = lamina.everyone()
    assert len(everyone) >= 3  # server, worker, flow run
    lamina.end(signal.SIGKILL)
    assert gone(everyone) == []
    lamina.up()
    try:
        wait(lambda: lamina.server.read(run).state == "CRASHED", 60)
        assert schedules(lamina.server)[0]["active"], "a person switched it on"
        again = lamina.server.start("train_video", {"request": long})
        wait(lambda: lamina.server.progress(again)[1] != "")
        everyone = lamina.everyone()
    finally:
        lamina.end(signal.SIGTERM)
    assert lamina.process.returncode == 128 + signal.SIGTERM
    assert gone(everyone, 5.0) == []
