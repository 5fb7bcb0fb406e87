"""What a person should know of a restoration before it is made: what was found and assumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.progress import counted
from medical.acquisition.slice_width import BOX_OFF, BOX_STD
from medical.operations.familiarity import SHIPPED, unlike
from medical.operations.problem import Problem

if TYPE_CHECKING:
    from medical.request import SuperResolutionRequest


def remarks(problem: Problem, request: SuperResolutionRequest) -> tuple[str, ...]:
    """One line for each thing that the scan showed or that nobody told.

    Args:
        problem: the scan made ready.
        request: what was asked.
    """
    if not problem.bounded:
        return ()
    found = [_held(problem), _noise(problem), _profile(problem, request)]
    if request.model in SHIPPED and request.edition > 2:
        found += unlike(problem.likeness, problem.spacing_mm[0], min(problem.grid.spacing_mm))
    return tuple(line for line in found if line)


def _held(problem: Problem) -> str:
    scale, count = problem.scale, problem.filled + problem.scale.held
    if problem.filled and not scale.held:
        return f"{counted(count, 'voxel')} with a number for no tissue: taken as background"
    if not count:
        return ""
    return (
        f"{counted(count, 'voxel')} far outside the other intensities, {scale.least:g} to "
        f"{scale.most:g}: not counted for the intensity scale and held at its ends"
    )


def _noise(problem: Problem) -> str:
    if problem.told_noise is not None:
        return ""
    if problem.noise_std == 0:
        return "noise: none found beyond that of the heads the model was trained on"
    return (
        f"noise: {100 * problem.noise_std:.2g} % of the brightest tissue, estimated from the "
        "scan, which is cleaned of it first; noise_std=0 repeats the scan exactly"
    )


def _profile(problem: Problem, request: SuperResolutionRequest) -> str:
    sampling = problem.acquisition.axes[problem.order[0]]
    if sampling is None or request.slice_thickness_mm:
        return ""
    if request.slice_gap_mm:
        return (
            f"slice profile: slices are taken to be {sampling.thickness_mm:.3g} mm thick, what "
            f"the gap of {request.slice_gap_mm:.3g} mm leaves of their distance, "
            f"{sampling.profile} in shape"
        )
    if sampling.profile == "band":
        return (
            "slice profile: of the axes that become finer none is longer than both others, so "
            f"{sampling.pitch_mm:.3g} mm are taken for a crop of k-space, as in planes; "
            "slice_thickness_mm says otherwise"
        )
    width = problem.width
    if width is not None and not width.doubt:
        share = sampling.thickness_mm / sampling.pitch_mm
        box = (
            f" (boxes were found {100 * BOX_OFF:.0f} % thinner than they are, give or take "
            f"{100 * BOX_STD:.0f} %)"
        )
        return (
            f"slice profile: {sampling.thickness_mm:.3g} mm wide, {100 * share:.0f} % of "
            f"the slices' distance, estimated from the scan to {100 * width.std:.0f} %, taken to "
            f"be {sampling.profile}{box if sampling.profile == 'box' else ''}; "
            "slice_thickness_mm overrides it"
        )
    why = f" and the scan does not show it ({width.doubt})" if width else ""
    return (
        f"slice profile: nobody told it{why}, so slices are taken to be "
        f"{sampling.thickness_mm:.3g} mm thick, as far as they are apart, {sampling.profile} in "
        "shape"
    )
