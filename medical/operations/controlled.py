"""Heads that are led by edges or tissues: what is asked, and the control it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from core.refusal import Refusal
from medical.acquisition.intensity import measure_scale, without_fill
from medical.anatomy.tissues import CSF, GRAY, TISSUES, WHITE
from medical.files.nifti import read_volume
from medical.files.volume import same_place

if TYPE_CHECKING:
    from medical.files.volume import Volume
    from medical.operations.problem import Problem
    from medical.request import SuperResolutionRequest

EDGES, LABELS = "edges", "labels"
CHANNELS = {EDGES: 1, LABELS: 3}
"""What a branch can be shown, and in how many channels."""
STEEPEST = 0.25
"""Change from voxel to voxel, as a share of the brightest tissue, that counts as a whole edge."""


def edges(x: Float[Tensor, "B 1 D H W"]) -> Float[Tensor, "B 1 D H W"]:
    """How steeply intensities in [0, 1] change along all three axes, from 0 to 1."""
    padded = functional.pad(x.float(), (1,) * 6, mode="replicate")
    d = (padded[:, :, 2:, 1:-1, 1:-1] - padded[:, :, :-2, 1:-1, 1:-1]) / 2
    h = (padded[:, :, 1:-1, 2:, 1:-1] - padded[:, :, 1:-1, :-2, 1:-1]) / 2
    w = (padded[:, :, 1:-1, 1:-1, 2:] - padded[:, :, 1:-1, 1:-1, :-2]) / 2
    return (torch.sqrt(d**2 + h**2 + w**2) / STEEPEST).clamp(max=1.0)


def one_hot(labels: Tensor) -> Float[Tensor, "B 3 D H W"]:
    """Fluid, gray and white matter, 1 where each is, of labels (B, 1, D, H, W); else 0.

    >>> one_hot(torch.tensor([0, 3]).view(1, 1, 1, 1, 2)).flatten(1).tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0, 1.0]]
    """
    return torch.cat([labels == kind for kind in (CSF, GRAY, WHITE)], dim=1).float()


def control_shown(
    request: SuperResolutionRequest, scan: Volume, problem: Problem, channels: int
) -> Float[Tensor, "1 C D H W"] | None:
    """What the image that is named shows, axes as in ``problem``; None where none is.

    Args:
        request: What was asked.
        scan: To be restored.
        problem: Of the scan.
        channels: Of what the branch is shown, by which edges and labels are told apart; 0 where
            there is no branch.

    Raises:
        Refusal: The file or the image is named alone, beside learning from the scan, or the image
            does not lie on the grid of the result, or is no label map where one is needed.
    """
    if not (request.control or request.control_scan):
        return None
    if not (request.control_scan and channels):
        raise Refusal(
            f"control={request.control!r} with control_scan={request.control_scan!r}: a control "
            "file reads the edges or the labels of an image; name control and control_scan, or "
            "leave both out."
        )
    if request.adapt_minutes:
        raise Refusal(
            f"control={request.control!r} with control_scan={request.control_scan!r} and "
            f"adapt_minutes={request.adapt_minutes:g}: a branch "
            "belongs to the weights it was learned beside, and learning changes them; leave one "
            "of the two out."
        )
    shown, grid = read_volume(request.control_scan), problem.grid
    if not same_place(shown, scan, grid):
        raise Refusal(
            f"control_scan={request.control_scan} has shape {shown.shape} and, in mm, the affine "
            f"{shown.affine_mm[:3].round(3).tolist()}: it must lie on the grid of the result, of "
            f"shape {grid.shape} and {tuple(round(s, 3) for s in grid.spacing_mm)} apart; "
            "resample it there."
        )
    if channels == CHANNELS[LABELS]:
        labels = shown.data.permute(*problem.order)  # (D, H, W)
        _check_labels(labels, request.control_scan)
        return one_hot(labels[None, None])
    data, _ = without_fill(shown.data)
    ready = measure_scale(data).apply(data).permute(*problem.order)  # (D, H, W)
    return edges(ready[None, None])


def _check_labels(labels: Tensor, path: str) -> None:
    """Refuse an image that holds anything but tissues."""
    found = labels.unique()
    odd = found[(found != found.round()) | (found < 0) | (found > WHITE)]
    if len(odd):
        raise Refusal(
            f"control_scan={path} holds {float(odd[0]):g}: this branch is shown labels, "
            f"{', '.join(f'{number} {name}' for number, name in TISSUES.items())}; name a map "
            "that `lamina mri segment --labels tissues` wrote."
        )
