"""Trains the head that predicts the error of a restoration, on heads that the network knows.

``python -m medical.training.errors HEADS OUT --parts 175 --scale 0.88``: parts of heads are
scanned in random slices, restored with nothing told, and held against the truth; a head of a
thousand weights learns from that how large the error is where. Every sixth subject is left out.
Errors at the borders of parts are larger than inside a head, so what is predicted is scaled.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from core.models.checkpoints import find_model, load_model
from core.networks.conditioned import ConditionedNetwork
from core.records import atomic_path
from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
from medical.acquisition.intensity import measure_scale
from medical.acquisition.scanning import rician
from medical.evaluation.evaluate import trimmed
from medical.files.nifti import read_volume
from medical.files.volume import Volume
from medical.operations.baselines import FOREGROUND
from medical.operations.error_map import KEY, head_of, readings
from medical.operations.problem import prepare
from medical.operations.super_resolve import super_resolve
from medical.request import SuperResolutionRequest
from medical.training.dataset import VALIDATION_EVERY
from medical.training.heads import find_heads

BOX, PARTS = (64, 64, 64), 2  # voxels of a part, and parts of a head
LEAST_TISSUE = 0.25  # of a part
OFF = 0.05  # standard deviation of the width that is told
KEPT = 12_000  # voxels of a part that are learned from
DISTANCES_MM, WIDTHS = (2.0, 3.0, 4.0, 4.0, 5.0, 6.0), (0.8, 1.0, 1.0, 1.0, 1.2)
NOISES, PLANES = (0.0, 0.0, 0.0, 0.01, 0.02, 0.03), (1.0, 1.0, 1.0, 1.2, 1.5)
SOME = 200_000  # of all voxels, that tell the usual range
HIDDEN, STEPS, BATCH, RATE = 24, 4000, 8192, 4e-3

Sample = tuple[Tensor, Tensor]


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect, learn, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("heads", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="heads-1mm")
    parser.add_argument("--parts", type=int, default=175)
    parser.add_argument("--scale", type=float, default=0.88, help="of what is predicted")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    folder = find_model(chosen.model, "mri")
    network, record = load_model(folder)
    paths = list(find_heads(chosen.heads).taken.values())
    taken = [p for k, p in enumerate(paths) if k % VALIDATION_EVERY != VALIDATION_EVERY - 1]
    found = list(itertools.islice(samples(taken, network, seed=0), chosen.parts))
    tensors = learned(torch.cat([r for r, _ in found]), torch.cat([e for _, e in found]))
    tensors = scaled(tensors, chosen.scale)
    digest = record["sha256"]["weights.safetensors"]
    about = {KEY: digest, "parts": str(len(found)), "scaled": f"{chosen.scale:g}"}
    with atomic_path(chosen.out, overwrite=True) as temporary:
        save_file(tensors, temporary, metadata=about)
    sys.stdout.write(f"{len(found)} parts of heads, {chosen.out.stat().st_size} bytes\n")
    return 0


def samples(paths: Sequence[Path], network: ConditionedNetwork, seed: int) -> Iterator[Sample]:
    """What the head reads of voxels and how far the restoration is off there, without end."""
    dice = random.Random(seed)
    while True:
        volume = read_volume(dice.choice(paths))
        scaled = measure_scale(volume.data).apply(volume.data)
        head = volume.with_data(scaled, dtype="float32")
        for _ in range(PARTS):
            part = _part(head, dice)
            if float((part.data > FOREGROUND).float().mean()) > LEAST_TISSUE:
                found = sample(part, network, dice)
                yield from [] if found is None else [found]


def sample(part: Volume, network: ConditionedNetwork, dice: random.Random) -> Sample | None:
    """One part, scanned and restored; None where its slices do not fill it."""
    pitch, share = dice.choice(DISTANCES_MM), dice.choice(WIDTHS)
    plane, noise = dice.choice(PLANES), dice.choice(NOISES)
    thick = SliceSampling(share * pitch, pitch - share * pitch)
    h, w = (SliceSampling(plane * s, profile="band") for s in part.spacing_mm[:2])
    acquisition = Acquisition((h, w, thick) if plane > 1 else (None, None, thick))
    truth = trimmed(part, acquisition)
    scan = acquire(truth, acquisition)
    if noise:
        parts = noise * torch.randn(2, *scan.shape, generator=_seeded(dice))
        scan = scan.with_data(rician(scan.data, parts))
    asked = SuperResolutionRequest(
        scan="in memory",
        spacing_mm=truth.spacing_mm,
        slice_thickness_mm=share * pitch * math.exp(dice.gauss(0.0, OFF)),
        noise_std=noise,
        seed=dice.randrange(99),
    )
    made = super_resolve(scan, asked, network).mean.data
    problem = prepare(scan, asked)
    if made.shape != truth.shape:
        return None
    with torch.inference_mode():
        base = problem.back_projection()
        result, wanted = (
            problem.scale.apply(x).permute(*problem.order).contiguous() for x in (made, truth.data)
        )
        read = readings(problem, base, result).flatten(0, 2)
        chance = (wanted > FOREGROUND).flatten().float() + 0.05
        chosen = torch.multinomial(chance, KEPT, generator=_seeded(dice))
        return read[chosen].clone(), (result - wanted).flatten()[chosen].clone()


def learned(read: Tensor, off: Tensor) -> dict[str, Tensor]:
    """Weights that make the error as likely as can be, if it is normal with the one predicted."""
    torch.manual_seed(0)
    some = read[torch.randperm(len(read))[:SOME]]
    low, high = some.quantile(torch.tensor([0.001, 0.999]), dim=0)
    high = torch.maximum(high, low + 1e-3)
    sizes = [read.shape[1], HIDDEN, HIDDEN, 1]
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    nn.init.zeros_(layers[-1].weight)
    nn.init.constant_(layers[-1].bias, float(off.square().mean().sqrt().log()))
    optimizer = torch.optim.AdamW(nn.ModuleList(layers).parameters(), lr=RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    names = {f"{kind}{k}": value for k, layer in enumerate(layers)
             for kind, value in (("weight", layer.weight), ("offset", layer.bias))}  # fmt: skip
    for _ in range(STEPS):
        chosen = torch.randint(len(read), (BATCH,))
        std = head_of({**names, "low": low, "high": high})(read[chosen])
        loss = (0.5 * (off[chosen] / std).square() + std.log()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return {
        name: value.detach().clone() for name, value in {**names, "low": low, "high": high}.items()
    }


def scaled(tensors: dict[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Weights that predict so many times as much: the last layer is that of a logarithm."""
    last = max(name for name in tensors if name.startswith("offset"))
    return tensors | {last: tensors[last] + math.log(scale)}


def _part(volume: Volume, dice: random.Random) -> Volume:
    data, affine = volume.data, volume.affine.copy()
    for axis, size in enumerate(BOX):
        kept = min(size, data.shape[axis])
        start = dice.randint(0, data.shape[axis] - kept)
        data = data.narrow(axis, start, kept)
        affine[:3, 3] += volume.affine[:3, axis] * start
    return volume.with_data(data.clone(), affine)


def _seeded(dice: random.Random) -> torch.Generator:
    return torch.Generator().manual_seed(dice.randrange(2**31))


if __name__ == "__main__":
    sys.exit(main())
