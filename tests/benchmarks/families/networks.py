"""The small networks of the families' page, which answer every family alike."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from core.conditioning import Conditioning
from core.families import edm
from core.families.family import OneLevel
from core.families.table import FAMILIES
from core.networks.conditioned import ConditionedNetwork
from core.networks.dit import SpatioTemporalDiT
from core.networks.text_memory import TextMemory
from core.networks.unet import SpatioTemporalUNet
from core.seeds import initialized
from core.tensors import Volumes, align
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


def answered(family: str, shown: Volumes, said: Volumes, t: Tensor) -> Volumes:
    """What a family asks for, from the sample that a last layer predicts.

    That sample stands for a velocity, u = (z - x) / t with t at least 0.05, as in all networks
    here; x = z - t u and e = z + (1 - t) u are then what the family's own target is made of.
    """
    lesson = FAMILIES[family].teach()
    if not isinstance(lesson, OneLevel):
        return (shown - said) / align(t.clamp_min(0.05), shown)
    z = shown / align(edm.sizes(t).shown, shown) if family == "edm" else shown
    u = (z - said) / align(t.clamp_min(0.05), z)
    return lesson.target(z - align(t, z) * u, z + align(1 - t, z) * u, t)


class Answering(ConditionedNetwork):
    """A network that predicts the sample and answers in its family's own terms."""

    def forward(
        self,
        z: Volumes,
        t: Tensor,
        r: Tensor | None = None,
        cond: Conditioning | None = None,
        memory: TextMemory | None = None,
    ) -> Volumes:
        """The family's answer; shapes as there."""
        velocity = super().forward(z, t, r, cond, memory)
        t = t.expand(len(z)) if t.ndim else t.repeat(len(z))
        said = z - align(t.clamp_min(0.05), z) * velocity
        return answered(self.config["trained_objective"], z, said, t)


class AnsweringUNet(Answering, SpatioTemporalUNet):
    """The U-Net."""


class AnsweringDiT(Answering, SpatioTemporalDiT):
    """The transformer."""


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
        return initialized(partial(AnsweringDiT, **shape, **shared), arm.seed)
    build = SpatioTemporalUNet if arm.own_answer else AnsweringUNet
    shape = {
        "block_out_channels": WIDTHS,
        "layers_per_block": 1,
        "patch_size": PATCHES[domain],
        "down_strides": ((1, 2, 2),),
        "attention_levels": (False, True),
        "spatial_attention_levels": (False, True),
        "joint_attention": True,
    }
    return initialized(partial(build, **shape, **shared), arm.seed)
