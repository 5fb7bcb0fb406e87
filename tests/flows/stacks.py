"""A real stack with two pretended GPUs, for tests that kill what runs on it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
from clips import SMALL, prompts_of
from waiting import slowness, until

from core.storage.journal import read_lines
from flows.batches.ledger import Batch, intact
from flows.machines.hosts import jobs
from flows.settings.settings import read_settings
from flows.stack.api import Run, Server

START_S = 300.0
RUN_S = 180.0  # from asking for a run until its flow is under way, on a busy machine
WINDOW_S = 60.0  # within which a death is noticed and its place is free again
BATCH_S = 600.0  # for the next clip of a batch whose shards fail and are started again


class Stack:
    """``lamina up`` with two pretended GPUs, and the flow ``survive`` deployed on it."""

    def __init__(self, folder: Path, more: dict[str, str]) -> None:
        self.folder = folder
        self.outputs = Path(more.get("LAMINA_OUTPUTS", folder / "outputs"))
        environment = {
            **os.environ,
            "LAMINA_HOME": str(folder / "state"),
            "LAMINA_OUTPUTS": str(self.outputs),
            "LAMINA_DEVICE": "cpu",
            "LAMINA_GPUS": "2",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '/')}",
            **more,
        }
        self.log = (folder / "up.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows.commands.command_line", "up"],
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

    def ask(
        self, notes: Path, key: str = "", deployment: str = "", due: str = "", **parameters
    ) -> Run:
        """Ask for a run; ``due`` is when it shall start, at once if empty."""
        notes.mkdir(exist_ok=True)
        body: dict = {"parameters": {"folder": str(notes), **parameters}}
        if due:
            body["state"] = {"type": "SCHEDULED", "state_details": {"scheduled_time": due}}
        body |= {"idempotency_key": key} if key else {}
        path = f"/deployments/{deployment or self.deployment}/create_flow_run"
        return Run(self.server._answer(path, body)["id"], "survive", "", "")

    def ask_batch(self, name: str, count: int, **limits) -> tuple[Run, Batch]:
        """Ask for a batch of so many tiny clips; it need not have been planned yet."""
        run = self.server.start("generate_clips", {"request": clips(name, count, **limits)})
        places = {"LAMINA_HOME": self.folder / "state", "LAMINA_OUTPUTS": self.outputs}
        settings = read_settings({name: str(place) for name, place in places.items()})
        return run, Batch.named(settings, "default", name)

    def see_through(self, run: Run, batch: Batch) -> None:
        """Wait until the run of a batch has ended, as long as outcomes are written."""
        wait(lambda: self.server.read(run).ended, BATCH_S, lambda: len(outcomes(batch)))

    def kill_shard(self, name: str) -> None:
        """Kill a run that makes a shard of a batch, as soon as there is one."""
        wanted = {
            "tags": {"all_": [f"batch:default/{name}"]},
            "state": {"type": {"any_": ["RUNNING"]}},
        }

        def killed() -> bool:
            runs = self.server._answer("/flow_runs/filter", {"flow_runs": wanted})
            under_way = {run["id"] for run in runs}
            engines = [job for job in jobs(f"{self.server.address}/api") if job.run in under_way]
            for job in engines[:1]:
                job.kill()
            return bool(engines)

        wait(killed, BATCH_S)

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
        words = 'flows.machines.worker {"pool": "gpu", "index": '
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


def clips(name: str, count: int, **limits) -> dict:
    """What is asked of a batch of so many tiny clips."""
    prompts = "\n".join(prompts_of(count))
    patience = {"retry_delay_s": 1.0, "reserve_gb": 0.0, "shard_minutes": 0.005, "tries": 20}
    return {"name": name, "prompts": prompts, "limits": patience | limits, **SMALL}


def outcomes(batch: Batch) -> list[dict]:
    return [line for path in batch.root.glob("shards/*.jsonl") for line in read_lines(path)]


def check_all_once(batch: Batch, count: int) -> None:
    """Every item stands whole, none was made twice, and nothing half-written is left."""
    assert batch.state() == "finished"
    assert sum(intact(batch, item) is not None for item, _ in batch.items()) == count
    made = [x["item"] for x in outcomes(batch) if x["state"] == "made" and x["sample_s"]]
    assert len(made) == len(set(made)) == count
    assert not list(batch.results.glob(".part-*"))


def slowed(seconds: float) -> float:
    """So many seconds of a machine with a core for each process that wants one."""
    return seconds * slowness()


def wait(ready, seconds: float, moving=None) -> None:
    until(ready, "it", 0.1, seconds, moving)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
