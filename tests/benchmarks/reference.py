"""Whether pictures say what prompts leave open: ``python -m tests.benchmarks.reference FOLDER``.

An adapter is learned beside the shipped video model for some minutes; then clips are drawn of
held-out scenes of one thing, by prompts that say nothing of its color, shape and size, beside a
frame of that scene, beside one of the next scene, and beside none. The oracle reads what they
show. Prints the protocol beside the numbers; what FOLDER holds of the training is gone on with.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.models.checkpoints import find_model, load_model
from core.networks.conditioned import ConditionedNetwork
from core.tensors import inference_dtype
from core.training.plan import Progress
from tests.benchmarks.intervals import wilson
from video.engines.own import sample, to_frames
from video.engines.text import TextEncoder
from video.oracle.oracle import ThingReading, read_clip
from video.request import VideoRequest, VideoTrainingRequest
from video.training.references import left_open, referenced_layouts
from video.training.training import FRAMES_PER_SECOND, train, world
from video.world.captions import Stated, caption
from video.world.rendering import render
from video.world.scenes import Scene
from video.world.world import draw_scene

MODEL, SCENES, SEED = "scenes-64", 8192, 41
BATCH, LEARNING_RATE = 4, 2e-3
STEPS, GUIDANCE, FRAME = 8, 3.0, 8
OPEN = Stated(colors=False, shapes=False, sizes=False)
LOOKS = ("color", "shape", "size")


def main() -> int:
    """Train, draw, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.reference")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--clips", type=int, default=96)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    encoder = TextEncoder(dtype=torch.bfloat16)
    began = time.process_time()
    network = learned(encoder, chosen.folder, chosen.steps)
    took = time.process_time() - began
    sys.stdout.write(told(network, encoder, chosen.steps, chosen.clips, took) + "\n")
    return 0


def learned(encoder: TextEncoder, folder: Path, steps: int) -> ConditionedNetwork:
    """The shipped model, whose layouts are shown a picture."""
    asked = {"start": MODEL, "control": "reference", "steps": steps, "batch_size": BATCH}
    request = VideoTrainingRequest.model_validate(asked | {"learning_rate": LEARNING_RATE})
    bank = world(encoder, scenes=SCENES, stated=left_open)

    def said(stage: str, progress: Progress) -> None:
        if progress.step % 50 == 0:
            sys.stderr.write(f"{stage} {progress.step}: {progress.error:.4f}\n")

    batches = referenced_layouts(bank)
    trained, _ = train(request, folder, make_batch=batches, on_progress=said)
    assert isinstance(trained, ConditionedNetwork)
    return trained


def scenes(count: int) -> list[tuple[Scene, str]]:
    """Held-out scenes of one thing, and what the prompts say of them."""
    found, dice = [], Random(SEED)
    while len(found) < count:
        scene = draw_scene(dice, split="held_out", count_shares=(1, 0, 0))
        found.append((scene, caption(scene, dice, OPEN)))
    return found


def shown(asked: list[Scene]) -> Tensor:
    """A frame of each scene, (B, 3, 1, 64, 64)."""
    return render(asked)[:, :, FRAME : FRAME + 1]


def told(
    network: ConditionedNetwork, encoder: TextEncoder, steps: int, count: int, took: float
) -> str:
    """The protocol and the numbers."""
    base, record = load_model(find_model(MODEL, "video"))
    network = network.to(inference_dtype("cpu")).eval()
    kept, asked = base.state_dict(), scenes(count)
    same = all(torch.equal(weights, kept[name]) for name, weights in network.state_dict().items()
               if not name.startswith("layouts.reference."))  # fmt: skip
    truths = [scene.objects[0] for scene, _ in asked]
    pictures = shown([scene for scene, _ in asked])
    arms = {"its own": pictures, "the next one's": pictures.roll(-1, 0), "no": None}
    lines = []
    for name, given in arms.items():
        hits: dict[str, list[bool]] = {}
        for place, (_, prompt) in enumerate(asked):
            request = VideoRequest(prompt=prompt, seed=place, steps=STEPS, guidance=GUIDANCE)
            cond = conditioning(encoder, prompt)
            if given is not None:
                cond = replace(cond, reference=given[place : place + 1])
            drawn = sample(request, cond, network if given is not None else base, record)
            thing, truth = read(drawn), truths[place]
            looks = [getattr(thing, look, None) == getattr(truth, look) for look in LOOKS]
            other = truths[(place + 1) % count]
            next_one = [getattr(thing, look, None) == getattr(other, look) for look in LOOKS]
            found = dict(zip(LOOKS, looks, strict=True))
            found |= {"all three": all(looks), "all three of the next one": all(next_one)}
            found |= {"motion": getattr(thing, "motion", None) == truth.motion}
            for what, hit in found.items():
                hits.setdefault(what, []).append(hit)
        lines.append(f"beside {name} picture: " + ", ".join(_share(*x) for x in hits.items()))
    return (
        f"reference: an adapter beside the layouts of {MODEL}, {steps} steps of {8 * BATCH} "
        f"layouts, rate {LEARNING_RATE:g}, {took:.0f} s of a core; {count} held-out scenes of one "
        f"thing, prompts such as {asked[0][1]!r} without color, shape and size, {STEPS} steps, "
        f"guidance {GUIDANCE:g}; right by the oracle, with Wilson's 95 % intervals: "
        f"{'; '.join(lines)}. The base's weights are the same to the bit: {same}."
    )


def conditioning(encoder: TextEncoder, prompt: str) -> Conditioning:
    """What the network is told of a prompt."""
    tokens, mask = encoder.encode([prompt])
    return Conditioning(
        tokens=tokens,
        token_mask=mask,
        spacing=torch.tensor([[1 / FRAMES_PER_SECOND, 1.0, 1.0]]),
        guidance=torch.tensor([GUIDANCE]),
    )


def read(drawn: Tensor) -> ThingReading | None:
    """The thing that a clip shows; None if it is not one."""
    things = read_clip(to_frames(drawn).numpy()).things
    return things[0] if len(things) == 1 else None


def _share(what: str, hits: list[bool]) -> str:
    low, high = wilson(sum(hits), len(hits))
    return f"{what} {sum(hits)} of {len(hits)} ({100 * low:.0f} to {100 * high:.0f} %)"


if __name__ == "__main__":
    sys.exit(main())
