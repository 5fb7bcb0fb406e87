"""What a second clip of a warm engine takes beyond its bare pipeline.

``python -m tests.benchmarks.warm_engines FOLDER [NAME ...]``: for each engine of a folder of
diffusers folders the smallest lawful clip of four steps is drawn in turns by the pipeline called
as its users call it and by Lamina (state after each step, progress, decoding apart, checks of the
frames), with one loaded pipeline, the same seed and one thread. The first two turns are not
counted. Told are the medians of the differences of pairs, by the clock and in processor time of
all threads, and the load; of an engine that refuses such a clip, why.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from core.refusal import Refusal
from video.engines.engine import never
from video.engines.shelf import engine_of
from video.request import VideoRequest

TURNS, UNCOUNTED, STEPS = 14, 2, 4
SIDES = 2  # times the engine's multiple
Took = tuple[float, float]


def took(work: Callable[[], Any]) -> tuple[Took, Any]:
    """Seconds by the clock and of processor time, and what came of it."""
    clock, used = time.perf_counter(), time.process_time()
    found = work()
    return (time.perf_counter() - clock, time.process_time() - used), found


def of_engine(name: str, turns: int) -> tuple[list[Took], list[Took]]:
    """What clips took by the bare pipeline, and by Lamina, in turns."""
    told = {"prompt": "a cat", "engine": name, "steps": STEPS, "seed": 5}
    engine = engine_of(VideoRequest.model_validate(told))
    told |= dict.fromkeys(("height", "width"), SIDES * engine.rules.side)
    request = VideoRequest.model_validate(told | {"num_frames": engine.rules.of_latents(3)})
    engine.check(request)
    loaded, settled = engine.ready(engine.load("cpu")), engine.settled(request)

    def bare() -> Any:
        arguments = loaded.arguments(settled)
        generator = torch.Generator("cpu").manual_seed(settled.seed)
        with torch.inference_mode():
            return loaded.pipe(**arguments, generator=generator).frames[0]

    def ours() -> Any:
        latents = loaded.denoise(settled, None, lambda *_: None, never)
        return loaded.decode(settled, latents).frames

    there, here = list[Took](), list[Took]()
    for turn in range(turns):
        works = (bare, ours) if turn % 2 else (ours, bare)
        found = {work: took(work) for work in works}
        engine.forget(settled)
        assert np.array_equal(np.rint(found[bare][1] * 255), found[ours][1]), name
        there.append(found[bare][0])
        here.append(found[ours][0])
    loaded.close()
    return there[UNCOUNTED:], here[UNCOUNTED:]


def line_of(name: str, turns: int) -> str:
    """What is told of an engine."""
    try:
        there, here = of_engine(name, turns)
    except Refusal as error:
        return f"not measured: {error}"
    beyond = [
        median(b[kind] - a[kind] for a, b in zip(there, here, strict=True)) * 1000
        for kind in (0, 1)
    ]
    bare = [median(a[kind] for a in there) * 1000 for kind in (0, 1)]
    return (
        f"bare {bare[0]:.0f} ms ({bare[1]:.0f} of a processor), beyond it "
        f"{beyond[0]:.0f} ms ({beyond[1]:.0f} of a processor), {len(here)} pairs, "
        f"load {os.getloadavg()[0]:.1f}"
    )


def main() -> int:
    """Print a line for each engine."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.warm_engines")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--turns", type=int, default=TURNS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["LAMINA_ENGINES"] = str(chosen.folder.resolve())
    names = chosen.names or sorted(path.name for path in chosen.folder.iterdir())
    with TemporaryDirectory() as home:
        os.environ["LAMINA_HOME"] = home
        for name in names:
            sys.stdout.write(f"{name}: {line_of(name, chosen.turns)}\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
