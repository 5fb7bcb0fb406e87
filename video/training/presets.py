"""The sizes of the video network."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from core.networks.conditioned import ConditionedNetwork
from core.networks.dit import SpatioTemporalDiT
from core.networks.latents import LatentNetwork
from core.networks.unet import SpatioTemporalUNet
from video.engines.layouts import CHANNELS, GRAIN, SKETCH_CHANNELS
from video.world.scenes import NUM_FRAMES

LAYOUTS: Final[dict[str, Any]] = {
    "in_channels": CHANNELS,
    "block_out_channels": (192,),
    "layers_per_block": 4,
    "patch_size": (NUM_FRAMES, 1, 1),
    "down_strides": (),
    "kernel_size": (1, 1, 1),
    "attention_levels": (True,),
    "spatial_attention_levels": (True,),
    "joint_attention": True,
    "text_channels": 384,
    "head_dim": 32,
    "prediction": "sample",
}
"""The layout network: one token for each thing's whole course."""


def tiny(given: int = 0) -> SpatioTemporalUNet:
    """Runs everything on a laptop in seconds; 0.3 million weights.

    Args:
        given: Channels of what is given of a clip; 0 for a network that is shown none.
    """
    return SpatioTemporalUNet(
        in_channels=3,
        block_out_channels=(16, 32),
        layers_per_block=1,
        patch_size=(2, 8, 8),
        down_strides=((1, 2, 2),),
        attention_levels=(False, True),
        spatial_attention_levels=(False, True),
        joint_attention=True,
        text_channels=384,
        head_dim=32,
        prediction="sample",
        given_channels=given,
    )


def base(given: int = 0) -> SpatioTemporalUNet:
    """The shipped size: 7.3 million weights, and 6.7 million of the layout network.

    Args:
        given: Channels of what is given of a clip; 0 for a network that is shown none.
    """
    return SpatioTemporalUNet(
        in_channels=3,
        block_out_channels=(128, 128, 256),
        layers_per_block=1,
        patch_size=(2, 8, 8),
        down_strides=((2, 1, 1), (1, 2, 2)),
        attention_levels=(False, True, True),
        spatial_attention_levels=(False, True, True),
        joint_attention=True,
        text_channels=384,
        head_dim=32,
        prediction="sample",
        sketch_channels=SKETCH_CHANNELS,
        sketch_grain=(1, GRAIN, GRAIN),
        layout_network=LAYOUTS,
        given_channels=given,
    )


def tiny_dit() -> SpatioTemporalDiT:
    """The transformer for a laptop; 0.4 million weights."""
    return SpatioTemporalDiT(
        in_channels=3,
        width=64,
        layers=2,
        patch_size=(2, 8, 8),
        text_channels=384,
        head_dim=32,
        prediction="sample",
    )


def base_dit() -> SpatioTemporalDiT:
    """The transformer of the U-Net's arithmetic: 2.3 GFLOP a clip, 2.9 million weights."""
    return SpatioTemporalDiT(
        in_channels=3,
        width=160,
        layers=4,
        patch_size=(2, 8, 8),
        text_channels=384,
        head_dim=32,
        prediction="sample",
    )


CODERS: Final[dict[str, dict[str, Any]]] = {
    "tiny": {"latent_channels": 4, "block_out_channels": (16, 16)},
    "base": {"latent_channels": 8, "block_out_channels": (32, 64)},
}
"""Autoencoders of clips: 2 frames of 8 x 8 pixels become 4 or 8 numbers."""


def latent(kind: str, size: str) -> LatentNetwork:
    """An autoencoder of clips, and on its latents the network of that size in cells of one.

    Args:
        kind: Of network.
        size: Of both.
    """
    coder = {**CODERS[size], "in_channels": 3, "patch_size": (1, 4, 4)}
    settings = dict(PRESETS[kind][size]().config)
    for unshown in ("sketch_channels", "sketch_grain", "layout_network", "trained_objective"):
        settings.pop(unshown, None)
    settings |= {"in_channels": coder["latent_channels"], "patch_size": (1, 1, 1)}
    return LatentNetwork({**settings, "_class_name": CLASSES[kind]}, coder)


CLASSES = {"unet": "SpatioTemporalUNet", "dit": "SpatioTemporalDiT"}
LATENT: Final[dict[str, dict[str, Callable[[], ConditionedNetwork]]]] = {
    kind: {size: partial(latent, kind, size) for size in CODERS} for kind in CLASSES
}
"""The same for ``--space latents``."""
PRESETS: Final[dict[str, dict[str, Callable[..., ConditionedNetwork]]]] = {
    "unet": {"tiny": tiny, "base": base},
    "dit": {"tiny": tiny_dit, "base": base_dit},
}
"""By kind of network and size."""
