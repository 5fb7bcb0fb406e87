"""What to trust of a restored scan: its map of errors, extreme voxels, the weights of before."""

import tempfile
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from core.metrics import psnr
from core.models.checkpoints import find_model, load_model
from core.networks.unet import SpatioTemporalUNet
from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
from medical.evaluation.evaluate import trimmed
from medical.files.nifti import write_volume
from medical.files.volume import FileHeader, Volume
from medical.operations.baselines import foreground
from medical.operations.error_map import shipped_head
from medical.operations.super_resolve import super_resolve
from medical.request import SuperResolutionRequest
from tests.benchmarks.quality.cases import SHIPPED, Arrays, Setting
from tests.benchmarks.quality.heads import (
    EDITION,
    MEAN,
    SEED,
    SMALL,
    Head,
    Scanned,
    find_case,
    middle,
    noisy,
)
from tests.benchmarks.quality.mri_rows import (
    FEW,
    between,
    four_mm,
    mean_figure,
    needed_heads,
    psnrs,
)
from tests.benchmarks.results import Figure, Row, Table

Numbers = dict[str, Any]

BINS, WITHIN, MESH = 10, (0.8, 1.25), 1.3
NOISY, FINE = 3, 3  # heads with noise, and in slices 2 mm apart
UNITS = 1000.0  # of the scan's brightest tissue, in whole numbers

PART = (96, 112, 96)
LEAST_DB = -0.3
VALUES = {"-32768": -32768.0, "-1024": -1024.0, "-1": -1.0, "the maximum": 1.0,
          "1.3 of the maximum": 1.3, "32767": 32767.0}  # fmt: skip
BORDER, NEAR = 8, 12  # voxels of 0.87 mm that are padded, and that are not looked at around

BEFORE = "heads-1mm-1"
TASKS = {"2 mm": Scanned(2.0), "4 mm": Scanned(), "in-plane factor 2": Scanned(0.0, in_plane=2.0)}


def errors(setting: Setting) -> Row:
    """The map of expected errors against the errors."""
    heads = needed_heads(setting)
    kinds = {
        "4 mm": [_errors(setting, head, 4.0, 0.0) for head in heads],
        "4 mm, 2 % noise": [_errors(setting, head, 4.0, 0.02) for head in heads[:NOISY]],
        "2 mm": [_errors(setting, head, 2.0, 0.0) for head in heads[:FINE]],
    }
    figures, lines = [], []
    for name, found in kinds.items():
        ratios = np.array([n["ratios"] for n in found])
        figures += _within(f"{name}, mean of heads", ratios.mean(0), len(found))
        figures += _within(f"{name}, every head", ratios, len(found))
        lines.append([name, *(f"{value:.2f}" for value in ratios.mean(0)), str(len(found))])
    every = [n for found in kinds.values() for n in found]
    figures += [
        Figure(
            name="power at the distance of slices over that beside it, the most",
            value=max(n["mesh"] for n in every),
            high=MESH,
            cases=len(every),
        ),
        mean_figure("size of the map's file over that of the scan", [n["size"] for n in every]),
    ]
    return Row(
        title="MRI: the map of expected errors",
        protocol="Whole heads of validation in Gaussian slices as wide as they are far apart, "
        "Rician noise where said, of the brightest tissue; nothing told. The foreground's voxels "
        "in ten bins of equal number by the predicted error: root mean square of the true error "
        "over that of the predicted one. Power of the map along the slices' axis, mean of all "
        "columns, at the distance of slices over the mean of the two frequencies beside it. Files "
        "as the product writes them, `.nii.gz`; the scan in whole numbers up to about 1,000.",
        figures=figures,
        tables=[
            Table(columns=["scan", *(f"bin {k + 1}" for k in range(BINS)), "heads"], lines=lines)
        ],
        notes=[
            "Bins: from the least to the largest predicted error, means over heads.",
            "The map has as many more voxels than the scan as its grid is finer.",
        ],
        details=kinds,
    )


def _within(name: str, ratios: NDArray[np.float64], cases: int) -> list[Figure]:
    """The least and the most of the bins, each of which should lie within limits."""
    title = f"{name}: true over predicted error"
    low, high = WITHIN
    return [
        Figure(name=f"{title}, the least bin", value=float(ratios.min()), low=low, cases=cases),
        Figure(name=f"{title}, the most", value=float(ratios.max()), high=high, cases=cases),
    ]


def _errors(setting: Setting, head: Head, pitch: float, noise: float) -> Numbers:
    case = {"head": head.name, "errors": [pitch, noise], "seed": SEED, "edition": EDITION}

    def measure() -> tuple[Numbers, Arrays]:
        acquisition = Acquisition.slices(2, SliceSampling(pitch))
        truth = trimmed(head.load(), acquisition)
        scan = in_whole_numbers(noisy(acquire(truth, acquisition), noise))
        asked = _asked(truth.spacing_mm)
        made = super_resolve(scan, asked, loaded()[0], errors=shipped_head(loaded()[1]))
        wrong = made.mean.data / UNITS - truth.data
        told = made.std.data / UNITS
        inside = foreground(truth.data)
        return {
            "ratios": bins(wrong[inside], told[inside]),
            "mesh": mesh(told, 2, pitch / truth.spacing_mm[2]),
            "size": _size(made.std) / _size(scan),
        }, {}

    return setting.find("mri", case, measure)


def bins(wrong: Tensor, told: Tensor) -> list[float]:
    """True over predicted error in bins of as many voxels, from the least predicted on."""
    order = told.argsort()
    pairs = ((wrong[part], told[part]) for part in order.chunk(BINS))
    return [_rms(true) / max(_rms(predicted), 1e-9) for true, predicted in pairs]


def mesh(told: Tensor, axis: int, period: float) -> float:
    """Power at a period along an axis over the mean of that at the frequencies beside it."""
    columns = told.movedim(axis, 0).flatten(1)
    power = torch.fft.rfft(columns - columns.mean(0), dim=0).abs().square().mean(1)
    at = round(len(columns) / period)
    return float(power[at] / power[[n for n in (at - 1, at + 1) if n < len(power)]].mean())


def extremes(setting: Setting) -> Row:
    """One voxel, or a padded border, of a value that no tissue has."""
    head = needed_heads(setting)[0]
    clean = _extreme(setting, head, "none", "voxel")
    lines, losses = [], []
    for value in VALUES:
        found = {where: _extreme(setting, head, value, where) for where in ("voxel", "border")}
        lost = {where: n["psnr"] - clean[f"psnr_{where}"] for where, n in found.items()}
        losses += lost.values()
        lines.append([value, *(f"{lost[where]:+.3f}" for where in found)])
    return Row(
        title="MRI: extreme voxels and padded borders",
        protocol=f"The middle {' x '.join(map(str, PART))} voxels of one head of validation in "
        "4 mm slices, in whole numbers up to about 1,000; nothing told. One voxel of the scan "
        f"inside the head, or the first {BORDER} voxels along the first axis, get a value that is "
        "no tissue's. PSNR (peak 1) in the foreground more than "
        f"{NEAR} voxels away from it, over that of the clean scan in the same voxels.",
        figures=[
            Figure(
                name="the least change elsewhere (one head)",
                value=min(losses),
                unit="dB",
                low=LEAST_DB,
                cases=len(losses),
            )
        ],
        tables=[Table(columns=["value", "one voxel, dB", "border, dB"], lines=lines)],
    )


def _extreme(setting: Setting, head: Head, value: str, where: str) -> Numbers:
    case = {"head": head.name, "extreme": [value, where], "part": PART, "seed": SEED}
    case["edition"] = EDITION

    def measure() -> tuple[Numbers, Arrays]:
        acquisition = Acquisition.slices(2, SliceSampling(4.0))
        truth = trimmed(middle(head.load(), PART), acquisition)
        scan = in_whole_numbers(acquire(truth, acquisition))
        place = {"voxel": _voxel(scan), "border": np.s_[:BORDER]}
        if value != "none":
            number = VALUES[value] * (float(scan.data.max()) if 0 < VALUES[value] < 2 else 1.0)
            data = scan.data.clone()
            data[place[where]] = round(number)
            scan = scan.with_data(data)
        made = super_resolve(scan, _asked(truth.spacing_mm), loaded()[0]).mean.data / UNITS
        kept = {w: _away(scan, truth, place[w]) & foreground(truth.data) for w in place}
        found = {f"psnr_{w}": psnr(made[k], truth.data[k]) for w, k in kept.items()}
        return {"psnr": found[f"psnr_{where}"], **found}, {}

    return setting.find("mri", case, measure)


def _voxel(scan: Volume) -> tuple[int, ...]:
    """The voxel in the middle of the scan."""
    d, h, w = (n // 2 for n in scan.shape)
    return d, h, w


def _away(scan: Volume, truth: Volume, place: Any) -> Tensor:
    """Voxels of the truth that are far from a place in the scan."""
    marked = np.zeros(scan.shape, dtype=bool)
    marked[place] = True
    thick = truth.shape[2] // scan.shape[2]
    return torch.from_numpy(
        ndimage.distance_transform_edt(~np.repeat(marked, thick, axis=2)) > NEAR
    )


def before(setting: Setting) -> Row:
    """The shipped weights beside those of before, by the same edition and on the same heads."""
    heads = needed_heads(setting)[:FEW]
    figures, lines = [], []
    for name, scanned in TASKS.items():
        new = four_mm(setting)[:FEW]
        if name != "4 mm":
            new = [find_case(setting, head, scanned) for head in heads]
        old = [_before(setting, head, scanned) for head in heads]
        gained = [n - o["psnr"] for n, o in zip(psnrs(new, MEAN), old, strict=True)]
        figures.append(mean_figure(f"{name}: over the weights of before", gained, "dB", low=0.0))
        lines.append(
            [
                name,
                f"{fmean(o['psnr'] for o in old):.2f}",
                f"{fmean(psnrs(new, MEAN)):.2f}",
                f"{fmean(gained):+.2f}{between(gained)}",
                f"{max(o['consistency'] for o in old):.1e}",
                f"{max(n['consistency'] for n, _ in new):.1e}",
                str(len(heads)),
            ]
        )
    columns = ["case", f"`{BEFORE}`, dB", f"`{SHIPPED['mri']}`, dB", "gain, dB (95 %)"]
    return Row(
        title="MRI: the weights of before",
        protocol=f"`{BEFORE}` and `{SHIPPED['mri']}` asked the same, by `edition: {EDITION}`, of "
        "the first five heads; otherwise as in the first row. Noise is told as 0. Consistency: of "
        "the worst head.",
        figures=figures,
        tables=[
            Table(columns=[*columns, "consistency, before", "consistency", "heads"], lines=lines)
        ],
    )


def _before(setting: Setting, head: Head, scanned: Scanned) -> Numbers:
    task = [scanned.thickness_mm, scanned.in_plane]
    case = {"head": head.name, "before": task, "seed": SEED, "edition": EDITION}
    case["weights"] = loaded(BEFORE)[1]["sha256"]["weights.safetensors"]
    if setting.quick:
        case["box"] = SMALL

    def measure() -> tuple[Numbers, Arrays]:
        volume = middle(head.load()) if setting.quick else head.load()
        acquisition = scanned.acquisition(volume.spacing_mm)
        truth = trimmed(volume, acquisition)
        asked = scanned.request(volume.spacing_mm, samples=4)
        made = super_resolve(acquire(truth, acquisition), asked, loaded(BEFORE)[0])
        mask = foreground(truth.data)
        value = psnr(made.mean.data[mask], truth.data[mask])
        return {"psnr": value, "consistency": made.consistency}, {}

    return setting.find("mri", case, measure)


@cache
def loaded(name: str = SHIPPED["mri"]) -> tuple[SpatioTemporalUNet, dict[str, Any]]:
    """A model of heads and its record."""
    return load_model(find_model(name, "mri"))


def in_whole_numbers(scan: Volume) -> Volume:
    """A scan of intensities in [0, 1] as scanners store one."""
    return Volume((UNITS * scan.data).round(), scan.affine, FileHeader(dtype="int16"))


def _asked(spacing_mm: tuple[float, float, float]) -> SuperResolutionRequest:
    return SuperResolutionRequest(scan="in memory", spacing_mm=spacing_mm, seed=SEED)


def _size(volume: Volume) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii.gz"
        write_volume(volume, path)
        return path.stat().st_size


def _rms(x: Tensor) -> float:
    return float(x.double().square().mean().sqrt())
