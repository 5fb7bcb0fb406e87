"""What a batch costs: seconds beyond a plain loop that makes the same tiny clips."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from core.models.checkpoints import save_model
from flows.settings.settings import read_settings
from flows.stack.stack import Stack
from tests.benchmarks.processes import surrounded
from tests.benchmarks.results import THREADS, Figure, Row
from video.training.presets import tiny

CLIPS, QUICK_CLIPS = 200, 20
SETTINGS = {"num_frames": 4, "height": 32, "width": 32, "steps": 1, "model": "tiny-video"}
EACH_MS, WHOLE_S = 50.0, 20.0

LOOP = """
import sys, time
from pathlib import Path
from flows.requests.batch_requests import ClipBatchRequest
from flows.batches.items import items_of
from flows.jobs.pipeline import make
from core.models.checkpoints import find_model
items, _ = items_of(ClipBatchRequest.model_validate_json(sys.argv[1]))
work = items[0].operation
model = work.source(items[0].request).load("cpu")
start = time.monotonic()
for item in items:
    make(work, item.request, Path(sys.argv[2]) / f"{item.stem}.mp4", model)
print(time.monotonic() - start)
"""
BATCH = """
import json, sys
from flows.requests.batch_requests import ClipBatchRequest
from flows.batches.coordinator import coordinate
from flows.settings.settings import read_settings
from flows.batches.shard_runs import Here
request = ClipBatchRequest.model_validate_json(sys.argv[1])
print(json.dumps(coordinate(read_settings(), "default", request, Here(), lambda *news: None)))
"""
PROTOCOL = (
    f"{CLIPS} clips of 4 frames of 32 x 32 with the untrained `tiny` preset, {THREADS} threads, "
    "once by a loop over `make` in one process and once as a batch with its coordinator and "
    "shard as processes. Counted per item is the time between a shard's first and last outcome "
    "against the loop's time without loading; in all, from start to end of the processes. The "
    "batch also makes a preview and a contact sheet of each clip, and flushes each outcome to "
    "the disk. The batch through the stack is `generate_clips` asked of a running server with "
    "its workers, which were idle: per item is as above, in all is from the call until the "
    "server says the run has completed, with queues, polls and the start of both engines, less "
    "the loop's process from start to end."
)
PATIENCE_S = 600.0


def run(*, quick: bool = False, full: bool = False) -> Row:
    """Run loop and batch in turn, each in processes of its own."""
    count = QUICK_CLIPS if quick else CLIPS
    prompts = "\n".join(f"a red circle moves left {'very ' * n}slowly" for n in range(40))
    prompts = "\n".join(f"{line} and number {n}" for n in range(-(-count // 40))
                        for line in prompts.splitlines()[:count])  # fmt: skip
    asked = json.dumps({"name": "cost", "prompts": "\n".join(prompts.splitlines()[:count]),
                        "limits": {"reserve_gb": 0}, **SETTINGS})  # fmt: skip
    turns = 2 if full else 1
    best: dict[str, float] = {}
    for _ in range(turns):
        with TemporaryDirectory() as name:
            for key, value in _turn(Path(name), asked, count).items():
                best[key] = min(value, best.get(key, value))
    return Row(
        title="Cost of a batch",
        protocol=PROTOCOL,
        figures=[
            Figure(name="loop, per clip", value=1000 * best["loop"] / count, unit="ms"),
            Figure(name="batch, per clip", value=1000 * best["items"] / count, unit="ms"),
            Figure(
                name="batch beyond loop, per clip",
                value=1000 * (best["items"] - best["loop"]) / count,
                unit="ms",
                high=EACH_MS,
            ),
            Figure(
                name="batch beyond loop, in all",
                value=best["batch"] - best["whole loop"],
                unit="s",
                high=WHOLE_S,
            ),
            Figure(
                name="batch through the stack beyond loop, per clip",
                value=1000 * (best["stack items"] - best["loop"]) / count,
                unit="ms",
                high=EACH_MS,
            ),
            Figure(
                name="batch through the stack beyond loop, in all",
                value=best["stack"] - best["whole loop"],
                unit="s",
                high=WHOLE_S,
            ),
            Figure(
                name="batch beyond loop, CPU time in all",
                value=best["batch, CPU"] - best["whole loop, CPU"],
                unit="s",
            ),
        ],
        details={"seconds": best, "clips": count},
    )


def _turn(folder: Path, asked: str, count: int) -> dict[str, float]:
    torch.manual_seed(0)
    record = {"name": "tiny-video", "kind": "video", "objective": "average velocity"}
    save_model(folder / "models" / "tiny-video", tiny(), record | {"guidance_trained_in": True})
    (folder / "loop").mkdir()
    environment = os.environ | {
        "LAMINA_HOME": str(folder / "state"),
        "LAMINA_OUTPUTS": str(folder / "outputs"),
        "LAMINA_MODELS": str(folder / "models"),
        "LAMINA_DEVICE": "cpu",
        "OMP_NUM_THREADS": str(THREADS),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    start, spent = time.monotonic(), _cpu_s()
    loop = float(said([LOOP, asked, str(folder / "loop")], environment))
    whole_loop, start = time.monotonic() - start, time.monotonic()
    loop_cpu, spent = _cpu_s() - spent, _cpu_s()
    ended = json.loads(said([BATCH, asked], environment))
    whole, batch_cpu = time.monotonic() - start, _cpu_s() - spent
    if ended["made"] != count:
        raise RuntimeError(f"the batch ended as {ended}: it should make {count} clips.")
    return {
        "loop": loop,
        "whole loop": whole_loop,
        "items": _between_outcomes(folder / "outputs", count),
        **_through_stack(folder, json.loads(asked), count),
        "batch": whole,
        "whole loop, CPU": loop_cpu,
        "batch, CPU": batch_cpu,
    }


def _through_stack(folder: Path, request: dict, count: int) -> dict[str, float]:
    """The same batch asked of a server with idle workers."""
    own = folder / "through-stack"
    places = surrounded(own, LAMINA_MODELS=str(folder / "models"), LAMINA_DEVICE="cpu")
    with places, Stack(read_settings()) as stack:
        start = time.monotonic()
        run_ = stack.server.start("generate_clips", {"request": request})
        while not (run_ := stack.server.read(run_)).ended:
            if time.monotonic() - start > PATIENCE_S:
                raise RuntimeError(f"run {run_.id} is {run_.state} after {PATIENCE_S:.0f} s.")
            time.sleep(0.1)
        seconds = time.monotonic() - start
    if run_.state != "COMPLETED":
        raise RuntimeError(f"run {run_.id} ended {run_.state}: {run_.message}")
    return {"stack": seconds, "stack items": _between_outcomes(own / "outputs", count)}


def _between_outcomes(outputs: Path, count: int) -> float:
    """Seconds from the first outcome to the last, scaled to all items."""
    from datetime import datetime

    (path,) = outputs.glob("default/batches/cost/shards/*.jsonl")
    times = [
        datetime.fromisoformat(json.loads(line)["time"]) for line in path.read_text().splitlines()
    ]
    return (times[-1] - times[0]).total_seconds() * count / (count - 1)


def _cpu_s() -> float:
    """Seconds of all processes that were waited for, and of theirs."""
    times = os.times()
    return times.children_user + times.children_system


def said(words: list[str], environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", *words]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"the program ended with {answer.returncode}: {answer.stderr[-500:]}")
    return answer.stdout.strip().splitlines()[-1]
