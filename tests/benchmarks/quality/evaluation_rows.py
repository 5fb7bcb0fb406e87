"""A single sample of a head by how many steps it is drawn in."""

from dataclasses import asdict
from statistics import fmean
from typing import Any

from medical.evaluation.evaluate import compare, trimmed
from tests.benchmarks.quality import plots
from tests.benchmarks.quality.cases import Arrays, Setting
from tests.benchmarks.quality.heads import SEED, Head, Scanned, middle, restorer
from tests.benchmarks.quality.mri_rows import FOUR, between, mean_figure, needed_heads
from tests.benchmarks.quality.planes import BASE
from tests.benchmarks.results import Row, Table

STEPS = (1, 2, 4, 8, 16, 32)
SAMPLES = 1
PART = (64, 64, 64)


def evaluations(setting: Setting) -> Row:
    """One sample of 1 to 32 steps, each of them one evaluation of the network."""
    found = [_case(setting, head, FOUR) for head in needed_heads(setting)]
    gained = {n: [case[_name(n)]["psnr"] - case[BASE]["psnr"] for case in found] for n in STEPS}
    best = max(STEPS, key=lambda n: fmean(gained[n]))
    behind = [b - o for b, o in zip(gained[best], gained[1], strict=True)]
    lines = [
        [
            _name(n),
            f"{fmean(case[_name(n)]['psnr'] for case in found):.2f}",
            f"{fmean(gained[n]):+.2f}{between(gained[n])}",
            f"{fmean(case[_name(n)]['ssim'] for case in found):.4f}",
        ]
        for n in STEPS
    ]
    return Row(
        title="MRI: number of steps",
        protocol=f"As above, at 4 mm, the middle {' x '.join(map(str, PART))} voxels of each "
        "head: one sample, the same noise for every number of steps. A step is one evaluation of "
        "the network. Gain: over back-projection of the same part.",
        figures=[mean_figure(f"one step below the best of the curve ({_name(best)})", behind, "dB",
                             high=0.2)],
        tables=[Table(columns=["one sample", "PSNR, dB", "gain, dB (95 %)", "SSIM"], lines=lines)],
        pictures=[plots.head_steps(setting, gained)],
        notes=["One step answers with about the mean of all heads that fit the scan, of which the "
               "square of the error is least; more steps draw one of them, with its detail."],
        details={"scores": found},
    )  # fmt: skip


def _name(steps: int) -> str:
    return f"{steps} step{'s' * (steps > 1)}"


def _case(setting: Setting, head: Head, scanned: Scanned) -> dict[str, Any]:
    case = {"head": head.name, **asdict(scanned), "steps": STEPS, "box": PART, "seed": SEED}
    return setting.find("mri", case, lambda: (_measured(head, scanned), Arrays()))


def _measured(head: Head, scanned: Scanned) -> dict[str, Any]:
    volume = middle(head.load(), PART)
    acquisition = scanned.acquisition(volume.spacing_mm)
    methods = {_name(n): restorer(scanned, {}, steps=n, samples=SAMPLES) for n in STEPS}
    scores = compare(trimmed(volume, acquisition), acquisition, methods)
    return {name: asdict(score) for name, _, score in scores}
