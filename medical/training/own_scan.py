"""A model taught by the one scan that it shall restore, after SMORE (Zhao et al. 2021).

A scan is fine in its plane. Turned so that an axis of the plane stands for the thick one, and
blurred along it as the scan's own slices were, it shows what slices lack: pairs of its own
contrast, disease and scanner. The shipped weights learn from them for a while.

What was learned is kept, by all it follows from, in a folder that only its owner can read; so is
the work half done, which goes on where it was ended.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.families.flow import FlowMatching
from core.networks.conditioned import ConditionedNetwork
from core.numerics import PORTABLE, numerics
from core.operations.operation import Model
from core.records import atomic_path
from core.refusal import Refusal
from core.sampling.samplers import OnStep, ignore
from core.training.feed import MakeBatch, training_device
from core.training.plan import Plan, Progress
from core.training.stages import Stage, train_stages
from medical.acquisition.acquisition import Acquisition, SliceSampling
from medical.acquisition.protocols import AcquisitionRange
from medical.files.volume import Volume
from medical.operations.adaptation import CELL, check_teaches, steps_of
from medical.operations.problem import Problem, prepare
from medical.operations.super_resolve import super_resolve
from medical.request import SuperResolutionRequest
from medical.training.patches import HeadPatches, PatchRecipe
from medical.training.training import patch_batches

logger = logging.getLogger(__name__)

PATCH, BATCH = 32, 4
CHECKPOINT_MINUTES = 1.0
KEPT = 16
"""Scans whose weights are kept; what was used longest ago goes first."""
HOME = ".lamina"
WEIGHTS = "weights.safetensors"
NO_GPU = "ACCELERATE_USE_CPU"
FORMAT = 1


@dataclass(frozen=True)
class _OwnSlices(AcquisitionRange):
    """Slices as those of one scan, beginning anywhere."""

    own: SliceSampling = field(kw_only=True)

    def draw(
        self, generator: torch.Generator, spacing_mm: tuple[float, float, float]
    ) -> Acquisition:
        """The scan's own width, gap and profile at a random place."""
        pitch = self.own.pitch_mm
        phase = (float(torch.rand((), generator=generator)) - 0.5) * pitch
        wide, gap, profile = self.own.thickness_mm, self.own.gap_mm, self.own.profile
        return Acquisition((SliceSampling(wide, gap, profile, phase), None, None))


def adapted_network(
    volume: Volume, request: SuperResolutionRequest, model: Model, on_step: OnStep
) -> ConditionedNetwork:
    """The model's network after ``request.adapt_minutes`` with the scan, which it saw restored.

    Args:
        volume: The scan.
        request: What was asked.
        model: Loaded; it stays as it is.
        on_step: Told of each step of the training.
    """
    problem = prepare(volume, request)
    check_teaches(problem)
    first = request.model_copy(update={"samples": 1, "protect": ""})
    restored = super_resolve(volume, first, model.network).mean.data
    return adapted(
        model.network,
        problem,
        problem.scale.apply(restored).permute(*problem.order).contiguous(),
        digest=f"{model.record['sha256']} {model.record.get('lora', '')}",
        steps=steps_of(request.adapt_minutes),
        seed=request.seed,
        on_step=on_step,
    )


def adapted(
    network: ConditionedNetwork,
    problem: Problem,
    estimate: Tensor,
    *,
    digest: str,
    steps: int,
    seed: int,
    on_step: OnStep = ignore,
) -> ConditionedNetwork:
    """The network after so many steps with the scan; the one that is given stays as it is.

    Args:
        network: Of a super-resolution model, to begin from.
        problem: The scan, made ready.
        estimate: (D, H, W) on the fine grid, intensities in [0, 1]: the scan as it is shown.
        digest: Of the network's weights; what is kept is known by it.
        steps: Of the training.
        seed: Of everything random.
        on_step: Told of steps done, steps in all, and the estimate.
    """
    precision, shape = "no" if numerics() == PORTABLE else "bf16", tuple(estimate.shape)
    grid = problem.acquired
    told = f"{FORMAT} {digest} {steps} {seed} {precision} {network.device.type} {shape} "
    place = _folder() / _name(f"{told}{grid.axes} {grid.spacing_mm}", estimate)
    learner = type(network).from_config(network.config)
    learner.load_state_dict(network.state_dict())
    with _alone(place):
        if not _taken(learner, place / WEIGHTS):
            with _on(network.device):
                learner = _learned(
                    learner, problem, estimate, place,
                    steps=steps, seed=seed, precision=precision, on_step=on_step,
                )  # fmt: skip
            _keep(learner, place)
    return learner.to(device=network.device, dtype=network.dtype).eval().requires_grad_(False)


def own_patches(problem: Problem, estimate: Tensor) -> MakeBatch:
    """Pairs that the scan shows: both axes of its plane in turn stand for the thick one.

    Args:
        problem: The scan, made ready.
        estimate: (D, H, W), intensities in [0, 1].
    """
    grid, (d, h, w) = problem.acquired.axes[0], problem.acquired.spacing_mm
    assert grid is not None  # the thick axis is the coarse one
    shown = estimate.clamp(0, 1)
    size = min(PATCH, CELL * (min(shown.shape) // CELL))
    recipe = PatchRecipe(
        (size, size, size),
        slice_axis=0,
        other_axis_share=0.0,
        acquisitions=_OwnSlices(own=grid.sampling, told_off=0.0),
    )
    turned = [shown.permute(1, 0, 2), shown.permute(2, 0, 1)]
    patches = HeadPatches(turned, [(h, d, w), (w, d, h)], recipe, device=training_device())
    return patch_batches(patches)


def _learned(
    learner: ConditionedNetwork,
    problem: Problem,
    estimate: Tensor,
    place: Path,
    *,
    steps: int,
    seed: int,
    precision: str,
    on_step: OnStep,
) -> ConditionedNetwork:
    objective = FlowMatching(level_mean=0.5, level_std=1.2, pure_noise_share=0.5, power=0.25)
    plan = Plan(
        steps=steps,
        batch_size=BATCH,
        learning_rate=1e-3,
        warmup=5,
        cooldown=0.6,
        ema_decay=0.98,
        checkpoint_minutes=CHECKPOINT_MINUTES,
        mixed_precision=precision,
        data="one scan's own plane",
        seed=seed,
    )
    shown = estimate[None, None]

    def tell(stage: str, progress: Progress) -> None:
        on_step(progress.step, steps, shown)

    with torch.inference_mode(False), torch.enable_grad():
        make_batch = own_patches(problem, estimate.clone())
        run = partial(
            train_stages, make_batch=make_batch, stages=[Stage("adapt", objective, plan)]
        )
        learner.requires_grad_(True)
        try:
            learned, _ = run(learner, folder=place, on_progress=tell)
        except Refusal:
            raise
        except (OSError, ValueError, SafetensorError) as error:  # a checkpoint that was torn
            logger.warning("what was half learned of the scan is begun anew: %s", error)
            _remove_folders(place)
            learned, _ = run(learner, folder=place, on_progress=tell)
    return learned


def _folder() -> Path:
    return Path(os.environ.get("LAMINA_HOME") or HOME).expanduser() / "adapted"


def _name(told: str, estimate: Tensor) -> str:
    digest = hashlib.sha256(told.encode())
    digest.update(estimate.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold the folder against other processes, and against all people but its owner.

    Weights tell of the person they were learned from.
    """
    for folder in (place.parent, place):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    with (place / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _on(device: torch.device) -> Iterator[None]:
    """Train where the network is: accelerate takes a GPU where there is one unless told."""
    before = os.environ.get(NO_GPU)
    if device.type == "cpu":
        os.environ[NO_GPU] = "1"
    try:
        yield
    finally:
        os.environ.pop(NO_GPU, None)
        if before is not None:
            os.environ[NO_GPU] = before


def _remove_folders(place: Path) -> None:
    for path in place.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _taken(learner: ConditionedNetwork, file: Path) -> bool:
    """Whether weights that were kept are now the network's."""
    try:
        learner.load_state_dict(load_file(file))
        os.utime(file)
    except (OSError, SafetensorError, RuntimeError):
        return False
    return True


def _keep(learner: ConditionedNetwork, place: Path) -> None:
    """Write the weights, and remove those beyond ``KEPT``; a full disk keeps none."""
    try:
        with atomic_path(place / WEIGHTS, overwrite=True) as temporary:
            save_file(
                {k: v.cpu().contiguous() for k, v in learner.state_dict().items()}, temporary
            )
        _remove_folders(place)
        done = sorted(place.parent.glob(f"*/{WEIGHTS}"), key=lambda file: file.stat().st_mtime)
        for file in done[:-KEPT]:  # folders without weights may be at work
            shutil.rmtree(file.parent, ignore_errors=True)
    except OSError as error:
        logger.warning("what was learned of the scan is not kept: %s", error)
