"""What the operations say a request costs, held against what it costs.

``python -m tests.benchmarks.estimates WORDS`` does one request in this process and prints what it
took; the row starts one such process per request.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from tests.benchmarks.results import Figure, Row, Table

SECONDS_WITHIN, MEMORY_WITHIN = 0.30, 0.15
TURNS = 3
CLIPS: dict[str, dict[str, Any]] = {
    "clip, 16 frames of 64 x 64, 4 steps": {},
    "clip, 16 frames of 64 x 64, 16 steps": {"steps": 16},
    "clip, 64 frames of 64 x 64, 4 steps": {"num_frames": 64},
    "clip, 16 frames of 128 x 128, 4 steps": {"height": 128, "width": 128},
    "clip, 128 frames of 64 x 64, 2 steps": {"num_frames": 128, "steps": 2},
}
HEADS: dict[str, dict[str, Any]] = {
    "head, 91 x 109 x 91, 2 samples of 2 steps": {"shrunk": 2, "samples": 2},
    "head, 180 x 220 x 180, 1 sample of 1 step": {"samples": 1, "steps": 1},
    "head, 180 x 220 x 180, 2 samples of 2 steps": {"samples": 2},
}
QUICK = ("clip, 16 frames of 64 x 64, 4 steps", "head, 91 x 109 x 91, 2 samples of 2 steps")
PROTOCOL = (
    "Each request in a process of its own with one thread: model loaded, input read, then drawn "
    "and written, three times for clips, once for heads. Seconds are CPU time of drawing and "
    "writing, which with one thread is the time on one idle core; the median is held against the "
    "`seconds` of the operation's cost. Memory is the largest resident memory of the process, "
    "libraries and weights included, held against its `memory_gb`. A ratio above 1 says that the "
    "estimate is too high. Heads are the MNI152 template in 4 mm slices, whole or at every second "
    "voxel."
)


def run(*, quick: bool = False, full: bool = False) -> Row:
    """Do each request once, or three times each with ``full``; the farthest estimate counts."""
    found: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as name:
        for title in [*CLIPS, *HEADS]:
            if not quick or title in QUICK:
                found[title] = _compared(title, Path(name), turns=3 if full else 1)
    figures = [
        _farthest(found, "seconds", SECONDS_WITHIN, judged=not quick),
        _farthest(found, "memory_gb", MEMORY_WITHIN, judged=not quick),
    ]
    lines = [
        [title, *(f"{row[k]:.3g}" for k in COLUMNS), *(f"{_ratio(row, k):.2f}" for k in JUDGED)]
        for title, row in found.items()
    ]
    head = ["request", "s, estimated", "s", "GB, estimated", "GB", "seconds, ratio", "GB, ratio"]
    return Row(
        title="Estimates of cost",
        protocol=PROTOCOL,
        figures=figures,
        tables=[Table(columns=head, lines=lines)],
        details=found,
    )


JUDGED = ("seconds", "memory_gb")
COLUMNS = ("said_seconds", "seconds", "said_memory_gb", "memory_gb")


def _ratio(row: Mapping[str, float], key: str) -> float:
    return row[f"said_{key}"] / row[key]


def _farthest(
    found: Mapping[str, Mapping[str, float]], key: str, within: float, *, judged: bool
) -> Figure:
    """How far the worst estimate is off, as a share of what was measured."""
    title = max(found, key=lambda name: abs(_ratio(found[name], key) - 1))
    return Figure(
        name=f"{key.partition('_')[0]}, largest error of an estimate",
        value=abs(_ratio(found[title], key) - 1),
        high=within if judged else None,
        note=title,
        cases=len(found),
    )


def _compared(title: str, folder: Path, turns: int) -> dict[str, float]:
    """Estimate and measurement of one request; the median of several processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    answers = []
    for _ in range(turns):
        done = subprocess.run(
            [sys.executable, "-m", __name__, title, str(folder)],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{title}: ended with {done.returncode}: {done.stderr[-800:]}")
        answers.append(json.loads(done.stdout))
    return {key: median(answer[key] for answer in answers) for key in answers[0]}


def _request(title: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """Name of the operation and fields of the request; the scan is written first."""
    if title in CLIPS:
        fields = {"prompt": "two red circles move left", "seed": 7}
        return "text_to_video", fields | CLIPS[title]
    from medical.files.nifti import write_volume
    from tests.benchmarks.whole_head import thick_head

    asked = dict(HEADS[title])
    step = asked.pop("shrunk", 1)
    scan = folder / f"scan-{step}.nii.gz"
    if not scan.exists():
        head = thick_head()
        affine = head.affine.copy()
        affine[:3, :3] *= [step, step, 1]
        write_volume(head.with_data(head.data[::step, ::step].contiguous(), affine), scan)
    spacing = (float(step), float(step), float(step))
    return "super_resolve_mri", {"scan": str(scan), "spacing_mm": spacing, "seed": 7} | asked


def _measured(title: str, folder: Path) -> dict[str, float]:
    """Do the request in this process; what was said, and what it took."""
    import torch

    from flows.jobs.operations import OPERATIONS

    torch.set_num_threads(1)
    name, fields = _request(title, folder)
    operation = OPERATIONS[name]
    request = operation.request(**fields)
    said = operation.cost(request)
    model = operation.source(request).load("cpu")
    prepared, times = operation.prepare(request), []
    for turn in range(TURNS if title in CLIPS else 1):
        start = time.process_time()
        drawn = operation.draw(request, prepared, model, lambda *_: None)
        target = folder / f"{os.getpid()}-{turn}{operation.endings[0]}"
        operation.write(request, drawn, target, overwrite=False)
        times.append(time.process_time() - start)
    return {
        "said_seconds": said.seconds,
        "seconds": median(times),
        "said_memory_gb": said.memory_gb,
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_measured(sys.argv[1], Path(sys.argv[2]))))
