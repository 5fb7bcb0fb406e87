"""The sizes of the MRI network."""

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


PRESETS = {"tiny": tiny, "base": base}
