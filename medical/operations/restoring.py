"""What of super-resolution needs no network: windows, obedience to the scan, and the result.

Axes: inside, D is the thick axis; ``Problem.order`` says which axis of the file that is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from core.arrays import Tensor, as_type, by_slabs, is_plain, namespace, permuted, plain, turned
from core.operations.linear_operators import project
from core.operations.moments import Moments
from core.operations.windows import Slices, Window, windows
from medical.acquisition.acquisition import AcquiredGrid
from medical.acquisition.intensity import without_fill
from medical.evaluation.seams import seam_energy
from medical.files.privacy import as_marked
from medical.files.stored import as_stored
from medical.files.volume import Volume
from medical.operations.error_map import ErrorHead, compact, predicted_error
from medical.operations.problem import Problem
from medical.operations.remarks import remarks
from medical.operations.residual import RESIDUAL_SCALE
from medical.operations.restoration import Restoration

if TYPE_CHECKING:
    from medical.request import SuperResolutionRequest

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
        shrinks: whether windows may be smaller than ``size``.
    """

    size: tuple[int, int, int] = (48, 64, 64)
    overlap: tuple[int, int, int] = (8, 8, 8)
    cell: int = 8
    batch_size: int = 2
    shrinks: bool = True

    def fitted(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The smallest window that covers a box with as few windows as ``size`` does."""
        if not self.shrinks:
            return self.size
        sizes = []
        for length, size, overlap in zip(shape, self.size, self.overlap, strict=True):
            count = max(1, math.ceil((length - overlap) / (size - overlap)))
            least = math.ceil((length + (count - 1) * overlap) / count)
            sizes.append(min(size, self.cell * math.ceil(least / self.cell)))
        return sizes[0], sizes[1], sizes[2]


def cover(base: Tensor, tiling: Tiling) -> list[Window]:
    """Windows over what is more than background; the rest needs no network.

    Args:
        base: (D, H, W) the back-projection.
        tiling: how windows lie.
    """
    bright = base > EMPTY_BELOW
    box = bounding_box(bright, margin=tiling.cell)
    d, h, w = (side.stop - side.start for side in box)
    extent = (d, h, w)
    size = tiling.fitted(extent)
    d, h, w = (min(o, s - 1) for o, s in zip(tiling.overlap, size, strict=True))
    moved = [_shifted(window, box) for window in windows(extent, size, (d, h, w))]
    return [w for w in moved if as_type(bright[w.slices], "float32").mean() > EMPTY_SHARE]


def bounding_box(bright: Tensor, *, margin: int) -> Slices:
    """The box around all true voxels (D, H, W), widened by a margin inside the volume."""
    sides = []
    for axis, size in enumerate(bright.shape):
        others = tuple(a for a in range(3) if a != axis)
        found = np.flatnonzero(plain(bright).any(axis=others)).tolist() or [0, size - 1]
        sides.append(slice(max(0, found[0] - margin), min(size, found[-1] + 1 + margin)))
    return sides[0], sides[1], sides[2]


def _shifted(window: Window, box: Slices) -> Window:
    """A window of a box as a window of the volume."""
    d, h, w = (
        slice(outer.start + inner.start, outer.start + inner.stop)
        for outer, inner in zip(box, window.slices, strict=True)
    )
    return Window((d, h, w), window.weights)


def obedient(x: Tensor, problem: Problem) -> Tensor:
    """X, in its own memory, without intensities outside the scan's own, still explaining the scan.

    Projections onto both sets in turn (von Neumann 1950), until what was cut off no longer
    matters. A noisy scan is approached once, by its weight, and not explained exactly.
    """
    operator, (least, most) = problem.operator, problem.limits
    weight = problem.obedience
    if weight < 1:
        x = project(x, operator, problem.scan, weight, out=x)
        return namespace(x).clip(x, least, most, out=x)
    for _ in range(MAX_PROJECTIONS):
        x = project(x, operator, problem.scan, out=x)
        cut_off = float(_above_zero(least - x).mean() + _above_zero(x - most).mean())
        x = namespace(x).clip(x, least, most, out=x)
        if cut_off < CLIPPED_BELOW:
            break
    return x


def _above_zero(x: Tensor) -> Tensor:
    """X without what is negative, in its own memory."""
    return namespace(x).clip(x, 0.0, None, out=x)


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn of a scan.

    Attributes:
        base: (D, H, W) the back-projection.
        moments: of the samples, (1, D, H, W) each, what the network adds in its own unit.
        windows: that the network saw.
    """

    base: Tensor
    moments: Moments
    windows: Sequence[Window]


def finished(
    volume: Volume,
    request: SuperResolutionRequest,
    problem: Problem,
    drawn: Drawn,
    *,
    mask: Tensor | None = None,
    errors: ErrorHead | None = None,
) -> Restoration:
    """The restoration: the samples' mean held to the scan, and how sure it is.

    Args:
        volume: the scan.
        request: what was asked.
        problem: the scan made ready.
        drawn: the samples.
        mask: of the result's voxels that stay the scan's own, along the file's axes.
        errors: what predicts the network's errors; None leaves the spread of the samples.
    """
    borders, rhythm = [w.slices for w in drawn.windows], _periods(problem.acquired)
    base, found = drawn.base, drawn.moments
    del drawn  # of a large grid each array counts: none is kept beyond its last use
    known = errors is not None and request.edition > 2
    mean, std = found.mean[0], None if known else found.std[0]
    del found
    result = RESIDUAL_SCALE * mean
    del mean
    result += base
    result = obedient(result, problem)
    seam = seam_energy(result, borders, rhythm, reference=base)
    if std is None:
        assert errors is not None
        std = predicted_error(problem, base, result, errors)
    else:
        std *= RESIDUAL_SCALE
    del base
    data = problem.scale.invert(problem.in_file(result))
    spread = problem.scale.stretch(problem.in_file(std))
    del std
    return _restoration(
        volume, request, problem, result, (data, spread), mask=mask, seam=seam, known=known
    )


def _restoration(
    volume: Volume,
    request: SuperResolutionRequest,
    problem: Problem,
    result: Tensor,
    in_file: tuple[Tensor, Tensor],
    *,
    mask: Tensor | None,
    seam: float,
    known: bool,
) -> Restoration:
    """The restoration from a result, whose memory is used up, and it and its error as in files."""
    scale, affine, (data, spread) = problem.scale, problem.grid.affine, in_file
    if mask is not None:
        measured, _ = without_fill(volume.data)
        cubic = problem.acquired.cubic(plain=is_plain(measured))
        interpolated = cubic.apply(permuted(measured, problem.order))
        library = namespace(data)
        data = library.where(mask, problem.to_file(interpolated), data)
        spread = library.where(mask, library.zeros_like(spread), spread)
    words = f"Lamina SR, mean of {request.samples}, seed {request.seed}; research use"
    text = as_marked(words, synthetic=volume.header.synthetic)
    mean = volume.with_data(data, affine, description=text)
    final = by_slabs(  # rounded as in the file
        lambda part: scale.apply(as_stored(part, mean.header)),
        turned(mean.data, problem.order),
        out=result,
    )
    difference = problem.operator.apply(final) - problem.measured
    kind = "expected RMSE" if known else "std" if request.samples > 1 else "std unknown"
    uncertainty = volume.with_data(spread, affine, dtype="float32", description=f"{text}; {kind}")
    return Restoration(
        mean=mean,
        std=compact(uncertainty) if request.edition > 2 else uncertainty,
        consistency_map=volume.with_data(
            scale.stretch(problem.to_file(difference)), dtype="float32", description=text
        ),
        consistency=float(abs(difference).mean()),
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
