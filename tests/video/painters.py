"""A small video network that draws layouts and is shown sketches of them."""

from core.networks.unet import SpatioTemporalUNet
from video.engines.layouts import GRAIN, SKETCH_CHANNELS
from video.training.presets import LAYOUTS, tiny

SMALL_LAYOUTS = {**LAYOUTS, "block_out_channels": (16,), "layers_per_block": 1, "head_dim": 16}


def painter(**changes):
    """The preset ``tiny`` with a layout network that is smaller still."""
    settings = {name: value for name, value in tiny().config.items() if not name.startswith("_")}
    sketched = {"sketch_channels": SKETCH_CHANNELS, "sketch_grain": (1, GRAIN, GRAIN)}
    own = {**settings, **sketched, "layout_network": SMALL_LAYOUTS}
    return SpatioTemporalUNet(**{**own, **changes})
