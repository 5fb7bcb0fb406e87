"""Whether edges or tissues lead heads: ``python -m tests.benchmarks.control_heads FOLDER``.

A branch for edges or labels is learned beside the shipped heads model for a few minutes; then what
back-projection leaves out of patches of heads that it never saw is drawn with the patch's own
control, with that of another patch, and without any. Prints the protocol beside the numbers; what
FOLDER holds of the training is gone on with.
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
from core.families.walking import reachable, usual_walk
from core.models.checkpoints import find_model, load_model
from core.networks.conditioned import ConditionedNetwork
from core.sampling.schedules import linear
from core.seeds import generator
from core.tensors import inference_dtype
from core.training.feed import MakeBatch
from core.training.plan import Progress
from medical.operations.controlled import CHANNELS, LABELS, edges
from medical.operations.residual import RESIDUAL_SCALE
from medical.request import MRITrainingRequest
from medical.training.training import train
from tests.benchmarks.arms.data import PATCH, Data
from tests.benchmarks.intervals import student
from tests.benchmarks.quality.heads import data_folder

MODEL, HEADS, BATCH, LEARNING_RATE = "heads-1mm", 24, 4, 2e-3
STEPS, SAMPLES, ROWS = 2, 4, 8


def main() -> int:
    """Train, draw, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.control_heads")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--control", choices=CHANNELS, default="edges")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--patches", type=int, default=32)
    parser.add_argument("--heads", type=Path, help="BIDS folder; t1-heads in LAMINA_DATA")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    folder, shows = chosen.heads or data_folder() / "t1-heads", chosen.control
    data = Data(folder, items=chosen.patches, tissues=shows == LABELS)
    batches = data.patches(HEADS)
    began = time.process_time()
    network = learned(data, batches, chosen.folder, chosen.steps, shows)
    took = time.process_time() - began
    sys.stdout.write(told(network, data, chosen.steps, shows, took) + "\n")
    return 0


def learned(
    data: Data, batches: MakeBatch, folder: Path, steps: int, shows: str
) -> ConditionedNetwork:
    """The shipped model with a branch."""
    asked = {"heads": str(data.folder), "start": MODEL, "control": shows, "steps": steps}
    request = MRITrainingRequest.model_validate(
        asked | {"batch_size": BATCH, "learning_rate": LEARNING_RATE}
    )

    def said(stage: str, progress: Progress) -> None:
        if progress.step % 20 == 0:
            sys.stderr.write(f"{stage} {progress.step}: {progress.error:.4f}\n")

    trained, _ = train(request, folder, make_batch=batches, on_progress=said)
    assert isinstance(trained, ConditionedNetwork)
    return trained


def told(network: ConditionedNetwork, data: Data, steps: int, shows: str, took: float) -> str:
    """The protocol and the numbers."""
    base, _ = load_model(find_model(MODEL, "mri"))
    x, cond = data.held_out("mri")
    network = network.to(inference_dtype("cpu")).eval()
    kept = base.state_dict()
    same = all(torch.equal(weights, kept[name]) for name, weights in network.state_dict().items()
               if not name.startswith("control."))  # fmt: skip
    assert cond.concat is not None
    shown, count = cond.control, len(x)
    if shown is None:
        shown = edges((cond.concat[:, :1] + 1) / 2 + RESIDUAL_SCALE * x)
    cond, others = replace(cond, control=None), shown.roll(count // 2, 0)
    ways = {
        "without": (base, cond),
        f"with its own {shows}": (network, replace(cond, control=shown)),
        "with those of another patch": (network, replace(cond, control=others)),
        f"with the branch and no {shows}": (network, cond),
    }
    gains = {name: gained(drawn(net, x, asked), x) for name, (net, asked) in ways.items()}
    numbers = "; ".join(f"{name} {fmean(found):+.2f} dB" for name, found in gains.items())
    pairs = zip(gains[f"with its own {shows}"], gains["without"], strict=True)
    low, high = student([a - b for a, b in pairs]) or (math.nan, math.nan)
    return (
        f"control: a branch for {shows} beside {MODEL}, {steps} steps of {BATCH} patches of "
        f"{' x '.join(map(str, PATCH))} voxels of {HEADS} heads in 4 mm slices, rate "
        f"{LEARNING_RATE:g}, {took:.0f} s of a core; {count} patches of heads that were never "
        f"seen, mean of {SAMPLES} samples of {STEPS} steps; signal that back-projection left out "
        f"over what error is left, mean over patches: {numbers}. Own {shows} over none, 95 % over "
        f"patches: {low:+.2f} to {high:+.2f} dB. The base's weights are the same to the bit: "
        f"{same}."
    )


@torch.inference_mode()
def drawn(network: ConditionedNetwork, x: Tensor, cond: Conditioning) -> Tensor:
    """The mean of a few samples of every patch; each has noise of its own."""
    levels, parts = reachable(network, linear(STEPS)), []
    for start in range(0, len(x), ROWS):
        rows = slice(start, start + ROWS)
        denoise, walk = denoiser(network, cond.take(rows)), usual_walk(network, 0)
        noise = [torch.randn(x.shape, generator=generator(5, k))[rows] for k in range(SAMPLES)]
        parts.append(torch.stack([walk(denoise, z, levels) for z in noise]).mean(0))
    return torch.cat(parts)


def gained(found: Tensor, x: Tensor) -> list[float]:
    """Of each patch: signal over error, in dB."""
    signal, error = (v.square().flatten(1).mean(1) for v in (x, found - x))
    return (10 * torch.log10(signal / error)).tolist()


if __name__ == "__main__":
    sys.exit(main())
