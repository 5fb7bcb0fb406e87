"""The sizes of the MRI network."""

from collections.abc import Callable
from typing import Final

from core.networks.conditioned import ConditionedNetwork
from core.networks.dit import SpatioTemporalDiT
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


PRESETS: Final[dict[str, dict[str, Callable[[], ConditionedNetwork]]]] = {
    "unet": {"tiny": tiny, "base": base},
    "dit": {"tiny": tiny_dit, "base": base_dit},
}
"""By kind of network and size."""
