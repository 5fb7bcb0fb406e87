"""A real stack with two pretended GPUs, for tests that kill what runs on it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import psutil

from flows._api import Run, Server
from flows._hosts import jobs

START_S = 300.0
RUN_S = 90.0  # from asking for a run until its flow is under way, on a busy machine
WINDOW_S = 60.0  # within which a death is noticed and its place is free again


class Stack:
    """``lamina up`` with two pretended GPUs, and the flow ``survive`` deployed on it."""

    def __init__(self, folder: Path, more: dict[str, str]) -> None:
        self.folder = folder
        environment = {
            **os.environ,
            "LAMINA_HOME": str(folder / "state"),
            "LAMINA_OUTPUTS": str(folder / "outputs"),
            "LAMINA_DEVICE": "cpu",
            "LAMINA_GPUS": "2",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '/')}",
            **more,
        }
        self.log = (folder / "up.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows.command_line", "up"],
            cwd=folder,
            env=environment,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        state = folder / "state" / "stack.json"
        try:
            wait(lambda: state.exists() or self.process.poll() is not None, START_S)
            assert self.process.poll() is None, (folder / "up.log").read_text()
        except BaseException:
            self.process.terminate()
            raise
        self.server = Server(json.loads(state.read_text())["address"])
        self.deployment = self.deploy("survive")

    def deploy(self, flow: str, module: str = "survivor", **more) -> str:
        """Deploy a flow of a module beside this one; the deployment's identity."""
        deployment = {
            "name": "-".join([module, flow, *more]),
            "flow_id": self.server._answer("/flows/", {"name": flow})["id"],
            "entrypoint": f"{module}.{flow}",
            "work_pool_name": "gpu",
            "work_queue_name": "interactive",
            **more,
        }
        return self.server._answer("/deployments/", deployment)["id"]

    def ask(self, notes: Path, key: str = "", deployment: str = "", **parameters) -> Run:
        """Ask for a run."""
        notes.mkdir(exist_ok=True)
        body = {"parameters": {"folder": str(notes), **parameters}}
        body |= {"idempotency_key": key} if key else {}
        path = f"/deployments/{deployment or self.deployment}/create_flow_run"
        return Run(self.server._answer(path, body)["id"], "survive", "", "")

    def pretend(self, notes: Path, worker: str, state: str = "RUNNING") -> Run:
        """A run that the server believes to be with a worker, and that no process serves."""
        body = {"parameters": {"folder": str(notes)}, "state": {"type": state}}
        path = f"/deployments/{self.deployment}/create_flow_run"
        run = Run(self.server._answer(path, body)["id"], "survive", "", "")
        request = Request(
            f"{self.server.address}/api/flow_runs/{run.id}/labels",
            data=json.dumps({"prefect.worker.name": worker}).encode(),
            headers={"Content-Type": "application/json"},
            method="PATCH",
        )
        urlopen(request).close()
        return run

    def begin(self, notes: Path, **parameters) -> tuple[Run, psutil.Process]:
        """Ask for a run and wait until it holds its GPU; its engine, too."""
        run = self.ask(notes, **parameters)
        wait(lambda: lines(notes / "held"), RUN_S)
        return run, psutil.Process(int(lines(notes / "held")[-1].split()[0]))

    def cancel(self, run: Run) -> None:
        """Ask for a run to be cancelled, as the button does."""
        state = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        self.server._answer(f"/flow_runs/{run.id}/set_state", state)

    def child(self, words: str) -> psutil.Process:
        """The server or a worker: the child whose command line has these words."""
        children = psutil.Process(self.process.pid).children()
        (found,) = [child for child in children if words in " ".join(child.cmdline())]
        return found

    def gpu_workers(self) -> list[int]:
        """The process numbers of both."""
        words = 'flows._worker {"pool": "gpu", "index": '
        return [self.child(f"{words}{index}").pid for index in (0, 1)]

    def state(self, run: Run) -> str:
        return self.server.read(run).state

    def end(self) -> None:
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        self.log.close()
        assert psutil.wait_procs(family, timeout=40)[1] == []


def check_all_free(stack: Stack, folder: Path) -> None:
    """Both GPUs take a run, at once, and nothing is left under way."""
    both = [(stack.ask(folder / name), folder / name) for name in ("left", "right")]
    wait(lambda: all(lines(notes / "held") for _, notes in both), RUN_S + WINDOW_S)
    assert {lines(notes / "held")[0].split()[1] for _, notes in both} == {
        "pretended-0",
        "pretended-1",
    }
    for _, notes in both:
        (notes / "go").touch()
    wait(lambda: all(stack.state(run) == "COMPLETED" for run, _ in both), WINDOW_S)
    states = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}}
    left = stack.server._answer("/flow_runs/filter", states)
    assert [run["name"] for run in left if run["deployment_id"] == stack.deployment] == []
    wait(lambda: jobs(f"{stack.server.address}/api") == [], WINDOW_S)


def wait(ready, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"it took longer than {seconds:.0f} s"
        time.sleep(0.1)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
