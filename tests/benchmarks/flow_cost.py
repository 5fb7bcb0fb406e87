"""What Prefect costs: CPU time of a flow run beyond the same job on the command line."""

import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from flows.settings.settings import read_settings
from flows.stack.stack import Stack
from tests.benchmarks.processes import lamina, surrounded, waited_for
from tests.benchmarks.results import Figure, Row

REQUEST = {"prompt": "two red circles move left", "seed": 7}
FIXED_S, SHARE = 3.0, 0.05
PATIENCE_S = 300.0

PROTOCOL = (
    "`text_to_video` with the request's defaults, once through the API of a running stack and "
    "once as `lamina video generate`, turn by turn, two threads each. Counted is user and system "
    "time: for the command all of its process; for the flow all processes that the worker "
    "started for the run and waited for, which leaves out the server and the worker itself. "
    "Median over turns after one warm-up of each. The flow also makes an animated preview, a "
    "contact sheet and the page of the run, which the command does not."
)


def run(*, quick: bool = False, full: bool = False) -> Row:
    """Run both in turn on a stack of its own."""
    turns = 1 if quick else 5 if full else 3
    flows, commands = [], []
    with TemporaryDirectory() as name, surrounded(Path(name)), Stack(read_settings()) as stack:
        for turn in range(turns + 1):
            commands.append(_command(Path(name) / f"{turn}.mp4"))
            flows.append(_flow(stack))
    command, flow = median(commands[1:]), median(flows[1:])
    figures = [
        Figure(name="command, CPU time", value=command, unit="s"),
        Figure(name="flow, CPU time", value=flow, unit="s"),
        Figure(
            name="flow beyond command",
            value=flow - command,
            unit="s",
            high=FIXED_S + SHARE * command,
        ),
    ]
    return Row(
        title="Cost of a flow run",
        protocol=PROTOCOL,
        figures=figures,
        details={"command": commands, "flow": flows},
    )


def _command(target: Path) -> float:
    words = ["video", "generate", REQUEST["prompt"], str(target), "--seed", str(REQUEST["seed"])]
    return lamina(words).cpu_seconds


def _flow(stack: Stack) -> float:
    """CPU time of one run: what the worker's waited-for children gained meanwhile."""
    worker = next(c.process.pid for c in stack.family.children if c.name.startswith("gpu"))
    before = waited_for(worker)
    run_ = stack.server.start("text_to_video", {"request": REQUEST})
    deadline = time.monotonic() + PATIENCE_S
    while not (run_ := stack.server.read(run_)).ended:
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"run {run_.id} is {run_.state} after {PATIENCE_S:.0f} s: it should "
                "end within seconds; see the worker's log."
            )
        time.sleep(0.5)
    if run_.state != "COMPLETED":
        raise RuntimeError(f"run {run_.id} ended {run_.state}: {run_.message}")
    while (after := waited_for(worker)) == before:  # the state comes before the exit
        if time.monotonic() > deadline:
            raise RuntimeError(f"worker {worker} waited for no child of run {run_.id}.")
        time.sleep(0.2)
    return after - before
