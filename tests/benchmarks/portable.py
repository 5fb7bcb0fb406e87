"""What arithmetic that is the same on every server costs: head, clip and scan in both modes."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from core.numerics import NATIVE, PORTABLE, VARIABLE
from medical.files.nifti import write_volume
from tests.benchmarks.processes import Cost, lamina, surrounded
from tests.benchmarks.quality.heads import middle
from tests.benchmarks.results import Figure, Row
from tests.benchmarks.whole_head import thick_head

HEAD = {
    "name": "cost", "count": 1, "contrasts": ["T1w", "FLAIR"], "spacing_mm": [1, 1, 1],
    "lesions": {"load_ml": [5, 15], "count": [20, 60]}, "seed": 7,
}  # fmt: skip
CLIP = "two red circles move left"
PART = (96, 112, 16)
Make = Callable[[Path, str, dict[str, str]], Cost]
HEADS, MOST_MINUTES, MOST_MIB = 40, 180.0, 4096.0

PROTOCOL = (
    "One head with T1w, FLAIR and lesions at 1 mm by `lamina mri augment`, as BIDS and nnU-Net, "
    "one clip by `lamina video generate` with its defaults, and the middle of MNI152 (96 x 112 x "
    "64 mm in 4 mm slices) by `lamina mri super-resolve`, each in a fresh process: native "
    "with two threads, and with `LAMINA_NUMERICS=portable` (float32, AVX2, one thread), in which "
    "datasets are drawn unless it is said otherwise. User and system time and peak resident "
    "memory of the process (`wait4`), start of Python and imports among it; once each, or the "
    "median of three with `--full`. Forty heads are forty times one, as heads are drawn one after "
    "the other."
)


def run(*, quick: bool = False, full: bool = False) -> Row:
    """Draw and generate in both modes, turn by turn."""
    turns = 3 if full else 1
    with TemporaryDirectory() as name, surrounded(Path(name)):
        clips = [_both(_clip, Path(name), turn) for turn in range(turns)]
        scans = [_both(_scan, Path(name), turn) for turn in range(turns)]
        heads = [] if quick else [_both(_head, Path(name), turn) for turn in range(turns)]
    figures = _figures("clip", clips) + _figures("restored scan", scans)
    if heads:
        figures += _figures("head", heads)
        portable = _middle([each[PORTABLE] for each in heads])
        figures += [
            Figure(name="head, portable, peak memory", value=portable.peak_mib, unit="MiB",
                   high=MOST_MIB),
            Figure(name=f"{HEADS} heads, portable, on one core, from one head",
                   value=HEADS * portable.cpu_seconds / 60, unit="min", high=MOST_MINUTES),
        ]  # fmt: skip
    return Row(title="Portable arithmetic", protocol=PROTOCOL, figures=figures)


def _figures(what: str, found: list[dict[str, Cost]]) -> list[Figure]:
    cost = {mode: _middle([each[mode] for each in found]) for mode in (NATIVE, PORTABLE)}
    times = {mode: each.cpu_seconds for mode, each in cost.items()}
    figures = [
        Figure(name=f"{what}, {mode}, CPU time", value=times[mode], unit="s") for mode in times
    ]
    over = Figure(
        name=f"{what}, portable over native", value=times[PORTABLE] / times[NATIVE], unit="times"
    )
    return [*figures, over]


def _middle(costs: list[Cost]) -> Cost:
    return sorted(costs, key=lambda cost: cost.cpu_seconds)[len(costs) // 2]


def _both(
    make: Callable[[Path, str, dict[str, str]], Cost], folder: Path, turn: int
) -> dict[str, Cost]:
    return {mode: make(folder, f"{mode}-{turn}", {VARIABLE: mode}) for mode in (NATIVE, PORTABLE)}


def _clip(folder: Path, name: str, extra: dict[str, str]) -> Cost:
    words = ["video", "generate", CLIP, str(folder / f"{name}.mp4"), "--seed", "7"]
    return lamina(words, extra=extra)


def _scan(folder: Path, name: str, extra: dict[str, str]) -> Cost:
    scan = folder / "scan.nii.gz"
    write_volume(middle(thick_head(), PART), scan, overwrite=True)
    return lamina(
        ["mri", "super-resolve", str(scan), str(folder / f"fine-{name}.nii.gz")], extra=extra
    )


def _head(folder: Path, name: str, extra: dict[str, str]) -> Cost:
    asked = folder / "asked.json"
    asked.write_text(json.dumps(HEAD), encoding="utf-8")
    return lamina(["mri", "augment", str(asked), str(folder / name)], extra=extra)
