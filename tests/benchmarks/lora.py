"""What LoRA is worth on little data: ``python -m tests.benchmarks.lora``.

Ten clips, and two heads, of a kind that the shipped models never saw; the error on other clips
and another person of that kind, before and after. Prints the protocol beside each number.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.families.table import denoiser
from core.models.checkpoints import find_model, load_model
from core.networks.conditioned import ConditionedNetwork
from core.networks.lora import merged
from core.sampling.path import diffuse
from core.seeds import generator
from core.training.feed import MakeBatch
from medical.request import MRITrainingRequest
from medical.training.patches import HeadPatches, PatchRecipe
from medical.training.training import patch_batches
from medical.training.training import train as train_mri
from tests.benchmarks.arms.data import FOUR_MM, ITEMS_SEED
from tests.benchmarks.arms.scores import LEVELS, NOISE_SEED
from tests.benchmarks.quality.heads import data_folder, file_reader
from video.engines.text import TextEncoder
from video.request import VideoTrainingRequest
from video.training.training import FRAMES_PER_SECOND
from video.training.training import train as train_video
from video.world.world import draw_batch

Batch = tuple[Tensor, Conditioning]
PATCH = (16, 32, 32)
CLIPS, HELD_OUT, PATCHES = 10, 24, 48
BATCH, LEARNING_RATE = 4, 4e-3


def main() -> int:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lora")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--only", choices=["clips", "heads"])
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for name, measure in {"clips": clips, "heads": heads}.items():
        if chosen.only in (None, name):
            sys.stdout.write(measure(chosen.rank, chosen.steps) + "\n")
            sys.stdout.flush()
    return 0


def clips(rank: int, steps: int) -> str:
    """Ten clips of the world in negative colors."""
    encoder = TextEncoder(dtype=torch.bfloat16)

    def drawn(count: int, seed: int) -> Batch:
        x, captions, _ = draw_batch(count, generator(seed), count_shares=(1.0, 0.0, 0.0))
        tokens, mask = encoder.encode(list(captions))
        spacing = torch.tensor([[1 / FRAMES_PER_SECOND, 1.0, 1.0]])
        return -x, Conditioning(tokens=tokens, token_mask=mask, spacing=spacing)

    few = drawn(CLIPS, 1)
    asked = {"start": "scenes-64", "clips": "ten in memory", **_shared(rank, steps)}
    request = VideoTrainingRequest.model_validate(asked)
    told = _measured(
        "scenes-64", "video", few, drawn(HELD_OUT, 2),
        lambda batches, folder: train_video(request, folder, make_batch=batches)[0],
    )  # fmt: skip
    return (
        f"clips: rank {rank}, {steps} steps of {BATCH} clips, on {CLIPS} clips of the procedural "
        f"world in negative colors; {HELD_OUT} others of that kind. {told}"
    )


def heads(rank: int, steps: int) -> str:
    """T2w and FLAIR of one person; those of another are judged."""
    found = sorted((data_folder() / "ms-lesions").glob("patient*"))
    sides = [_patches(folder) for folder in found[:2]]
    request = MRITrainingRequest.model_validate(
        {"heads": "two in memory", "start": "heads-1mm", **_shared(rank, steps)}
    )
    learned = patch_batches(sides[0])
    told = _measured(
        "heads-1mm", "mri", learned, patch_batches(sides[1])(PATCHES, generator(ITEMS_SEED)),
        lambda batches, folder: train_mri(request, folder, make_batch=batches)[0],
    )  # fmt: skip
    return (
        f"heads: rank {rank}, {steps} steps of {BATCH} patches of {' x '.join(map(str, PATCH))}, "
        f"4 mm slices, on T2w and FLAIR of {found[0].name}; {PATCHES} patches of those of "
        f"{found[1].name}. {told}"
    )


def _shared(rank: int, steps: int) -> dict[str, Any]:
    return {
        "lora": rank,
        "steps": steps,
        "jump_steps": 0,
        "batch_size": BATCH,
        "learning_rate": LEARNING_RATE,
    }


def _patches(folder: Path) -> HeadPatches:
    paths = [p for p in sorted(folder.rglob("*.nii.gz")) if "T2" in p.name or "FLAIR" in p.name]
    named = [(path.name, file_reader(path)()) for path in paths]
    recipe = PatchRecipe(PATCH, other_axis_share=0.0, acquisitions=FOUR_MM, augmentation=None)
    return HeadPatches.from_heads(named, recipe)


def _measured(
    model: str,
    kind: str,
    few: Batch | MakeBatch,
    others: Batch,
    train: Callable[[MakeBatch, Path], Any],
) -> str:
    """Errors before and after, and whether the base came back bit for bit."""
    base, _ = load_model(find_model(model, kind), dtype=torch.float32)
    before, began = _error(base, others), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        trained = train(few if callable(few) else _again(few), Path(folder))
    took = time.process_time() - began
    originals = {n: p for n, p in trained.named_parameters() if n.endswith(".original")}
    plain = dict(base.named_parameters())
    same = all(
        torch.equal(p, plain[n.replace(".parametrizations.weight.original", ".weight")])
        for n, p in originals.items()
    )
    after = _error(merged(trained).eval(), others)
    less = 100 * (1 - after / before)
    return (
        f"Mean squared error of the estimate over levels {', '.join(map(str, LEVELS))}: "
        f"{before:.5f} before, {after:.5f} after, {less:.1f} % less; {took:.0f} s of one core; "
        f"{len(originals)} weights of the base {'as they were' if same else 'CHANGED'}."
    )


def _again(few: Batch) -> MakeBatch:
    """Rows of a few items, again and again."""

    def make_batch(batch_size: int, dice: torch.Generator) -> Batch:
        x, cond = few
        rows = torch.randint(len(x), (batch_size,), generator=dice)
        return x[rows], cond.take(rows)

    return make_batch


@torch.inference_mode()
def _error(network: ConditionedNetwork, others: Batch) -> float:
    x, cond = others
    e = torch.randn(x.shape, generator=generator(NOISE_SEED))
    found = []
    for level in LEVELS:
        for start in range(0, len(x), 8):
            rows = slice(start, start + 8)
            t = torch.full((len(x[rows]),), level)
            guess = denoiser(network, cond.take(rows))(diffuse(x[rows], e[rows], t), t, t)
            found += (guess - x[rows]).square().flatten(1).mean(1).tolist()
    return fmean(found)


if __name__ == "__main__":
    sys.exit(main())
