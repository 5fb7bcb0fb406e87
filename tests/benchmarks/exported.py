"""What exported models lose: ``python -m tests.benchmarks.exported DATA FOLDER OTHER ...``.

Folders are those of ``lamina export``, all of one model. Heads: crops of one window from the
middle of every sixth head of ``DATA`` (kept from training), in slices of 4 mm, restored as usual;
dB above back-projection in what is more than background. Clips: captions of combinations that
training never draws, of one to three things, drawn as usual and read by the exact oracle; the
share of what was asked that is right. Both are paired: the same noise in each folder.

What they cost: ``python -m tests.benchmarks.exported cost INPUT FOLDER OTHER ...``, where INPUT is
a prompt or a scan: user and system time and peak memory of fresh processes from start to verified
file, turn by turn, threads as ``OMP_NUM_THREADS`` says, after one start that is not counted.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

from core.runner.graphs import read_record

CROP = (64, 64, 48)
SLICE = 4
HEADS, PROMPTS, SEED = 10, 120, 1
THINGS = (0.5, 0.25, 0.25)
ROUNDS = 5


def say(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def heads(data: Path, folders: list[Path]) -> None:
    """Print dB above back-projection of each folder and the paired differences."""
    import torch

    from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
    from medical.acquisition.intensity import measure_scale
    from medical.files.nifti import read_volume
    from medical.files.volume import Volume
    from medical.operations.baselines import FOREGROUND
    from medical.operations.problem import prepare
    from medical.runner.heads import HeadRunner, Wish
    from medical.training.dataset import VALIDATION_EVERY

    paths = sorted(data.glob("sub-*/anat/*_T1w.nii.gz"))[VALIDATION_EVERY - 1 :: VALIDATION_EVERY]
    runners = [HeadRunner(folder) for folder in folders]
    rows = []
    for path in paths[:HEADS]:
        head = read_volume(path)
        starts = [(n - size) // 2 for n, size in zip(head.shape, CROP, strict=True)]
        box = tuple(slice(a, a + n) for a, n in zip(starts, CROP, strict=True))
        truth = Volume(head.data[box].contiguous(), head.affine, head.header)
        thick = acquire(truth, Acquisition.slices(2, SliceSampling(float(SLICE))))
        header: Any = {"dtype": "float32"}
        scan = Volume(thick.data.numpy(), thick.affine, type(head.header)(**header))
        wish = Wish("crop", slice_thickness_mm=float(SLICE), noise_std=0.0)
        scale = measure_scale(truth.data)
        true = scale.apply(truth.data).numpy()
        problem = prepare(scan, wish.request)
        base = scale.apply(
            torch.from_numpy(problem.scale.invert(problem.to_file(problem.back_projection())))
        ).numpy()
        made = [
            scale.apply(torch.from_numpy(runner.restore(scan, wish).mean.data)).numpy()
            for runner in runners
        ]
        bright = true > FOREGROUND
        row = [-10 * np.log10(np.square(x - true)[bright].mean()) for x in (base, *made)]
        rows.append([value - row[0] for value in row[1:]])
        say(f"{path.name} {[round(float(value), 3) for value in rows[-1]]}")
    _told(folders, np.array(rows), "dB above back-projection")


def clips(folders: list[Path]) -> None:
    """Print the share that is right of each folder and the paired differences, in points."""
    from core.seeds import generator
    from video.oracle.oracle import read_clip, score
    from video.runner.clips import ClipRunner, Wish
    from video.world.prompts import parse_caption
    from video.world.world import draw_batch

    prompts = draw_batch(PROMPTS, generator(SEED), split="held_out", count_shares=THINGS)[1]
    runners = [ClipRunner(folder) for folder in folders]
    rows = []
    for seed, prompt in enumerate(prompts):
        row = []
        for runner in runners:
            verdict = score(
                read_clip(runner.draw(Wish(prompt, seed)).frames), parse_caption(prompt)
            )
            row.append(100 * sum(verdict.values()) / len(verdict))
        rows.append(row)
        if seed % 10 == 9:
            say(f"{seed + 1} {np.mean(rows, axis=0).round(2).tolist()}")
    _told(folders, np.array(rows), "% right")


def costs(asked: str, folders: list[Path]) -> None:
    """Print megabytes, seconds of processors and peak memory of each folder, and paired ratios."""
    rows, peaks = [], []
    for turn in range(ROUNDS + 1):
        spent = [_cost(asked, folder) for folder in folders]
        if turn:
            rows.append([seconds for seconds, _ in spent])
            peaks.append([peak for _, peak in spent])
            load = os.getloadavg()[0]
            say(f"{turn} {np.round(rows[-1], 2).tolist()} s, under a load of {load:.1f}")
    times = np.array(rows)
    for place, folder in enumerate(folders):
        record, column = read_record(folder), times[:, place]
        ratio = column / times[:, 0]
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
        say(
            f"{record.get('format', 'openvino')} {record['weights']}: {size:.1f} MB, "
            f"{np.median(column):.2f} s ({column.min():.2f} to {column.max():.2f}), "
            f"{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f}) of the first, "
            f"{np.median(np.array(peaks)[:, place]):.0f} MiB"
        )


def _cost(asked: str, folder: Path) -> tuple[float, float]:
    """Seconds of processors and MiB of one process that makes one file."""
    with tempfile.TemporaryDirectory() as place:
        ending = "clip.mp4" if read_record(folder)["kind"] == "video" else "head.nii.gz"
        words = [sys.executable, "-I", folder / "run.py", asked, Path(place) / ending]
        words += ["--cache", folder.with_name(f"{folder.name}.cache")]
        started = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(status)
        assert started.returncode == 0
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def _told(folders: list[Path], rows: np.ndarray, unit: str) -> None:
    for place, folder in enumerate(folders):
        apart = rows[:, place] - rows[:, 0]
        error = t.ppf(0.975, len(rows) - 1) * apart.std(ddof=1) / np.sqrt(len(rows))
        record = read_record(folder)
        say(
            f"{record.get('format', 'openvino')} {record['weights']}: {rows[:, place].mean():.3f} "
            f"{unit}, against the first "
            f"{apart.mean():+.3f} ({apart.mean() - error:+.3f} to {apart.mean() + error:+.3f}), "
            f"{len(rows)} of them"
        )


if __name__ == "__main__":
    first, *others = map(Path, sys.argv[1:])
    if str(first) == "cost":
        costs(str(others[0]), others[1:])
    elif read_record(others[0])["kind"] == "mri":
        heads(first, others)
    else:
        clips(others)
