"""The sizes of the video network."""

from core.unet import SpatioTemporalUNet


def tiny() -> SpatioTemporalUNet:
    """Runs everything on a laptop in seconds; 0.3 million weights."""
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
    )


def base() -> SpatioTemporalUNet:
    """The shipped size: 7.2 million weights."""
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
    )


PRESETS = {"tiny": tiny, "base": base}
