"""How the MRI network does while it is trained: pieces of unseen heads, restored from 4 mm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from core.metrics import psnr
from core.networks.conditioned import ConditionedNetwork
from core.training.validation import Validate, Validation
from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
from medical.evaluation.evaluate import trimmed
from medical.files.volume import Volume
from medical.operations.baselines import back_projection, foreground
from medical.operations.super_resolve import super_resolve
from medical.request import SuperResolutionRequest

HEADS, SIDE = 2, 64
THICKNESS_MM, THICK_AXIS = 4.0, 2
SAMPLES = 2
ENLARGED = 2


@dataclass(frozen=True)
class _Case:
    """A piece of a head, its scan in thick slices, and what back-projection makes of that."""

    truth: Volume
    scan: Volume
    base: Tensor
    inside: Tensor


def validation(heads: Sequence[tuple[str, Volume]]) -> Validate | None:
    """Restores the middles of the first heads, and says how near they are; None without heads.

    Args:
        heads: Subject and head, intensities in [0, 1]; none that is trained on.
    """
    cases = [_case(_middle(head)) for _, head in heads[:HEADS]]
    request = SuperResolutionRequest(
        scan="in memory", slice_thickness_mm=THICKNESS_MM, samples=SAMPLES
    )

    def validate(network: ConditionedNetwork) -> Validation:
        found = [
            super_resolve(
                case.scan,
                request.model_copy(update={"spacing_mm": case.truth.spacing_mm}),
                network,
            ).mean.data
            for case in cases
        ]
        pairs = list(zip(cases, found, strict=True))
        ours = fmean(psnr(x, case.truth.data, mask=case.inside) for case, x in pairs)
        base = fmean(psnr(case.base, case.truth.data, mask=case.inside) for case in cases)
        numbers = {"psnr": ours, "psnr_back_projection": base, "gain_db": ours - base}
        return Validation(numbers, np.concatenate([_picture(*pair) for pair in pairs]))

    return validate if cases else None


def _middle(head: Volume) -> Volume:
    """The cube in the middle of a head, or as much of it as there is."""
    data, affine = head.data, head.affine.copy()
    for axis, size in enumerate(head.shape):
        start = max(0, (size - SIDE) // 2)
        data = data.narrow(axis, start, min(SIDE, size))
        affine[:3, 3] += head.affine[:3, axis] * start
    return head.with_data(data.contiguous(), affine)


def _case(piece: Volume) -> _Case:
    acquisition = Acquisition.slices(THICK_AXIS, SliceSampling(THICKNESS_MM))
    truth = trimmed(piece, acquisition)
    scan = acquire(truth, acquisition)
    acquired = acquisition.on_grid(truth.shape, truth.spacing_mm)
    base = back_projection(scan.data, acquired)
    return _Case(truth, scan, base, foreground(truth.data))


def _picture(case: _Case, restored: Tensor) -> NDArray[np.uint8]:
    """Cuts across the three axes, a row each: back-projection, restored, truth."""
    rows = []
    for axis in range(3):
        planes = [
            x.select(axis, x.shape[axis] // 2).T.flip(0)
            for x in (case.base, restored, case.truth.data)
        ]
        row = np.concatenate([(255 * p.float().clamp(0, 1)).byte().numpy() for p in planes], 1)
        rows.append(np.pad(row, ((0, 2), (0, 3 * SIDE + 2 - row.shape[1]))))
    gray = np.concatenate(rows).repeat(ENLARGED, 0).repeat(ENLARGED, 1)
    return np.stack([gray] * 3, axis=-1)
