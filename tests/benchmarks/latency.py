"""From a prompt to a verified mp4: the model being warm, and from the start of the command."""

import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.benchmarks.processes import lamina
from tests.benchmarks.results import Figure, Row
from video.engines.own import VideoModel, generate
from video.files.clip import write_mp4
from video.request import VideoRequest

SECONDS = 3.0
PROTOCOL = (
    "Prompt to verified mp4 (read the prompt, 4 steps at 16 frames of 64 x 64, encode, decode "
    "back and compare, rename) in a process that has model and encoder loaded, two threads; "
    "median over runs with different seeds after one warm-up. Cold: `lamina video generate` from "
    "the start of the process to its end, with imports, model and encoder read from a warm disk "
    "cache, and the record written; median over runs after one warm-up."
)
PROMPT = "two red circles move left"


def run(*, quick: bool = False, full: bool = False) -> Row:
    """Time clip after clip."""
    model = VideoModel.load("scenes-64")
    seconds, commands = [], []
    with TemporaryDirectory() as folder:
        for seed in range(4 if quick else 11):
            start = time.perf_counter()
            request = VideoRequest(prompt=PROMPT, seed=seed)
            clip = generate(request, model)
            write_mp4(clip, Path(folder) / f"{seed}.mp4", metadata={"seed": seed})
            seconds.append(time.perf_counter() - start)
        for seed in range(2 if quick else 6):
            target = Path(folder) / f"cold-{seed}.mp4"
            commands.append(lamina(["video", "generate", PROMPT, str(target)]).seconds)
    figures = [
        _figure("prompt to mp4, warm", seconds[1:], high=SECONDS),
        _figure("command to mp4 and record, cold", commands[1:]),
    ]
    return Row(title="Text to video, latency", protocol=PROTOCOL, figures=figures)


def _figure(name: str, seconds: list[float], *, high: float | None = None) -> Figure:
    note = f"{min(seconds):.2f} to {max(seconds):.2f} s, n = {len(seconds)}"
    return Figure(name=name, value=median(seconds), unit="s", high=high, note=note)
