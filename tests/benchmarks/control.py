"""Whether a control steers: ``python -m tests.benchmarks.control FOLDER``.

A branch for edges is learned beside the shipped video model for a few minutes; then clips of
held-out prompts are drawn with the edges of a clip of the same scene, and without. How far the
thing lies from where it is in that clip is read by the oracle. Prints the protocol beside the
numbers; what FOLDER holds of the training is gone on with.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median

import numpy as np
import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.models.checkpoints import find_model, load_model
from core.networks.conditioned import ConditionedNetwork
from core.seeds import generator
from core.tensors import inference_dtype
from core.training.plan import Progress
from video.engines.edges import edges
from video.engines.own import sample, to_frames
from video.engines.text import TextEncoder
from video.oracle.oracle import read_clip
from video.request import VideoRequest, VideoTrainingRequest
from video.training.training import FRAMES_PER_SECOND, train, world, world_batches
from video.world.world import draw_batch

MODEL, SCENES, SEED = "scenes-64", 1024, 31
BATCH, LEARNING_RATE = 4, 2e-3
STEPS, GUIDANCE = 8, 3.0


def main() -> int:
    """Train, draw, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.control")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--clips", type=int, default=24)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    encoder = TextEncoder(dtype=torch.bfloat16)
    began = time.process_time()
    network = learned(encoder, chosen.folder, chosen.steps)
    took = time.process_time() - began
    sys.stdout.write(told(network, encoder, chosen.steps, chosen.clips, took) + "\n")
    return 0


def learned(encoder: TextEncoder, folder: Path, steps: int) -> ConditionedNetwork:
    """The shipped model with a branch."""
    asked = {"start": MODEL, "control": "edges", "steps": steps, "batch_size": BATCH}
    request = VideoTrainingRequest.model_validate(asked | {"learning_rate": LEARNING_RATE})
    batches = world_batches(world(encoder, scenes=SCENES))

    def said(stage: str, progress: Progress) -> None:
        if progress.step % 20 == 0:
            sys.stderr.write(f"{stage} {progress.step}: {progress.error:.4f}\n")

    trained, _ = train(request, folder, make_batch=batches, on_progress=said)
    assert isinstance(trained, ConditionedNetwork)
    return trained


def told(
    network: ConditionedNetwork, encoder: TextEncoder, steps: int, count: int, took: float
) -> str:
    """The protocol and the numbers."""
    base, record = load_model(find_model(MODEL, "video"))
    shares = (1.0, 0.0, 0.0)
    x, captions, _ = draw_batch(count, generator(SEED), split="held_out", count_shares=shares)
    network = network.to(inference_dtype("cpu")).eval()
    kept = base.state_dict()
    same = all(torch.equal(weights, kept[name]) for name, weights in network.state_dict().items()
               if not name.startswith("control."))  # fmt: skip
    found: dict[str, list[float]] = {"with": [], "without": []}
    lines: dict[str, list[float]] = {"with": [], "without": []}
    for place, caption in enumerate(captions):
        truth = x[place : place + 1]
        tokens, mask = encoder.encode([caption])
        told = Conditioning(
            tokens=tokens,
            token_mask=mask,
            spacing=torch.tensor([[1 / FRAMES_PER_SECOND, 1.0, 1.0]]),
            guidance=torch.tensor([GUIDANCE]),
        )
        request = VideoRequest(prompt=caption, seed=place, steps=STEPS, guidance=GUIDANCE)
        shown = edges(truth)
        for name, net, cond in (
            ("with", network, replace(told, control=shown)),
            ("without", base, told),
        ):
            drawn = sample(request, cond, net, record)
            lines[name].append(float((edges(drawn) - shown).abs().mean()))
            if (distance := apart(drawn, truth)) is not None:
                found[name].append(distance)
    numbers = "; ".join(
        f"{name} it {median(found[name]):.1f} pixels (median of {len(found[name])} clips of "
        f"{count} that show one thing), edges off by {fmean(lines[name]):.4f}"
        for name in found
    )
    return (
        f"control: a branch for edges beside {MODEL}, {steps} steps of {BATCH} clips, rate "
        f"{LEARNING_RATE:g}, {took:.0f} s of a core; {count} held-out prompts of single things, "
        f"{STEPS} steps, guidance {GUIDANCE:g}, beside the edges of a clip of the same scene. The "
        f"thing lies off by: {numbers}. The base's weights are the same to the bit: {same}."
    )


def apart(drawn: Tensor, truth: Tensor) -> float | None:
    """Pixels from the thing to where it should be, mean over frames; None if it is not one."""
    seen, real = (read_clip(to_frames(clip).numpy()).things for clip in (drawn, truth))
    if len(seen) != 1 or len(real) != 1:
        return None
    here, there = seen[0].positions, real[0].positions
    if len(here) != len(there):
        return None
    return float(np.linalg.norm(here - there, axis=1).mean())


if __name__ == "__main__":
    sys.exit(main())
