"""Super-resolution from 4 mm to 1 mm: on unseen heads, and on the template everyone has."""

import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor

from core.checkpoints import find_model, load_model
from core.unet import SpatioTemporalUNet
from medical.acquisition import Acquisition, SliceSampling
from medical.dataset import VALIDATION_EVERY
from medical.evaluate import Restore, Score, evaluate
from medical.intensity import measure_scale
from medical.nifti import read_volume
from medical.phantom import template_head
from medical.request import SuperResolutionRequest
from medical.super_resolve import super_resolve
from medical.volume import Volume
from tests.benchmarks.results import Figure, Row

THICKNESS_MM = 4.0
SLICE_AXIS = 2
NUM_HEADS = 4
GAIN_DB = 1.0
CONSISTENCY = 1e-3
SEAM = (0.98, 1.02)
ROOT = Path(__file__).parents[2]

WAYS = {
    "mean of 4": {"samples": 4},
    "one sample": {"samples": 1},
    "one step": {"samples": 1, "steps": 1},
}

PROTOCOL = (
    "Each head is degraded along z to contiguous, centered 4 mm slices with a Gaussian profile "
    "(FWHM = slice thickness) and restored to its own 1 mm grid. Intensities in [0, 1] by the "
    "99.9 percentile of positive voxels; PSNR (peak 1) in the foreground, the binary closing of "
    "x > 0.08; SSIM as the mean over planes through the thick axis inside the foreground's box "
    "(Gaussian window 11, sigma 1.5). Back-projection: 12 steps from cubic B-spline with the true "
    "operator, which the model is told too. Model: `super_resolve` with the request's defaults "
    "where not said otherwise, seed 0. Consistency: mean absolute difference of degrade(result) "
    "from the scan. Seam energy: jumps at window borders over those nearby, relative to the same "
    "in the back-projection. All values are means over heads; heads are every sixth subject of "
    "`t1-heads`, which training never saw (OpenNeuro ds002748, skull-stripped)."
)


class _Model:
    """The model as methods for ``evaluate``; remembers the seams and consistency it reported."""

    def __init__(self) -> None:
        self.network, self.record = load_model(find_model("heads-1mm", "mri"))
        self.seams: list[float] = []
        self.consistencies: list[float] = []

    def methods(self, names: Iterable[str]) -> dict[str, Restore]:
        return {name: _restore(self, self.network, WAYS[name]) for name in names}


def _restore(model: _Model, network: SpatioTemporalUNet, asked: dict[str, Any]) -> Restore:
    def restore(scan: Volume, spacing_mm: tuple[float, float, float]) -> Tensor:
        request = SuperResolutionRequest(
            scan="in memory", spacing_mm=spacing_mm, slice_thickness_mm=THICKNESS_MM, **asked
        )
        restored = super_resolve(scan, request, network)
        if request.samples > 1:
            model.seams.append(restored.seam)
            model.consistencies.append(restored.consistency)
        return restored.mean.data

    return restore


def run(*, quick: bool = False, full: bool = False) -> Row:
    """Score the baselines and the model on validation heads and on the MNI152 template."""
    ways = ["one step"] if quick else list(WAYS)
    wanted = 1 if quick else None if full else NUM_HEADS
    figures, notes, details = [], [], {}
    for place, heads in {
        "validation heads": validation_heads(wanted),
        "MNI152 template": [template_head()],
    }.items():
        if not heads:
            notes.append(
                "The heads are not on this machine (set LAMINA_DATA to the data folder), so only "
                "the template was scored."
            )
            continue
        model, scores = _Model(), {}
        scores = evaluate(heads, _acquisition(), model.methods(ways))
        unseen = place == "validation heads"
        figures += _figures(f"{place} ({len(heads)})", scores, model, judged=unseen)
        details[place] = {name: asdict(score) for name, score in scores.items()}
        details[place] |= {"seams": model.seams, "consistencies": model.consistencies}
    notes.append(
        "The template is the mean of 152 heads and was not trained on; it is smoother than any "
        "head and says less about the model."
    )
    return Row(
        title="Super-resolution, 4 mm to 1 mm",
        protocol=PROTOCOL,
        figures=figures,
        notes=notes,
        details=details,
    )


def validation_heads(wanted: int | None) -> list[Volume]:
    """Heads that training never saw; none where the data is not on this machine."""
    folder = Path(os.environ.get("LAMINA_DATA", ROOT.parent / "shared" / "data")) / "t1-heads"
    paths = sorted(folder.glob("sub-*/anat/sub-*_T1w.nii.gz"))
    chosen = [path for i, path in enumerate(paths) if i % VALIDATION_EVERY == VALIDATION_EVERY - 1]
    volumes = [read_volume(path) for path in chosen[:wanted]]
    return [
        volume.with_data(measure_scale(volume.data).apply(volume.data), dtype="float32")
        for volume in volumes
    ]


def _acquisition() -> Acquisition:
    return Acquisition.slices(SLICE_AXIS, SliceSampling(THICKNESS_MM))


def _figures(place: str, scores: dict[str, Score], model: _Model, *, judged: bool) -> list[Figure]:
    base, product = scores["back-projection"], "mean of 4"
    figures = []
    for name, score in scores.items():
        low = base.psnr + GAIN_DB if judged and name == product else None
        figures.append(
            Figure(
                name=f"{place}: {name}, PSNR",
                value=score.psnr,
                unit="dB",
                low=low,
                note=f"SSIM {score.ssim:.4f}, {score.seconds:.0f} s a head",
            )
        )
    if product in scores:
        gain = scores[product].psnr - base.psnr
        figures += [
            Figure(
                name=f"{place}: gain over back-projection",
                value=gain,
                unit="dB",
                low=GAIN_DB if judged else None,
            ),
            Figure(
                name=f"{place}: consistency",
                value=max(model.consistencies),
                high=CONSISTENCY,
                note="the worst head",
            ),
            Figure(
                name=f"{place}: seam energy",
                value=fmean(model.seams),
                low=SEAM[0],
                high=SEAM[1],
                note=f"{min(model.seams):.3f} to {max(model.seams):.3f}",
            ),
        ]
    return figures
