"""Whether real heads are likelier than spoilt ones: ``python -m tests.benchmarks.likelihood``.

The shipped heads model is asked for the density of what the scan of a held-out head leaves out,
along its probability flow, beside the same with its tissues' intensities exchanged and with noise
on it. Prints the protocol beside the numbers; processor minutes of one core.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.families.table import denoiser
from core.models.checkpoints import find_model, load_model
from core.networks.conditioned import ConditionedNetwork
from core.sampling.likelihood import log_likelihood
from core.sampling.path import diffuse
from core.sampling.schedules import linear
from core.seeds import generator
from medical.acquisition.scanning import ScannedPatch, training_pairs
from medical.anatomy.contrasts import tissue_map
from medical.operations.residual import RESIDUAL_SCALE
from medical.training.dataset import VALIDATION_EVERY
from medical.training.patches import HeadPatches, PatchRecipe
from tests.benchmarks.arms.data import FOUR_MM
from tests.benchmarks.quality.heads import data_folder, file_reader

MODEL, PATCH = "heads-1mm", (16, 32, 32)
NOISES, SEED, PROBES = (0.03, 0.01), 21, 2


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.likelihood")
    parser.add_argument("--patches", type=int, default=40)
    parser.add_argument("--steps", type=int, default=12)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    network, _ = load_model(find_model(MODEL, "mri"), dtype=torch.float32)
    began, rows = time.process_time(), []
    for place, patch in enumerate(drawn(heads(), chosen.patches)):
        rows.append(judged(network.eval(), patch, chosen.steps, place))
        sys.stderr.write(f"{place + 1} of {chosen.patches}: {rows[-1]}\n")
    sys.stdout.write(told(rows, chosen.steps, time.process_time() - began) + "\n")
    return 0


def heads() -> list[tuple[str, Path]]:
    """Of heads that the model never saw: subject and file."""
    paths = sorted((data_folder() / "t1-heads").glob("sub-*/anat/sub-*_T1w.nii.gz"))
    return [
        (path.name.split("_")[0], path) for path in paths[VALIDATION_EVERY - 1 :: VALIDATION_EVERY]
    ]


def drawn(files: list[tuple[str, Path]], count: int) -> list[ScannedPatch]:
    """Patches as the model is trained on, without changes of contrast, noise or flips."""
    recipe = PatchRecipe(
        PATCH, other_axis_share=0.0, acquisitions=FOUR_MM, augmentation=None, min_foreground=0.6
    )
    named = [(name, file_reader(path)()) for name, path in files]
    patches, dice = HeadPatches.from_heads(named, recipe), generator(SEED)
    return [patches.obey(patches.draw(dice)) for _ in range(count)]


def shuffled(truth: Tensor) -> Tensor:
    """Fluid with the mean of gray matter, gray of white, white of fluid; their detail stays."""
    centers = tissue_map(truth).centers.to(truth)
    between = (centers[1:] + centers[:-1]) / 2
    label = torch.bucketize(truth, between)
    others = torch.cat([centers[:1], centers[2:], centers[1:2]])
    return (truth + others[label] - centers[label]).clamp(min=0.0)


def noisy(truth: Tensor, share: float, seed: int) -> Tensor:
    """Normal noise of that share of the brightest on all but the background."""
    noise = torch.randn(truth.shape, generator=generator(seed, 1)).to(truth)
    return torch.where(truth > 0, truth + share * noise, truth).clamp(min=0.0)


def judged(
    network: ConditionedNetwork, patch: ScannedPatch, steps: int, place: int
) -> dict[str, float]:
    """Bits a voxel of the head, and of each change beside the head's scan and beside its own."""
    truth = patch.truth.float()
    changes = {"shuffled": shuffled(truth)}
    changes |= {f"noise of {share:g}": noisy(truth, share, SEED + place) for share in NOISES}
    own = training_pairs([replace(patch, truth=x) for x in (truth, *changes.values())])
    real = {key: value[:1] for key, value in own.items()}
    beside = {key: value.expand(len(changes), *value.shape[1:]) for key, value in real.items()}
    inner = torch.stack([x[patch.inner] - truth[patch.inner] for x in changes.values()])
    beside["target"] = real["target"] + inner[:, None] / RESIDUAL_SCALE
    names = ["head", *(f"{name}, own scan" for name in changes)]
    names += [f"{name}, same scan" for name in changes]
    pairs = {key: torch.cat([own[key], beside[key]]) for key in own}
    cond = Conditioning(
        concat=pairs["concat"], spacing=pairs["spacing"], resolution=pairs["resolution"]
    )
    levels = linear(steps)
    x = pairs["target"]
    noise = torch.randn(x[:1].shape, generator=generator(SEED, place)).expand(x.shape)
    x = diffuse(x, noise, levels[-2].to(x).expand(len(x)))
    found = log_likelihood(
        denoiser(network, cond), x, levels, generator=generator(SEED, place, 1), probes=PROBES
    )
    bits = found / (x[0].numel() * math.log(2))
    return {name: round(float(value), 4) for name, value in zip(names, bits, strict=True)}


def told(rows: list[dict[str, float]], steps: int, seconds: float) -> str:
    """The protocol and the numbers."""
    count = len(rows)
    names = [name for name in rows[0] if name != "head"]
    shares = "; ".join(
        f"{name}: {sum(r['head'] > r[name] for r in rows)} of {count} below the head, "
        f"{fmean(r['head'] - r[name] for r in rows):+.3f} bits a voxel"
        for name in names
    )
    return (
        f"likelihood: {MODEL}, {count} patches of {' x '.join(map(str, PATCH))} of heads it never "
        f"saw, scanned in 4 mm slices; log-density of the residual at level {1 / steps:.3f} along "
        f"the probability flow, {steps - 1} steps of Heun's rule, {PROBES} signs of Hutchinson's "
        f"estimate, the same noise and signs for all; noise is a share of the brightest; shuffled "
        f"are the tissues' means, in a cycle. {shares}. {seconds:.0f} s of a core."
    )


if __name__ == "__main__":
    sys.exit(main())
