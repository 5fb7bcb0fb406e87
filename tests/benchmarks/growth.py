"""From one worker to 256: a night simulated from measured stages, held against a real batch."""

import json
import os
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import torch

from core.models.checkpoints import save_model
from flows.batches.item import Item
from flows.batches.items import items_of
from flows.batches.plan import make_plan
from flows.requests.batch_requests import ClipBatchRequest
from tests.benchmarks.batch_cost import BATCH, SETTINGS, said
from tests.benchmarks.night import Night, Stages, simulate
from tests.benchmarks.processes import surrounded
from tests.benchmarks.results import Figure, Row, Table
from video.training.presets import tiny

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CLIPS, HEADS = 10_000, 1_000
CLIP_S, HEAD_S = 0.352, 22.4
AT_ONCE = 64  # the most that a request may ask for
REAL, REAL_WORKERS, REAL_SHARDS = 500, 2, 10
MISSED = 0.15

PROTOCOL = (
    f"A night of {CLIPS} clips and {HEADS} heads as two batches, simulated event by event "
    "(`tests/benchmarks/night.py`): shards as the planner cuts them from a clip's "
    f"{CLIP_S} s and a head's {HEAD_S} s (rows above; one worker has what they were measured on), "
    f"at most {AT_ONCE} shards of a batch under way, which is the most a request may ask for; 5 s "
    "from a shard's pick-up to its first item, a look every second at 20 ms a shard, 100 ms to "
    "hand one out, up to 2 s until a worker sees it; one item in a hundred takes five times as "
    "long; each worker dies once in a hundred hours, its shard counts as ended after 180 s and "
    "starts again 30 s later. Ideal: all items' seconds over the workers, at least the longest "
    f"item. Held against one real batch of {REAL} clips of 4 frames of 32 x 32 on "
    f"{REAL_WORKERS} processes of one thread each, as {REAL_SHARDS} shards; the simulation is "
    "given that run's mean time of an item and of a start, and nobody dies or is slow."
)

NOTES = (
    "What ends growth first is the number of shards: of ten minutes each this night has 43, so "
    "more workers idle. Of one minute each it goes on to the 64 shards that one batch may have "
    "under way. The coordinator is never the limit here.",
    "Shorter shards cost cold starts: on one worker the night takes 8 % longer by them.",
)


def run(*, quick: bool = False, full: bool = False) -> Row:
    """Simulate the nights, make the real batch, and hold one against the other."""
    lines, details = [], {}
    for minutes in (10.0, 1.0):
        planned = [_cut(CLIPS, CLIP_S, minutes), _cut(HEADS, HEAD_S, minutes)]
        for workers in WORKERS:
            nights = [
                simulate([(each, AT_ONCE) for each in planned], workers, Stages(), seed=seed)
                for seed in range(2 if quick else 10)
            ]
            lines.append(_line(minutes, workers, planned, nights))
    seconds, foreseen, facts = _real(50 if quick else REAL)
    details["real batch"] = facts
    figures = [
        Figure(name=f"{REAL_WORKERS} processes, real batch", value=seconds, unit="s"),
        Figure(name=f"{REAL_WORKERS} processes, simulated", value=foreseen, unit="s"),
        Figure(
            name="simulated over real",
            value=foreseen / seconds,
            unit="times",
            low=None if quick else 1 - MISSED,
            high=None if quick else 1 + MISSED,
        ),
    ]
    columns = (
        "minutes a shard", "workers", "shards", "night", "ideal", "night over ideal",
        "workers busy", "shards waiting", "coordinator busy", "shards at once",
    )  # fmt: skip
    return Row(
        title="Growth",
        protocol=PROTOCOL,
        figures=figures,
        notes=NOTES,
        tables=[Table(columns=columns, lines=lines)],
        details=details,
    )


def _cut(count: int, seconds: float, minutes: float) -> list[list[float]]:
    """The shards that the planner cuts of so many equal items."""
    prompts = "\n".join(f"a red circle moves left, number {n}" for n in range(count))
    items = _items(ClipBatchRequest.model_validate({"name": "night", "prompts": prompts}))
    plan = make_plan(items, (), shard_minutes=minutes, measured_s=seconds)
    shards: list[list[float]] = [[] for _ in range(plan.shards)]
    for _, shard in plan.items:
        shards[shard].append(seconds)
    return shards


def _items(request: ClipBatchRequest) -> list[Item]:
    return items_of(request)[0]


def _line(
    minutes: float, workers: int, planned: Sequence[Sequence], nights: Sequence[Night]
) -> list[str]:
    mean = {name: fmean(getattr(n, name) for n in nights) for name in vars(nights[0])}
    return [
        f"{minutes:g}",
        str(workers),
        " + ".join(str(len(each)) for each in planned),
        f"{mean['seconds'] / 60:.1f} min",
        f"{mean['ideal'] / 60:.1f} min",
        f"{mean['seconds'] / mean['ideal']:.2f}",
        f"{mean['busy']:.0%}",
        f"{mean['waiting']:.0%}",
        f"{mean['coordinators']:.0%}",
        f"{mean['most_at_once']:.0f}",
    ]


def _real(count: int) -> tuple[float, float, dict[str, float]]:
    """Seconds of a real batch, those that the simulation foresees, and what it was told."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        record = {"name": "tiny-video", "kind": "video", "objective": "average velocity"}
        save_model(
            folder / "models" / "tiny-video", tiny(), record | {"guidance_trained_in": True}
        )
        prompts = "\n".join(f"a red circle moves left and number {n}" for n in range(count))
        asked: dict[str, Any] = {"name": "growth", "prompts": prompts, **SETTINGS}
        more = {"LAMINA_MODELS": str(folder / "models"), "LAMINA_DEVICE": "cpu"}
        with surrounded(folder, **more):
            thumb = make_plan(_items(ClipBatchRequest.model_validate(asked)), ()).seconds_per_item
            limits = {"reserve_gb": 0, "shards_at_once": REAL_WORKERS}
            asked["limits"] = limits | {"shard_minutes": thumb * count / 60 / REAL_SHARDS}
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            start = time.time()
            ended = json.loads(said([BATCH, json.dumps(asked)], environment))
        seconds = 60 * ended["minutes"]
        if ended["made"] != count:
            raise RuntimeError(f"the batch ended as {ended}: it should make {count} clips.")
        shards = _outcomes(folder / "outputs")
    item = fmean(b - a for times in shards for a, b in pairwise(times))
    first = min(times[0] for times in shards)
    cold = fmean(_starts(shards, start, item))
    stages = Stages(
        look_every=0.1, look=0.0, hand_out=0.01, pick_up=0.0, cold=cold, deaths=0.0, slow=0.0
    )
    made = [[item] * len(times) for times in shards]
    night = simulate([(made, REAL_WORKERS)], REAL_WORKERS, stages)
    facts = {"item_s": item, "cold_s": cold, "shards": len(shards), "first_s": first - start}
    return seconds, night.seconds, facts


def _outcomes(outputs: Path) -> list[list[float]]:
    """When each shard made each of its items, the shards in the order of their first."""
    found = []
    for path in outputs.glob("default/batches/growth/shards/*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found.append([datetime.fromisoformat(line["time"]).timestamp() for line in lines])
    return sorted(found)


def _starts(shards: Sequence[Sequence[float]], start: float, item: float) -> list[float]:
    """What each shard took before its first item: since the end of the one before it."""
    ends = [start] * REAL_WORKERS
    found = []
    for times in shards:
        ends.sort()
        found.append(times[0] - item - ends[0])
        ends[0] = times[-1]
    return found
