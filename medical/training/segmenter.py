"""Trains the segmenter of structures: heads in random contrasts, painted from label maps.

The network is the house's U-Net as a plain predictor: shown zeros beside the image, at noise
level 1, it answers with the scores of structures. The same trainer, checkpoints and time budget
as for every other model; a run that was stopped goes on from its folder.

Run it with ``python -m medical.training.segmenter MAPS FOLDER --minutes 60``: ``MAPS`` is
a folder of label maps in FreeSurfer's numbering (those of SynthSeg); every fifth is held out.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.families.family import Draw, Predict
from core.models.checkpoints import save_model
from core.networks.conditioned import ConditionedNetwork
from core.networks.unet import SpatioTemporalUNet
from core.refusal import Refusal
from core.tensors import Volumes
from core.training.feed import Batch, MakeBatch
from core.training.plan import Plan, Progress
from core.training.trainer import Trainer
from medical.anatomy.random_heads import GRID_MM, LabelMap, draw_cut, paint
from medical.anatomy.segmenting import upright_axes
from medical.anatomy.structures import STRUCTURES
from medical.files.nifti import read_volume

logger = logging.getLogger(__name__)

PATCH = (48, 48, 48)
CONTRASTS_PER_CUT = 2
HELD_OUT = 5
"""Every so many-th map is held out."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """Cross-entropy and overlap of scores against shares; a ``Family`` without noise."""

    name: ClassVar[str] = "segmentation"
    cost = 1.0
    rate = 1.0

    def taught_by(self, network: ConditionedNetwork) -> Scoring:
        """The same: the data is the teacher."""
        del network
        return self

    def draw(self, x: Volumes, generator: torch.Generator) -> Draw:
        """Nothing is random: no noise, level 1."""
        del generator
        one = torch.ones(len(x), device=x.device)
        return Draw(noise=torch.zeros_like(x), t=one, r=one, keep=one > 0)

    def loss(
        self, predict: Predict, x: Volumes, cond: Conditioning, drawn: Draw
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy plus one minus the mean overlap, and the squared error per sample.

        Args:
            predict: The network.
            x: (B, structures, D, H, W) shares; all zero where nothing is taught.
            cond: The images, in ``concat``.
            drawn: Zeros.
        """
        scores = predict(drawn.noise, drawn.t, drawn.r, cond).float()
        taught = x.sum(1, keepdim=True)
        logs = scores.log_softmax(1)
        entropy = -(x * logs).sum() / taught.sum().clamp(min=1.0)
        shares = logs.exp() * taught
        both = 2 * (shares * x).sum((0, 2, 3, 4))
        total = shares.square().sum((0, 2, 3, 4)) + x.square().sum((0, 2, 3, 4))
        overlap = (both + 1.0) / (total + 1.0)
        errors = (shares.detach() - x).square().flatten(1).mean(1)
        return entropy + 1.0 - overlap.mean(), errors


def network() -> SpatioTemporalUNet:
    """The segmenter, with random weights."""
    return SpatioTemporalUNet(**shape())


def shape() -> dict[str, Any]:
    """Settings of ``network``."""
    return {
        "in_channels": len(STRUCTURES),
        "concat_channels": 1,
        "block_out_channels": (32, 48, 80),
        "layers_per_block": 1,
        "patch_size": (2, 2, 2),
        "down_strides": ((2, 2, 2), (2, 2, 2)),
        "attention_levels": (False, False, False),
        "spatial_attention_levels": (False, False, False),
        "default_spacing": (GRID_MM,) * 3,
    }


def batches(heads: Sequence[LabelMap]) -> MakeBatch:
    """Patches of heads; two of a batch show one place in two contrasts."""

    def make_batch(batch_size: int, random: torch.Generator) -> Batch:
        truths, images = list[Tensor](), list[Tensor]()
        while len(images) < batch_size:
            head = heads[int(torch.randint(len(heads), (), generator=random))]
            cut = draw_cut(head, PATCH, random)
            for _ in range(min(CONTRASTS_PER_CUT, batch_size - len(images))):
                image, truth = paint(cut, random)
                images.append(image)
                truths.append(truth)
        return torch.stack(truths), Conditioning(concat=torch.stack(images))

    return make_batch


def plan(minutes: float, *, data: str, seed: int = 0) -> Plan:
    """A run of at most so many minutes, over all sittings."""
    return Plan(
        steps=40000,
        minutes=minutes,
        batch_size=4,
        learning_rate=2e-3,
        warmup=20,
        cooldown=0.6,
        ema_decay=0.998,
        checkpoint_minutes=2,
        data=data,
        seed=seed,
    )


def find_maps(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Label maps to train on, and those held out, by name.

    Raises:
        Refusal: There are too few.
    """
    files = [path for path in sorted(folder.glob("*.nii*")) if path.name[0] != "."]
    named = {path.name.split(".")[0]: path for path in files}
    if len(named) < len(files):
        twice = sorted(path.name for path in {*files} - {*named.values()})
        raise Refusal(
            f"{folder}: {', '.join(twice[:10])}: another map has this name up to its first dot: "
            "each map is known by that; rename or remove one."
        )
    held = dict(list(named.items())[HELD_OUT - 1 :: HELD_OUT])
    if not held:
        raise Refusal(
            f"{folder} holds {len(named)} label maps: {HELD_OUT} or more are needed, of which "
            "every fifth is held out; add maps in FreeSurfer's numbering as .nii.gz."
        )
    return {name: path for name, path in named.items() if name not in held}, held


def read_map(path: Path) -> LabelMap:
    """A label map of 1 mm, turned so that its axes point right, anterior and superior.

    Raises:
        Refusal: It has another spacing, or a label is unknown.
    """
    volume = read_volume(path)
    if max(abs(s - 1) for s in volume.spacing_mm) > 0.05:
        raise Refusal(
            f"{path} has voxels of {volume.spacing_mm} mm: label maps to train on have 1 mm; "
            "resample it by nearest neighbors."
        )
    order, flips = upright_axes(volume.affine)
    labels = np.flip(volume.data.numpy().transpose(order), flips)
    return LabelMap.of(labels.astype(np.int64))


def train(
    maps: Path, folder: Path, minutes: float, *, seed: int = 0
) -> tuple[ConditionedNetwork, int]:
    """The trained network, averaged weights, and the steps taken.

    Args:
        maps: Folder of label maps.
        folder: For checkpoints; a run in it is gone on with.
        minutes: Over all sittings.
        seed: Of everything random.
    """
    taken, held = find_maps(maps)
    heads = [read_map(path) for path in taken.values()]
    torch.manual_seed(seed)
    words = f"{len(heads)} label maps in random contrasts; held out {', '.join(held)}"

    def told(progress: Progress) -> None:
        if progress.step % 50 == 0:
            logger.info("step %d: loss %.3f", progress.step, progress.loss)

    planned = plan(minutes, data=words, seed=seed)
    trainer = Trainer(network(), batches(heads), Scoring(), planned, folder)
    trainer.run(told)
    return trainer.averaged_network(), trainer.step


def publish(network: ConditionedNetwork, folder: Path, record: dict[str, Any]) -> Path:
    """Write a model folder with a card.

    Args:
        network: Trained.
        folder: Must not exist yet.
        record: Training, results and limits; the rest is added.
    """
    from core.models.cards import card  # noqa: PLC0415  for whoever trains

    whole = {
        "name": folder.name,
        "kind": "segmentation",
        "objective": "cross-entropy and overlap",
        "parameters": sum(p.numel() for p in network.parameters()),
        "structures": dict(enumerate(STRUCTURES)),
        **record,
    }
    return save_model(folder, network, whole, card=card(whole))


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("maps", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, help="folder to write the model into when done")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    network, steps = train(asked.maps, asked.folder, asked.minutes, seed=asked.seed)
    if asked.model:
        publish(network, asked.model, {"training": {"steps": steps, "minutes": asked.minutes}})


if __name__ == "__main__":
    main()
