"""One head, one acquisition: scores, calibration, detail and planes to look at."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.models.checkpoints import find_model, load_model
from core.networks.unet import SpatioTemporalUNet
from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
from medical.acquisition.intensity import measure_scale
from medical.acquisition.scanning import rician
from medical.evaluation.evaluate import Restore, compare, trimmed
from medical.files.nifti import read_volume
from medical.files.volume import Volume
from medical.operations.baselines import foreground
from medical.operations.restoration import Restoration
from medical.operations.super_resolve import super_resolve
from medical.request import SuperResolutionRequest
from medical.training.dataset import VALIDATION_EVERY
from tests.benchmarks.quality.calibration import spread_against_error
from tests.benchmarks.quality.cases import ROOT, SHIPPED, Arrays, Setting
from tests.benchmarks.quality.detail import spectra
from tests.benchmarks.quality.planes import planes

MEAN, SAMPLE, STEP = "mean of 4", "one sample", "one step"
WAYS: dict[str, dict[str, int]] = {
    MEAN: {"samples": 4},
    SAMPLE: {"samples": 1},
    STEP: {"samples": 1, "steps": 1},
}
SEED = 0
EDITION: int = SuperResolutionRequest.model_fields["edition"].default
SMALL = (96, 112, 64)
"""Voxels of the box around the middle that a quick run takes."""

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Head:
    """A volume with fine voxels, read when it is needed.

    Attributes:
        name: For the page.
        load: Reads it.
    """

    name: str
    load: Callable[[], Volume]


@dataclass(frozen=True)
class Scanned:
    """How a head is degraded, and what the methods are told of it.

    Attributes:
        thickness_mm: of contiguous slices, Gaussian profile, to the nearest whole voxel; 0 for
            none.
        axis: of the file, across which the slices lie.
        in_plane: factor by which the first two axes are coarser, where there are no slices.
        told: thickness the methods are told, as a share of the true one.
    """

    thickness_mm: float = 4.0
    axis: int = 2
    in_plane: float = 1.0
    told: float = 1.0

    def acquisition(self, spacing_mm: Spacing, told: float = 1.0) -> Acquisition:
        """The acquisition; with another thickness and the same distance where told so."""
        if self.in_plane > 1.0:
            first, second = (
                SliceSampling(self.in_plane * s, profile="band") for s in spacing_mm[:2]
            )
            return Acquisition((first, second, None))
        pitch = self.pitch_mm(spacing_mm)
        thickness = told * pitch
        return Acquisition.slices(self.axis, SliceSampling(thickness, pitch - thickness))

    def request(self, spacing_mm: Spacing, **asked: int) -> SuperResolutionRequest:
        """What the model is asked."""
        told = 0.0 if self.in_plane > 1.0 else self.told * self.pitch_mm(spacing_mm)
        fields = {"spacing_mm": spacing_mm, "slice_thickness_mm": told, "seed": SEED}
        fields |= {"noise_std": 0.0, **asked}
        return SuperResolutionRequest.model_validate({"scan": "in memory", **fields})

    def pitch_mm(self, spacing_mm: Spacing) -> float:
        """The thickness as a whole number of voxels, so that no slice ends inside one."""
        spacing = spacing_mm[self.axis]
        return max(1, round(self.thickness_mm / spacing)) * spacing


def data_folder() -> Path:
    """Where heads for evaluation stand, if they do (LAMINA_DATA)."""
    return Path(os.environ.get("LAMINA_DATA", ROOT.parent / "shared" / "data"))


def validation_heads(setting: Setting) -> list[Head]:
    """Heads that training never saw; none where the data is not on this machine."""
    paths = sorted((data_folder() / "t1-heads").glob("sub-*/anat/sub-*_T1w.nii.gz"))
    chosen = paths[VALIDATION_EVERY - 1 :: VALIDATION_EVERY]
    heads = [Head(path.name.split("_")[0], file_reader(path)) for path in chosen]
    return heads[:2] if setting.quick else heads


def file_reader(path: Path) -> Callable[[], Volume]:
    """Reads a file with intensities in [0, 1]."""
    return lambda: normalized(read_volume(path))


def normalized(volume: Volume) -> Volume:
    """The volume with intensities in [0, 1], unscaled."""
    return volume.with_data(measure_scale(volume.data).apply(volume.data), dtype="float32")


def find_case(
    setting: Setting, head: Head, scanned: Scanned, ways: Sequence[str] = (MEAN,)
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Numbers of a head under an acquisition, and the key of its planes."""
    case = {"head": head.name, **asdict(scanned), "ways": list(ways), "seed": SEED}
    case["edition"] = EDITION
    if setting.quick:
        case["box"] = SMALL
    return setting.find("mri", case, lambda: _measure(head, scanned, ways, setting)), case


@cache
def network() -> SpatioTemporalUNet:
    """The shipped model."""
    return load_model(find_model(SHIPPED["mri"], "mri"))[0]


def _measure(
    head: Head, scanned: Scanned, ways: Sequence[str], setting: Setting
) -> tuple[dict[str, Any], Arrays]:
    volume = middle(head.load()) if setting.quick else head.load()
    acquisition = scanned.acquisition(volume.spacing_mm)
    truth = trimmed(volume, acquisition)
    made: dict[str, Restoration] = {}
    methods = {way: restorer(scanned, made, way, **WAYS[way]) for way in ways}
    told = scanned.acquisition(volume.spacing_mm, scanned.told)
    scores, estimates = {}, {}
    for name, estimate, score in compare(truth, acquisition, methods, told=told):
        scores[name], estimates[name] = asdict(score), estimate
    mask = foreground(truth.data)
    product = made[MEAN]
    numbers = {"scores": scores, "seam": product.seam, "consistency": product.consistency}
    if len(ways) > 1:
        numbers["spread"] = spread_against_error(product, truth.data, mask)
        numbers["spectra"] = spectra(
            {"truth": truth.data, **estimates}, mask, scanned.axis, truth.spacing_mm[scanned.axis]
        )
    slices = acquire(truth, acquisition)
    layers = {"truth": truth.data, **estimates, "spread": product.std.data}
    return numbers, planes(layers, slices, mask, truth.spacing_mm)


def restorer(
    scanned: Scanned, made: dict[str, Restoration], name: str = MEAN, **asked: int
) -> Restore:
    """The shipped model, asked so; what it made is kept in ``made`` by name."""

    def restore(scan: Volume, spacing_mm: Spacing) -> Tensor:
        made[name] = super_resolve(scan, scanned.request(spacing_mm, **asked), network())
        return made[name].mean.data

    return restore


def middle(volume: Volume, part: Sequence[int] = SMALL) -> Volume:
    """The box of so many voxels around the middle, or what there is."""
    data = volume.data
    for axis, size in enumerate(part):
        kept = min(size, data.shape[axis])
        data = data.narrow(axis, (data.shape[axis] - kept) // 2, kept)
    return volume.with_data(torch.clone(data))


def noisy(scan: Volume, noise: float) -> Volume:
    """A scan with Rician noise, intensities in [0, 1]."""
    dice = torch.Generator().manual_seed(SEED)
    return scan.with_data(rician(scan.data, noise * torch.randn(2, *scan.shape, generator=dice)))
