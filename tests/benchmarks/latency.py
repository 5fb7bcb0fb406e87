"""From a prompt to a verified mp4: the model being warm, and from the start of the command."""

import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from core.models.checkpoints import find_model
from core.models.installed import load_folder
from core.numerics import BACKEND, OPENVINO, TORCH
from tests.benchmarks.processes import Cost, lamina, python, surrounded
from tests.benchmarks.results import Figure, Row
from video.engines.own import VideoModel, generate
from video.files.clip import write_mp4
from video.request import VideoRequest

WARM_S, COLD_S, RUNNER_S = 0.2, 4.0, 2.0
MODEL = "scenes-64"
SPOKEN = {TORCH: "torch", OPENVINO: "OpenVINO"}
PROTOCOL = (
    "Prompt to verified mp4 (read the prompt, 4 steps at 16 frames of 64 x 64, encode, decode "
    "back and compare, rename) in a process that has models and encoder loaded, two threads, by "
    "torch and, where it is installed, by OpenVINO turn by turn; median over runs with different "
    "seeds after one warm-up. Cold: `lamina video generate` from the start of the process to its "
    "end, with imports, model and encoder read from a warm disk cache, and the record written; "
    "likewise `run.py` of `lamina export` (float16), without torch. All in turn, median "
    "over runs after one warm-up, in which OpenVINO compiles its graphs and keeps them. CPU time "
    "is user and system time of the process."
)
PROMPT = "two red circles move left"


def run(*, quick: bool = False, full: bool = False) -> Row:
    """Time clip after clip, each way in turn."""
    with TemporaryDirectory() as name, surrounded(Path(name)):
        warm = _warm(Path(name), 4 if quick else 11)
        cold = _cold(Path(name), 2 if quick else 6)
    figures = [
        _figure(f"prompt to mp4, warm, by {SPOKEN[way]}", seconds, high=WARM_S)
        for way, seconds in warm.items()
    ]
    for what, costs in cold.items():
        most = RUNNER_S if what.startswith("run.py") else COLD_S
        figures += [
            _figure(f"{what}, cold", [cost.seconds for cost in costs], high=most),
            _figure(f"{what}, cold, CPU time", [cost.cpu_seconds for cost in costs]),
        ]
    return Row(title="Text to video, latency", protocol=PROTOCOL, figures=figures)


def _ways() -> list[str]:
    return [TORCH, OPENVINO] if find_spec("openvino") else [TORCH]


def _warm(folder: Path, turns: int) -> dict[str, list[float]]:
    """Seconds of a clip by who computes it."""
    loaded = {way: load_folder(find_model(MODEL, "video"), "cpu", backend=way) for way in _ways()}
    models = {way: VideoModel(each.network, each.record) for way, each in loaded.items()}
    seconds: dict[str, list[float]] = {way: [] for way in models}
    for seed in range(turns):
        for way, model in models.items():
            start = time.perf_counter()
            clip = generate(VideoRequest(prompt=PROMPT, seed=seed), model)
            write_mp4(clip, folder / f"{way}-{seed}.mp4", metadata={"seed": seed})
            seconds[way].append(time.perf_counter() - start)
    return {way: found[1:] for way, found in seconds.items()}


def _cold(folder: Path, turns: int) -> dict[str, list[Cost]]:
    """What a fresh process costs, by what it is."""
    small, cache = folder / "small", folder / "cache"
    if find_spec("openvino"):
        lamina(["export", MODEL, str(small), "--weights", "float16"])
    costs: dict[str, list[Cost]] = {}
    for turn in range(turns):
        for what, cost in _processes(folder / f"cold-{turn}", small, cache):
            costs.setdefault(what, []).append(cost)
    return {what: found[1:] for what, found in costs.items()}


def _processes(target: Path, small: Path, cache: Path) -> Iterator[tuple[str, Cost]]:
    for way in _ways():
        words = ["video", "generate", PROMPT, f"{target}-{way}.mp4"]
        yield f"command to mp4 and record, {SPOKEN[way]}", lamina(words, extra={BACKEND: way})
    if small.is_dir():
        runner = ["-I", str(small / "run.py"), PROMPT, f"{target}.mp4", "--cache", str(cache)]
        yield "run.py to mp4 and record, OpenVINO", python(runner)


def _figure(name: str, seconds: list[float], *, high: float | None = None) -> Figure:
    note = f"{min(seconds):.2f} to {max(seconds):.2f} s, n = {len(seconds)}"
    return Figure(name=name, value=median(seconds), unit="s", high=high, note=note)
