"""Super-resolution of one scan: K consistent samples, their mean and their spread.

The network adds what back-projection left out, window by window inside every sampling step, all
windows cut from one noise field; `core.operations.restoration` holds each estimate to the volumes
that explain the scan exactly.

Axes: inside, D is the thick axis; ``Problem.order`` says which axis of the file that is.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from core.families.table import denoiser
from core.families.walking import reachable, usual_walk
from core.networks.conditioned import ConditionedNetwork
from core.networks.control import ControlBranch
from core.operations.restoration import Measurement, restore
from core.operations.tiling import tiled
from core.operations.windows import Window
from core.sampling.samplers import OnStep, Walk, ignore
from core.sampling.schedules import linear
from medical.files.nifti import read_volume
from medical.files.volume import Volume
from medical.operations.controlled import control_shown
from medical.operations.error_map import ErrorHead
from medical.operations.mirrors import Mirror, mirrored, mirrors
from medical.operations.problem import Problem, prepare, protected_voxels
from medical.operations.residual import RESIDUAL_SCALE
from medical.operations.restoration import Restoration
from medical.operations.restoring import Drawn, Tiling, cover, finished
from medical.request import SuperResolutionRequest

logger = logging.getLogger(__name__)


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
        restored = finished(
            volume,
            request,
            problem,
            # under no name, so that its arrays go as soon as they were used
            _Sampler(problem, request, shown, network=network, tiling=tiling, walk=walk).drawn(
                on_step or ignore
            ),
            mask=mask,
            errors=errors,
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
        request: SuperResolutionRequest,
        shown: Tensor | None,
        *,
        network: ConditionedNetwork,
        tiling: Tiling,
        walk: Walk,
    ) -> None:
        self.problem, self.request, self.network = problem, request, network
        self.base, self.walk = problem.back_projection(), walk
        self.device = network.device
        self.shape = problem.acquired.shape
        self.beside = self.base.to(self.device)
        self.control = None if shown is None else shown.to(self.device)
        self.told = problem.conditioning().to(self.device)
        self.windows = cover(self.base, tiling)
        operator = problem.operator
        missing = (problem.scan - operator.apply(self.base)) / RESIDUAL_SCALE
        measured = missing[None, None].to(self.device)
        self.known = Measurement(operator, measured, problem.obedience)
        self.denoisers = [
            tiled(partial(self._denoised, mirror), self.windows, batch_size=tiling.batch_size)
            for mirror in mirrors(request)
        ]

    def drawn(self, on_step: OnStep) -> Drawn:
        """What was drawn, with mean and standard deviation over the samples."""
        moments = restore(
            self.denoisers,
            self.known,
            (1, *self.shape),
            seed=self.request.seed,
            levels=reachable(self.network, linear(self.request.steps)),
            walk=self.walk,
            samples=self.request.samples,
            on_step=on_step,
        )
        return Drawn(self.base, moments, self.windows)

    def _denoised(
        self, mirror: Mirror, z: Tensor, t: Tensor, r: Tensor, parts: list[Window]
    ) -> Tensor:
        """Of windows, each shown to the network in a mirror."""
        crops = [self.problem.channels(self.beside, part.slices) for part in parts]
        told = replace(self.told.repeat(len(parts)), concat=mirrored(torch.cat(crops), mirror))
        if self.control is not None:
            led = [self.control[(..., *part.slices)] for part in parts]
            told = replace(told, control=mirrored(torch.cat(led), mirror))
        return mirrored(denoiser(self.network, told)(mirrored(z, mirror), t, r), mirror)
