"""Networks that begin with what another has learned."""

import json
import re
from collections.abc import Callable
from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor

from core.models.checkpoints import WEIGHTS, find_model, load_model, read_record
from core.networks.conditioned import ConditionedNetwork
from core.networks.control import with_control
from core.networks.reference import with_reference
from core.networks.unet import SpatioTemporalUNet
from core.refusal import Refusal
from core.seeds import initialized
from core.tensors import Triple

EDGES = re.compile(r"(stem|head|norm_out)\.")
DOWN = re.compile(r"(down_blocks|merges)\.(\d+)\.")
BY_LEVEL = ("block_out_channels", "attention_levels", "spatial_attention_levels")
ALIKE = (
    "in_channels", "concat_channels", "layers_per_block", "kernel_size", "joint_attention",
    "text_channels", "num_labels", "head_dim", "rope_periods", "default_spacing", "prediction",
)  # fmt: skip
"""Settings of the whole network that must be the same."""
TAUGHT = "trained_objective"
SCALING = "input_scaling"
"""Of a noisy sample, which the weights that are taken over know in one way alone."""
OPTIONAL = {
    "sketch": ("sketch_channels", "sketch_grain"),
    "layouts": ("layout_network",),
    "given": ("given_channels",),
}
"""Parts that a network may have, and their settings."""


def first_network(
    kind: str, build: Callable[[], ConditionedNetwork], seed: int, start: str
) -> ConditionedNetwork:
    """What a training run begins with.

    Args:
        kind: "video" or "mri".
        build: Makes the network.
        seed: Decides its first weights.
        start: Name of an installed model of that kind to begin from; empty to begin anew.

    Raises:
        Refusal: No such model is installed, or it does not fit.
    """
    network = initialized(build, seed)
    if not start:
        return network
    try:
        origin, _ = load_model(find_model(start, kind), dtype=torch.float32)
        return begin_from(network, origin)
    except ValueError as error:
        raise Refusal(f"start={start!r}: {error}") from error


def control_network(kind: str, channels: int, seed: int, start: str) -> ConditionedNetwork:
    """A finished model with a new branch for a control, which alone is learned.

    Args:
        kind: "video" or "mri".
        channels: Of the control.
        seed: Decides the branch's first weights.
        start: Name of an installed model of that kind.

    Raises:
        Refusal: No such model is installed, or it is no U-Net.
    """
    return with_control(_finished_unet(kind, start), channels, seed=seed)


def reference_network(
    kind: str, channels: int, size: Triple, *, seed: int, start: str, laid_out: bool
) -> ConditionedNetwork:
    """A finished model with a new adapter for a reference, which alone is learned.

    Args:
        kind: "video" or "mri".
        channels: Of the reference.
        size: D, H, W of it.
        seed: Decides the adapter's first weights.
        start: Name of an installed model of that kind.
        laid_out: Whether its layout network is shown the reference, if it has one.

    Raises:
        Refusal: No such model is installed, or it is no U-Net.
    """
    network = _finished_unet(kind, start)
    network.requires_grad_(False)
    base = network.layouts if laid_out and network.layouts is not None else network
    with_reference(cast("SpatioTemporalUNet", base), channels, size, seed=seed)
    return network


def _finished_unet(kind: str, start: str) -> SpatioTemporalUNet:
    network, _ = load_model(find_model(start, kind), dtype=torch.float32)
    if not isinstance(network, SpatioTemporalUNet):
        raise Refusal(
            f"start={start!r} is a {type(network).__name__}: a branch for a control is a copy of "
            "a SpatioTemporalUNet's way down; name a model of that class."
        )
    return network.train()


def begun_from(data: str, kind: str, start: str) -> str:
    """The words for what a run is trained on, with where it began; see ``Plan.data``."""
    if not start:
        return data
    digest = read_record(find_model(start, kind))["sha256"][WEIGHTS]
    return f"{data}, begun from {start} ({digest[:12]})"


@torch.no_grad()
def begin_from(network: ConditionedNetwork, origin: ConditionedNetwork) -> ConditionedNetwork:
    """The network with the weights of another of the same shape, or of one level less.

    A level more is one in front, of finer cells. All that lies behind it is taken over, and is
    shown what it was shown before: the old stem, in its best factors of that level's width
    (Eckart & Young 1936). The way back out to the finer cells is learned anew. The parts for
    sketches and layouts are taken over where both networks have the same, and so is the scaling
    of noisy samples.

    Args:
        network: To be trained; changed in place.
        origin: Another network.

    Raises:
        Refusal: It has another shape.
    """
    if odd := _differences(network, origin):
        raise Refusal(
            f"the model to begin from differs in {' and '.join(odd)}: training goes on from a "
            "network of the same shape, or of the same but for its finest level; choose another "
            "preset, or another model."
        )
    given = {k: v for k, v in origin.state_dict().items() if _is_kept(k, network, origin)}
    if isinstance(network, SpatioTemporalUNet) and isinstance(origin, SpatioTemporalUNet):
        given = _behind(network, origin, given)
    network.load_state_dict({**network.state_dict(), **given})
    if SCALING in network.config:
        network.register_to_config(**{SCALING: origin.config.get(SCALING, "none")})
    return network


def _behind(
    network: SpatioTemporalUNet, origin: SpatioTemporalUNet, given: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The weights that are taken over, behind one more level where the network has one."""
    if len(network.strides) > len(origin.strides):
        given = {_moved(k): v for k, v in given.items() if not EDGES.match(k)}
        given |= _finer_stem(network, origin)
    return given


def _differences(network: ConditionedNetwork, origin: ConditionedNetwork) -> list[str]:
    """Settings in which the other network does not fit, neither as it is nor behind a level."""
    if type(network).__name__ != type(origin).__name__:
        return [f"being a {type(origin).__name__}"]
    if not (isinstance(network, SpatioTemporalUNet) and isinstance(origin, SpatioTemporalUNet)):
        shape = [
            name for name in network.config if name[0] != "_" and name not in {TAUGHT, SCALING}
        ]
        return [name for name in shape if not _alike(network.config[name], origin.config[name])]
    front = len(network.strides) - len(origin.strides)
    if front not in (0, 1):
        return ["down_strides"]
    own, given = network.config, origin.config
    cell = network.patch
    if front:
        cell = tuple(a * b for a, b in zip(cell, network.strides[0], strict=True))
    fits = {
        "patch_size": cell == origin.patch,
        "down_strides": network.strides[front:] == origin.strides,
        # the first width is also that of all embeddings
        "block_out_channels": own["block_out_channels"][0] == given["block_out_channels"][0],
    }
    for name in BY_LEVEL:
        fits[name] = fits.get(name, True) and list(own[name])[front:] == list(given[name])
    for name in ALIKE:
        fits[name] = _alike(own[name], given[name])
    return [name for name, fit in fits.items() if not fit]


def _alike(one: Any, other: Any) -> bool:
    """Whether two settings are the same; those of a file come with lists, and in another order."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _is_kept(name: str, network: ConditionedNetwork, origin: ConditionedNetwork) -> bool:
    """Whether a weight is taken over: all are but those of optional parts that differ."""
    for part, settings in OPTIONAL.items():
        if name.startswith(f"{part}."):
            pairs = ((network.config[s], origin.config.get(s)) for s in settings)
            return all(_alike(own, given) for own, given in pairs)
    return True


def _moved(name: str) -> str:
    """The name of a weight where one more level lies in front of it."""
    return DOWN.sub(lambda found: f"{found[1]}.{int(found[2]) + 1}.", name)


def _finer_stem(network: SpatioTemporalUNet, origin: SpatioTemporalUNet) -> dict[str, Tensor]:
    """The old stem as a stem of finer cells and the merge behind it; nothing lies between them."""
    stem, (p, q, r), (u, v, w) = origin.stem.mix, network.patch, network.strides[0]
    parts = rearrange(
        stem.weight, "k (u p v q w r c) -> k (u v w) (p q r c)", u=u, v=v, w=w, p=p, q=q, r=r
    )
    width = network.stem.mix.out_features
    basis = torch.linalg.svd(parts.flatten(0, 1), full_matrices=False).Vh[:width]
    first = torch.zeros_like(network.stem.mix.weight)
    first[: len(basis)] = basis
    last = {
        f"down_blocks.0.{number}.residual.conv2.{name}": torch.zeros_like(weight)
        for number, block in network.down_blocks[0].named_children()
        for name, weight in block.get_submodule("residual.conv2").named_parameters()
    }
    return last | {
        "stem.mix.weight": first,
        "stem.mix.bias": torch.zeros_like(network.stem.mix.bias),
        "merges.0.mix.weight": (parts @ first.T).flatten(1),
        "merges.0.mix.bias": stem.bias,
    }
