"""What is trained for the page on latents: whole heads in three ways, and clips' autoencoder."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from core.families.flow import FlowMatching
from core.networks.autoencoder import Autoencoder
from core.networks.network import Network
from core.networks.unet import SpatioTemporalUNet
from core.records import atomic_path
from core.seeds import initialized
from core.training.feed import MakeBatch
from core.training.latents import Reconstruction
from core.training.plan import Plan
from core.training.stages import Stage, train_stages
from medical.training.presets import WHOLE, whole
from tests.benchmarks.latents.data import Data

CODER_MINUTES, HEAD_MINUTES, CLIP_MINUTES = 1.75, 4.0, 1.0
"""Processor time: of the autoencoder of heads, of every arm of heads with it, of clips."""
LEARNING_RATE, BATCH, CLIPS = 2e-3, 2, 8
FLOW = FlowMatching(level_mean=0.4, level_std=1.2, pure_noise_share=0.1, power=0.25)
"""As the painter of drawn heads is taught; larger volumes need more noise to hide as much."""
TRIAL = 5
CLIP_CODER: dict[str, Any] = {
    "in_channels": 3,
    "latent_channels": 8,
    "block_out_channels": (32, 64),
    "patch_size": (1, 4, 4),
    "down_strides": ((2, 2, 2),),
}
"""2 frames of 8 x 8 pixels become 8 numbers."""
CODER = "autoencoder"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A network and how long it is trained.

    Attributes:
        name: For the page.
        build: Makes the network.
        minutes: Of processor time, of each of its parts.
        clips: Whether it is trained on clips.
    """

    name: str
    build: Callable[[], Network]
    minutes: dict[str, float]
    clips: bool = False

    def stages(self, network: Any, data: Data, steps: dict[str, int]) -> list[Stage]:
        """Its stages, of so many steps each."""
        stages = []
        for part, count in steps.items():
            coder = part == CODER
            plan = Plan(
                steps=count,
                batch_size=CLIPS if self.clips else BATCH,
                learning_rate=LEARNING_RATE,
                warmup=min(40, count // 4),
                cooldown=0.5,
                ema_decay=0.995,
                checkpoint_minutes=1.0,
                validation_minutes=1e6,
            )
            inner = part if self.name == "latents" else ""
            lesson = Reconstruction() if coder else FLOW
            stages.append(Stage(part, lesson, plan, inner, self._batches(network, data, part)))
        return stages

    def _batches(self, network: Any, data: Data, part: str) -> MakeBatch:
        if self.clips:
            return data.clips
        if self.name == "latents" and part != CODER:
            return data.latent_heads(network.autoencoder)
        return data.whole_heads


def in_voxels(cell: int) -> SpatioTemporalUNet:
    """The same trunk on voxels, in cells of 4, or of 2 behind a finer level."""
    settings: dict[str, Any] = {**WHOLE["unet"]["base"], "patch_size": (cell,) * 3}
    settings |= {"in_channels": 1, "default_spacing": (2.0, 2.0, 2.0), "prediction": "sample"}
    settings["rope_periods"] = (2.0, 256.0)
    if cell == 2:
        settings["block_out_channels"] = (32, *settings["block_out_channels"])
        settings["down_strides"] = ((2, 2, 2), *settings["down_strides"])
        for name in ("attention_levels", "spatial_attention_levels"):
            settings[name] = (False, *settings[name])
    return SpatioTemporalUNet.from_config(settings)


ARMS = (
    Arm(
        name="latents",
        build=lambda: whole("unet", "base"),
        minutes={CODER: CODER_MINUTES, "network": HEAD_MINUTES - CODER_MINUTES},
    ),
    Arm(name="cells of 2", build=lambda: in_voxels(2), minutes={"network": HEAD_MINUTES}),
    Arm(
        name="clips",
        build=lambda: Autoencoder.from_config(CLIP_CODER),
        minutes={CODER: CLIP_MINUTES},
        clips=True,
    ),
    Arm(name="cells of 4", build=lambda: in_voxels(4), minutes={"network": HEAD_MINUTES}),
)


def trained(arm: Arm, data: Data, folder: Path, *, share: float = 1.0) -> tuple[Any, dict]:
    """The network of an arm and what it took; goes on where it was cut.

    Args:
        arm: Which.
        data: What from.
        folder: Where it is kept.
        share: Of the minutes.
    """
    network, weights, facts = initialized(arm.build, 0), folder / "weights.safetensors", "steps"
    told = folder / f"{facts}.json"
    if weights.is_file():
        network.load_state_dict(load_file(weights))
        return network.eval(), json.loads(told.read_text())
    if not told.is_file():
        found = {p: round(1000 * _seconds(arm, data, p)) for p in arm.minutes}
        steps = {p: max(4, round(share * 60e3 * m / found[p])) for p, m in arm.minutes.items()}
        _write(told, {"ms_per_step": found, "steps": steps})
    known = json.loads(told.read_text())
    spent = folder / "spent.jsonl"
    before = [time.process_time()]

    def follow(stage: str, progress: Any) -> None:
        now = time.process_time()
        with spent.open("a") as file:
            file.write(json.dumps([stage, progress.step, progress.error, now - before[0]]) + "\n")
        before[0] = time.process_time()

    stages = arm.stages(network, data, known["steps"])
    train_stages(network, stages[0].make_batch or data.clips, stages, folder, on_progress=follow)  # pyright: ignore[reportArgumentType]
    lines = [json.loads(line) for line in spent.read_text().splitlines()]
    last = {(stage, step): seconds for stage, step, _, seconds in lines}
    known["processor_s"] = {
        p: round(sum(s for (stage, _), s in last.items() if stage == p)) for p in known["steps"]
    }
    _write(told, known)
    fresh = weights.with_suffix(".part")
    save_file(dict(network.state_dict()), fresh)
    fresh.replace(weights)
    return network.eval(), known


def _seconds(arm: Arm, data: Data, part: str) -> float:
    """Processor time of a step of a part, the median of a few."""
    network, ticks = initialized(arm.build, 0), list[float]()
    stages = arm.stages(network, data, {part: TRIAL})
    with tempfile.TemporaryDirectory() as folder:
        train_stages(
            network,  # pyright: ignore[reportArgumentType]
            stages[0].make_batch or data.clips,
            stages,
            Path(folder),
            on_progress=lambda stage, progress: ticks.append(time.process_time()),
        )
    return statistics.median(b - a for a, b in pairwise(ticks[1:]))


def _write(path: Path, found: dict[str, Any]) -> None:
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(found))
