"""Super-resolution of one scan: K consistent samples, their mean and their spread.

The network adds what back-projection left out, window by window inside every sampling step, all
windows cut from one noise field; `core.operations.restoration` holds each estimate to the volumes
that explain the scan exactly.

Axes: inside, D is the thick axis; ``Problem.order`` says which axis of the file that is.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from core.families.table import denoiser
from core.families.walking import reachable, usual_walk
from core.networks.conditioned import ConditionedNetwork
from core.networks.control import ControlBranch
from core.operations.linear_operators import project
from core.operations.restoration import Measurement, restore
from core.operations.tiling import Slices, Window, tiled, windows
from core.sampling.samplers import OnStep, Walk, ignore
from core.sampling.schedules import linear
from medical.acquisition.acquisition import AcquiredGrid
from medical.acquisition.intensity import without_fill
from medical.evaluation.seams import seam_energy
from medical.files.nifti import read_volume
from medical.files.privacy import as_marked
from medical.files.stored import as_stored
from medical.files.volume import Volume
from medical.operations.controlled import control_shown
from medical.operations.error_map import ErrorHead, compact, predicted_error
from medical.operations.problem import Problem, prepare, protected_voxels
from medical.operations.remarks import remarks
from medical.operations.residual import RESIDUAL_SCALE
from medical.operations.restoration import Restoration
from medical.request import SuperResolutionRequest

logger = logging.getLogger(__name__)

EMPTY_BELOW = 0.05
EMPTY_SHARE = 1e-3
MAX_PROJECTIONS = 12
CLIPPED_BELOW = 1e-4


@dataclass(frozen=True)
class Tiling:
    """The network's windows along D, H, W, and how many it sees per call.

    Attributes:
        size: largest window; windows shrink, by whole cells, to cover the head evenly.
        overlap: least number of voxels that neighbors share.
        cell: voxels the network turns into one at its coarsest level.
        batch_size: windows per call.
    """

    size: tuple[int, int, int] = (48, 64, 64)
    overlap: tuple[int, int, int] = (8, 8, 8)
    cell: int = 8
    batch_size: int = 2

    def fitted(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The smallest window that covers a box with as few windows as ``size`` does."""
        sizes = []
        for length, size, overlap in zip(shape, self.size, self.overlap, strict=True):
            count = max(1, math.ceil((length - overlap) / (size - overlap)))
            least = math.ceil((length + (count - 1) * overlap) / count)
            sizes.append(min(size, self.cell * math.ceil(least / self.cell)))
        return sizes[0], sizes[1], sizes[2]


def super_resolve(
    volume: Volume,
    request: SuperResolutionRequest,
    network: ConditionedNetwork,
    *,
    protect: Volume | None = None,
    tiling: Tiling | None = None,
    on_step: OnStep | None = None,
    walk: Walk | None = None,
    errors: ErrorHead | None = None,
) -> Restoration:
    """The scan restored to the requested spacing, with its uncertainty and consistency.

    Args:
        volume: the scan.
        request: what was asked.
        network: residual network of a super-resolution model.
        protect: mask on the scan's or the result's grid; None reads ``request.protect``.
        tiling: windows the network sees; None takes the default.
        on_step: called after each sampling step with (done, total, estimate).
        walk: the sampler; None takes that of the network's family.
        errors: what predicts the network's errors; None leaves the spread of the samples.
    """
    problem = prepare(volume, request)
    if problem.filled:
        logger.warning(
            "%d voxels of the scan hold a number that stands for no tissue: taken as background",
            problem.filled,
        )
    if protect is None and request.protect:
        protect = read_volume(request.protect)
    mask = None if protect is None else protected_voxels(protect, volume, problem)
    shown = control_shown(request, volume, problem, _channels(network))
    tiling, walk = tiling or Tiling(), walk or usual_walk(network, request.seed)
    with torch.inference_mode():
        base = problem.back_projection()
        sampler = _Sampler(
            problem, base, request, shown, network=network, tiling=tiling, walk=walk
        )
        mean, std = sampler.moments(on_step or ignore)
        result = _obedient(base + RESIDUAL_SCALE * mean, problem)
        borders, periods = [w.slices for w in sampler.windows], _periods(problem.acquired)
        seam = seam_energy(result, borders, periods, reference=base)
        std, known = RESIDUAL_SCALE * std, errors is not None and request.edition > 2
        if errors is not None and known:
            std = predicted_error(problem, base, result, errors)
        restored = _restoration(
            volume, request, problem, result, std=std, mask=mask, seam=seam, known=known
        )
        return replace(restored, sampler=walk.__name__)


def _channels(network: ConditionedNetwork) -> int:
    """Of the control that its branch is shown; 0 without a branch."""
    branch = getattr(network, "control", None)
    return branch.channels if isinstance(branch, ControlBranch) else 0


class _Sampler:
    """Draws consistent residuals one after the other and keeps only their moments."""

    def __init__(
        self,
        problem: Problem,
        base: Tensor,
        request: SuperResolutionRequest,
        shown: Tensor | None,
        *,
        network: ConditionedNetwork,
        tiling: Tiling,
        walk: Walk,
    ) -> None:
        self.base, self.request, self.network = base, request, network
        self.walk = walk
        self.device = network.device
        self.shape = problem.acquired.shape
        self.channels = problem.channels(base).to(self.device)
        self.control = None if shown is None else shown.to(self.device)
        self.told = problem.conditioning().to(self.device)
        self.windows = self._cover(tiling)
        operator = problem.acquired.operator()
        missing = (problem.scan - operator.apply(base)) / RESIDUAL_SCALE
        measured = missing[None, None].to(self.device)
        self.known = Measurement(operator, measured, obedience(problem.noise_std))
        self.denoise = tiled(self._windows_denoised, self.windows, batch_size=tiling.batch_size)

    def moments(self, on_step: OnStep) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (D, H, W) over the samples."""
        found = restore(
            self.denoise,
            self.known,
            (1, *self.shape),
            seed=self.request.seed,
            levels=reachable(self.network, linear(self.request.steps)),
            walk=self.walk,
            samples=self.request.samples,
            on_step=on_step,
        )
        return found.mean[0], found.std[0]

    def _cover(self, tiling: Tiling) -> list[Window]:
        """Windows over what is more than background; the rest needs no network."""
        bright = self.base > EMPTY_BELOW
        box = bounding_box(bright, margin=tiling.cell)
        d, h, w = (side.stop - side.start for side in box)
        extent = (d, h, w)
        size = tiling.fitted(extent)
        d, h, w = (min(o, s - 1) for o, s in zip(tiling.overlap, size, strict=True))
        cover = windows(extent, size, (d, h, w))
        moved = [_shifted(window, box) for window in cover]
        return [w for w in moved if float(bright[w.slices].float().mean()) > EMPTY_SHARE]

    def _windows_denoised(self, z: Tensor, t: Tensor, r: Tensor, parts: list[Window]) -> Tensor:
        crops = [self.channels[(..., *part.slices)] for part in parts]
        told = replace(self.told.repeat(len(parts)), concat=torch.cat(crops))
        if self.control is not None:
            led = [self.control[(..., *part.slices)] for part in parts]
            told = replace(told, control=torch.cat(led))
        return denoiser(self.network, told)(z, t, r)


def bounding_box(bright: Tensor, *, margin: int) -> Slices:
    """The box around all true voxels (D, H, W), widened by a margin inside the volume."""
    sides = []
    for axis, size in enumerate(bright.shape):
        others = tuple(a for a in range(3) if a != axis)
        found = bright.any(dim=others).nonzero().flatten().tolist() or [0, size - 1]
        sides.append(slice(max(0, found[0] - margin), min(size, found[-1] + 1 + margin)))
    return sides[0], sides[1], sides[2]


def _shifted(window: Window, box: Slices) -> Window:
    """A window of a box as a window of the volume."""
    d, h, w = (
        slice(outer.start + inner.start, outer.start + inner.stop)
        for outer, inner in zip(box, window.slices, strict=True)
    )
    return Window((d, h, w), window.weights)


def obedience(noise_std: float) -> float:
    """The weight of the scan against the network: 1 without noise (Wiener)."""
    return RESIDUAL_SCALE**2 / (RESIDUAL_SCALE**2 + noise_std**2)


def _obedient(x: Tensor, problem: Problem) -> Tensor:
    """X without intensities outside the scan's own, still explaining the scan.

    Projections onto both sets in turn (von Neumann 1950), until what was cut off no longer
    matters. A noisy scan is approached once, by its weight, and not explained exactly.
    """
    operator, (least, most) = problem.acquired.operator(), problem.limits
    weight = obedience(problem.noise_std)
    if weight < 1:
        return project(x, operator, problem.scan, weight).clamp(least, most)
    for _ in range(MAX_PROJECTIONS):
        x = project(x, operator, problem.scan)
        cut_off = float((least - x).clamp(min=0.0).mean() + (x - most).clamp(min=0.0).mean())
        x = x.clamp(least, most)
        if cut_off < CLIPPED_BELOW:
            break
    return x


def _restoration(
    volume: Volume,
    request: SuperResolutionRequest,
    problem: Problem,
    result: Tensor,
    *,
    std: Tensor,
    mask: Tensor | None,
    seam: float,
    known: bool,
) -> Restoration:
    scale, affine = problem.scale, problem.grid.affine
    data, spread = scale.invert(problem.to_file(result)), scale.stretch(problem.to_file(std))
    if mask is not None:
        measured, _ = without_fill(volume.data)
        interpolated = problem.acquired.cubic().apply(measured.permute(*problem.order))
        data = torch.where(mask, problem.to_file(interpolated), data)
        spread = torch.where(mask, torch.zeros_like(spread), spread)
    words = f"Lamina SR, mean of {request.samples}, seed {request.seed}; research use"
    text = as_marked(words, synthetic=volume.header.synthetic)
    mean = volume.with_data(data, affine, description=text)
    final = scale.apply(as_stored(mean)).permute(*problem.order)  # rounded as in the file
    difference = problem.acquired.operator().apply(final) - problem.measured
    kind = "expected RMSE" if known else "std" if request.samples > 1 else "std unknown"
    uncertainty = volume.with_data(spread, affine, dtype="float32", description=f"{text}; {kind}")
    return Restoration(
        mean=mean,
        std=compact(uncertainty) if request.edition > 2 else uncertainty,
        consistency_map=volume.with_data(
            scale.stretch(problem.to_file(difference)), dtype="float32", description=text
        ),
        consistency=float(difference.abs().mean()),
        seam=seam,
        acquisition=replace(problem.acquisition, noise_std=problem.noise_std),
        scale=scale,
        samples=request.samples,
        num_protected=0 if mask is None else int(mask.sum()),
        num_filled=problem.filled,
        width=problem.width,
        calibrated=known,
        remarks=remarks(problem, request),
    )


def _periods(acquired: AcquiredGrid) -> tuple[float, float, float]:
    d, h, w = (
        1.0 if grid is None else grid.sampling.pitch_mm / grid.spacing_mm for grid in acquired.axes
    )
    return d, h, w
