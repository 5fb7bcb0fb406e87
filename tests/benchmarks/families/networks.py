"""The small networks of the families' page, whose last layer predicts the sample."""

from __future__ import annotations

from functools import partial

from core.families.family import THROUGH_SAMPLE
from core.networks.conditioned import ConditionedNetwork
from core.networks.dit import SpatioTemporalDiT
from core.networks.unet import SpatioTemporalUNet
from core.seeds import initialized
from tests.benchmarks.arms.arm import Domain
from tests.benchmarks.families.arm import Arm

TEXT = 384
PATCHES: dict[Domain, tuple[int, int, int]] = {"video": (4, 8, 8), "mri": (2, 4, 4)}
CHANNELS: dict[Domain, tuple[int, int]] = {"video": (3, 0), "mri": (1, 2)}
PERIODS: dict[Domain, tuple[float, float]] = {"video": (0.25, 8.0), "mri": (2.0, 64.0)}
WIDTHS = (48, 96)
DITS: dict[Domain, tuple[int, int]] = {"video": (64, 2), "mri": (64, 5)}
"""Width and layers of a transformer of the U-Net's arithmetic, on cells of its own for heads."""
DIT_PATCHES: dict[Domain, tuple[int, int, int]] = {"video": (4, 8, 8), "mri": (4, 4, 4)}


def network(arm: Arm) -> ConditionedNetwork:
    """The network of an arm with its first weights."""
    domain = arm.domain
    channels, beside = CHANNELS[domain]
    shared = {
        "in_channels": channels,
        "concat_channels": beside,
        "text_channels": TEXT if domain == "video" else 0,
        "head_dim": 32,
        "rope_periods": PERIODS[domain],
        "prediction": "sample",
        "trained_objective": arm.first_family,
    }
    if arm.network == "dit":
        width, layers = DITS[domain]
        shape = {"width": width, "layers": layers, "patch_size": DIT_PATCHES[domain]}
        return initialized(partial(SpatioTemporalDiT, **shape, **shared), arm.seed)
    shape = {
        "block_out_channels": WIDTHS,
        "layers_per_block": 1,
        "patch_size": PATCHES[domain],
        "down_strides": ((1, 2, 2),),
        "attention_levels": (False, True),
        "spatial_attention_levels": (False, True),
        "joint_attention": True,
    }
    made = initialized(partial(SpatioTemporalUNet, **shape, **shared), arm.seed)
    if not arm.own_answer and arm.is_one_level:
        made.register_to_config(**{THROUGH_SAMPLE: True})
    return made
