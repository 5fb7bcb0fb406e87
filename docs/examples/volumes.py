"""What the examples beyond clips and heads share: a small network, and how it is taught.

A part of the examples ``molecules.py`` and ``shapes.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from core.families.flow import FlowMatching
from core.networks.unet import SpatioTemporalUNet
from core.seeds import initialized
from core.training.feed import MakeBatch
from core.training.plan import Plan
from core.training.stages import Stage, train_stages


def network(seed: int, **settings: Any) -> SpatioTemporalUNet:
    """The network of clips and heads in two levels; all cells of the coarser see each other.

    Args:
        seed: Decides its first weights.
        settings: Of ``SpatioTemporalUNet`` beside these.
    """
    return initialized(
        lambda: SpatioTemporalUNet(
            layers_per_block=1,
            down_strides=((2, 2, 2),),
            attention_levels=(False, True),
            spatial_attention_levels=(False, True),
            joint_attention=True,
            head_dim=min(32, *settings["block_out_channels"]),
            prediction="sample",
            **settings,
        ),
        seed,
    )


def plan(*, steps: int, minutes: float, data: str = "") -> Plan:
    """So many steps, or as many as the minutes allow; 0 minutes for no limit."""
    return Plan(steps=steps, minutes=minutes, data=data, batch_size=16, learning_rate=3e-3,
                warmup=40, cooldown=0.5, checkpoint_minutes=1)  # fmt: skip


def taught(
    net: SpatioTemporalUNet, batch: MakeBatch, folder: Path, planned: Plan
) -> SpatioTemporalUNet:
    """The network, taught on such batches; goes on where ``folder`` holds the beginning."""

    def tell(stage: str, at: Any) -> None:
        if at.step % 100 == 0:
            sys.stdout.write(f"{stage} {at.step} of {at.steps}: error {at.error:.4f}\n")

    stages = [Stage("flow", FlowMatching(level_mean=0.5), planned)]
    return train_stages(net, batch, stages, folder, on_progress=tell)[0]
