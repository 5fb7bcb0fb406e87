"""The sizes of the MRI network."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from core.networks.conditioned import ConditionedNetwork
from core.networks.dit import SpatioTemporalDiT
from core.networks.latents import LatentNetwork
from core.networks.unet import SpatioTemporalUNet


def tiny() -> SpatioTemporalUNet:
    """Runs everything on a laptop in seconds; 0.1 million weights."""
    return SpatioTemporalUNet(
        in_channels=1,
        concat_channels=2,
        block_out_channels=(16, 32),
        layers_per_block=1,
        patch_size=(2, 2, 2),
        down_strides=((2, 2, 2),),
        attention_levels=(False, True),
        spatial_attention_levels=(False, False),
        head_dim=32,
        rope_periods=(2.0, 64.0),
        prediction="sample",
    )


def base() -> SpatioTemporalUNet:
    """The shipped size: about 90 thousand multiplications a voxel; 3.3 million weights."""
    return SpatioTemporalUNet(
        in_channels=1,
        concat_channels=2,
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        patch_size=(2, 2, 2),
        down_strides=((2, 2, 2), (2, 2, 2)),
        attention_levels=(False, False, True),
        spatial_attention_levels=(False, False, False),
        kernel_size=(5, 3, 3),
        rope_periods=(2.0, 64.0),
        prediction="sample",
        input_scaling="wiener",
    )


def tiny_dit() -> SpatioTemporalDiT:
    """The transformer for a laptop; 0.3 million weights."""
    return SpatioTemporalDiT(
        in_channels=1,
        concat_channels=2,
        width=64,
        layers=2,
        patch_size=(4, 4, 4),
        head_dim=32,
        rope_periods=(2.0, 64.0),
        prediction="sample",
    )


def base_dit() -> SpatioTemporalDiT:
    """The transformer of the U-Net's arithmetic: 3.3 GFLOP for 32 voxels cubed."""
    return SpatioTemporalDiT(
        in_channels=1,
        concat_channels=2,
        width=192,
        layers=5,
        patch_size=(4, 4, 4),
        head_dim=32,
        rope_periods=(2.0, 64.0),
        prediction="sample",
    )


CODERS: Final[dict[str, dict[str, Any]]] = {
    "tiny": {"latent_channels": 4, "block_out_channels": (16, 16)},
    "base": {"latent_channels": 8, "block_out_channels": (32, 64)},
}
"""Autoencoders of whole heads: 4 x 4 x 4 voxels of 2 mm become 4 or 8 numbers."""
WHOLE: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "unet": {
        size: {
            "_class_name": "SpatioTemporalUNet",
            "block_out_channels": widths,
            "layers_per_block": 1,
            "down_strides": ((2, 2, 2),),
            "attention_levels": (False, True),
            "spatial_attention_levels": (False, True),
            "joint_attention": True,
            "head_dim": 32,
        }
        for size, widths in {"tiny": (16, 32), "base": (64, 128)}.items()
    },
    "dit": {
        size: {
            "_class_name": "SpatioTemporalDiT",
            "width": width,
            "layers": layers,
            "patch_size": (2, 2, 2),
            "head_dim": 32,
        }
        for size, (width, layers) in {"tiny": (64, 2), "base": (192, 6)}.items()
    },
}
"""Networks on their latents, all of which attend to each other; 1.3 million weights in base."""


def whole(kind: str, size: str) -> LatentNetwork:
    """An autoencoder of whole heads, and the network on its latents.

    Args:
        kind: Of network.
        size: Of both.
    """
    coder, network = CODERS[size], WHOLE[kind][size]
    told = {"in_channels": coder["latent_channels"], "default_spacing": (2.0, 2.0, 2.0)}
    return LatentNetwork({**network, **told, "rope_periods": (2.0, 256.0)}, coder)


LATENT: Final[dict[str, dict[str, Callable[[], ConditionedNetwork]]]] = {
    kind: {size: partial(whole, kind, size) for size in CODERS} for kind in WHOLE
}
"""The same for ``--space latents``."""
PRESETS: Final[dict[str, dict[str, Callable[[], ConditionedNetwork]]]] = {
    "unet": {"tiny": tiny, "base": base},
    "dit": {"tiny": tiny_dit, "base": base_dit},
}
"""By kind of network and size."""
