"""From a prompt to a verified mp4, the model being warm."""

import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.benchmarks.results import Figure, Row
from video.clip import write_mp4
from video.generate import VideoModel, generate
from video.request import VideoRequest

SECONDS = 3.0
PROTOCOL = (
    "Prompt to verified mp4 (read the prompt, 4 steps at 16 frames of 64 x 64, encode, decode "
    "back and compare, rename) in a process that has model and encoder loaded, two threads; "
    "median over runs with different seeds after one warm-up."
)


def run(*, quick: bool = False, full: bool = False) -> Row:
    """Time clip after clip."""
    model = VideoModel.load("scenes-64")
    seconds = []
    with TemporaryDirectory() as folder:
        for seed in range(4 if quick else 11):
            start = time.perf_counter()
            request = VideoRequest(prompt="two red circles move left", seed=seed)
            clip = generate(request, model)
            write_mp4(clip, Path(folder) / f"{seed}.mp4", metadata={"seed": seed})
            seconds.append(time.perf_counter() - start)
    warm = seconds[1:]
    figure = Figure(
        name="prompt to mp4, warm",
        value=median(warm),
        unit="s",
        high=SECONDS,
        note=f"{min(warm):.2f} to {max(warm):.2f} s, n = {len(warm)}",
    )
    return Row(title="Text to video, latency", protocol=PROTOCOL, figures=[figure])
