"""Trains the MRI network on high-resolution heads and the physics of thick slices."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.conditioning import Conditioning
from core.families.average_velocity import AverageVelocity
from core.families.flow import FlowMatching
from core.networks.conditioned import ConditionedNetwork
from core.networks.latents import LatentNetwork
from core.networks.lora import with_lora
from core.training.feed import Batch, MakeBatch, training_device
from core.training.growth import begun_from, control_network, first_network
from core.training.latents import encoded, finished, in_latents
from core.training.stages import OnStage, Stage, flow_then_jumps, taught, train_stages
from core.training.validation import OnValidation, Validate
from medical.anatomy.anatomy import AnatomyRange
from medical.operations.controlled import CHANNELS, LABELS, one_hot
from medical.request import MRITrainingRequest
from medical.training.controls import controlled, tissue_maps
from medical.training.dataset import load_heads, load_labels, split_heads
from medical.training.patches import HeadPatches, PatchRecipe
from medical.training.presets import LATENT, PRESETS
from medical.training.validation import validation
from medical.training.whole_heads import latent_batches, stacked, whole_batches

logger = logging.getLogger(__name__)

PATCH = (32, 48, 48)


def head_batches(
    request: MRITrainingRequest, device: torch.device | str = "cpu"
) -> tuple[MakeBatch, Validate | None]:
    """Random degraded patches of the training subjects in a BIDS folder, and how to validate.

    A folder of fewer than six subjects leaves none to validate on.

    Args:
        request: Names the folder, and says what is changed of its heads.
        device: Where the heads lie and patches are made.
    """
    heads = load_heads(request.heads, max(PATCH), synthetic=request.synthetic)
    anatomies = AnatomyRange(
        contrast_share=request.contrast_share,
        lesion_share=request.lesion_share,
        deformation_share=request.deformation_share,
    )
    taught = split_heads(heads, "train")
    patches = HeadPatches.from_heads(
        taught,
        PatchRecipe(PATCH, anatomies=anatomies),
        labels=load_labels(request.heads) if request.contrast_share else None,
        maps=tissue_maps(taught) if request.control == LABELS else (),
        device=device,
    )
    validate = validation(split_heads(heads, "validation"))
    if validate is None:
        logger.warning(
            "%s holds %d heads: every sixth is kept for validation, so there is none; training "
            "goes on without",
            request.heads,
            len(heads),
        )
    return patch_batches(patches), validate


def patch_batches(patches: HeadPatches) -> MakeBatch:
    """The patches as the training loop wants them."""

    def make_batch(batch_size: int, generator: torch.Generator) -> Batch:
        drawn = patches.draw_batch(batch_size, generator)
        cond = Conditioning(
            concat=drawn["concat"], spacing=drawn["spacing"], resolution=drawn["resolution"]
        )
        if "maps" in drawn:
            cond = replace(cond, control=one_hot(drawn["maps"]))
        return drawn["target"], cond

    return make_batch


PLANNED = {
    "steps",
    "minutes",
    "batch_size",
    "accumulation",
    "learning_rate",
    "seed",
    "compile",
}
"""What a request says of the plan of a stage."""


def stages(request: MRITrainingRequest) -> list[Stage]:
    """The run's stages, in order."""
    levels: dict[str, Any] = {"level_mean": 0.5, "level_std": 1.2, "pure_noise_share": 0.5}
    shares = request.contrast_share, request.lesion_share, request.deformation_share
    words = "contrasts {:g}, lesions {:g}, deformations {:g}".format(*shares)
    words += f", told by their {request.control}" if request.control else ""
    words += ", whole and in latents" if request.space == "latents" else ""
    shared = {
        "data": begun_from(words, kind_of(request), request.start),
        **request.model_dump(include=PLANNED),
    }
    usual = partial(
        flow_then_jumps,
        FlowMatching(power=0.25, **levels),
        AverageVelocity(jump_share=0.5, land_on_data_share=0.5, power=1.0, **levels),
        jump_steps=0 if request.control else request.jump_steps,
        **shared,
    )
    return taught(request.family, usual, **shared)


def train(
    request: MRITrainingRequest,
    folder: Path,
    *,
    make_batch: MakeBatch | None = None,
    on_progress: OnStage = lambda stage, progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    on_validation: OnValidation = lambda stage, step, found: None,
) -> tuple[nn.Module, bool]:
    """The trained network (averaged weights) and whether every stage was finished.

    Args:
        request: What to train, and for how long.
        folder: Checkpoints lie in ``folder/<stage>``; what is there is resumed.
        make_batch: Where data comes from; the heads of ``request.heads`` by default.
        on_progress: Called after each step with the stage's name.
        should_stop: Asked after each step; if true, training ends there, resumable.
        on_validation: Called with what was found on unseen heads, every few minutes.
    """
    validate = None
    network = beginning(request)
    told: dict[str, Any] = {
        "on_progress": on_progress, "should_stop": should_stop, "on_validation": on_validation,
    }  # fmt: skip
    if isinstance(network, LatentNetwork):
        volumes, latent = _whole_heads(request, network, make_batch)
        planned = in_latents(network, stages(request), volumes, latent, begun=bool(request.start))
        done = train_stages(network, volumes, planned, folder, **told)[1]
        return finished(network), done
    taught_by = network.config["trained_objective"]
    if make_batch is None:
        make_batch, validate = head_batches(request, training_device())
    if request.control:  # nobody has an image to lead what is judged
        make_batch, validate = controlled(make_batch, request.control), None
    trained, done = train_stages(
        network,
        make_batch,
        stages(request),
        folder,
        validate=validate,
        **told,
    )
    if request.control:
        trained.register_to_config(trained_objective=taught_by)  # the base is what it was
    return trained, done


def _whole_heads(
    request: MRITrainingRequest, network: LatentNetwork, make_batch: MakeBatch | None
) -> tuple[MakeBatch, MakeBatch]:
    """Batches of whole heads, and of what the autoencoder makes of them."""
    if make_batch is not None:
        return make_batch, encoded(make_batch, network.autoencoder)
    heads = load_heads(request.heads, synthetic=request.synthetic)
    seen = stacked([head for _, head in split_heads(heads, "train")])
    return whole_batches(seen), latent_batches(seen, network.autoencoder)


def kind_of(request: MRITrainingRequest) -> str:
    """Of the model that training makes."""
    return "whole-head" if request.space == "latents" else "mri"


def beginning(request: MRITrainingRequest) -> ConditionedNetwork:
    """What a run begins with.

    Raises:
        Refusal: The model to begin from is not installed, or does not fit.
    """
    if request.control:
        return control_network("mri", CHANNELS[request.control], request.seed, request.start)
    sizes = LATENT if request.space == "latents" else PRESETS
    build = sizes[request.network][request.preset]
    network = first_network(kind_of(request), build, request.seed, request.start)
    if request.lora:
        with_lora(network, request.lora, seed=request.seed)
    return network
