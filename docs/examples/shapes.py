"""A sentence to a mesh: shapes as fields in space, drawn by this project's own network.

'a small torus standing' is read by the text encoder of clips; the network of ``core`` draws a
field that is positive inside the shape, marching cubes makes a surface of it, and the folder
holds ``shape.glb``, ``shape.stl``, a turntable ``shape.mp4`` and the record ``shape.json``.

    pip install -e ".[examples]"
    python docs/examples/shapes.py train shapes --minutes 15
    python docs/examples/shapes.py draw shapes "a small torus standing" my-torus

A folder such as ``.lamina/outputs/examples/text_to_shape/my-torus`` is shown by the gallery.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import volumes
from shapes_mesh import FILES, mesh, write
from torch import Tensor

from core.conditioning import Conditioning
from core.families.table import denoiser
from core.networks.unet import SpatioTemporalUNet
from core.records import atomic_path
from core.refusal import Refusal
from core.sampling.guidance import guided
from core.sampling.samplers import flow_map
from core.sampling.schedules import shifted
from core.seeds import generator, noise_batch
from core.training.plan import Plan
from video.engines.text import TextEncoder, padded, read_once

SIZES = {"small ": 0.55, "": 0.75, "large ": 0.95}
"""How far a shape reaches from the middle, as a share of half a side."""
KINDS = {"ball": False, "cube": False, "torus": True, "cylinder": True, "cone": True}
"""Whether it may stand or lie."""
VOXELS = 32
BAND = 3 * 2 / VOXELS
"""Distance from the surface at which the field is 1 or -1; half a side is 1."""
PROMPTS = [
    f"a {size}{kind}{posture}"
    for kind, turns in KINDS.items()
    for size, posture in product(SIZES, (" standing", " lying") if turns else ("",))
]
HELD_OUT = ("a small torus standing", "a large cone lying", "a cylinder standing", "a large cube")
"""Never trained on."""
STEPS, SHIFT, GUIDANCE = 16, 3.0, 2.0


def grid(voxels: int = VOXELS) -> Tensor:
    """Where the voxels are: (voxels, voxels, voxels, 3) of z (up), y, x from -1 to 1."""
    axis = (torch.arange(voxels) + 0.5) / voxels * 2 - 1
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)


def field(prompt: str, dice: torch.Generator, voxels: int = VOXELS) -> Tensor:
    """A shape that the sentence asks for, (1, D, H, W): 1 deep inside, -1 far outside.

    Its size, its proportions and the way it faces are random.
    """
    kind = next(kind for kind in KINDS if f" {kind}" in prompt)
    size = next(SIZES[word] for word in ("small ", "large ", "") if f"a {word}" in prompt)
    chance = torch.rand(3, generator=dice).tolist()
    reach = size * (0.95 + 0.1 * chance[0])
    turn = 2 * math.pi * chance[1]
    z, y, x = grid(voxels).unbind(-1)
    y, x = y * math.cos(turn) - x * math.sin(turn), y * math.sin(turn) + x * math.cos(turn)
    lies = "lying" in prompt
    if lies != (kind == "torus"):  # its axis is then level: a torus that stands rolls
        z, y = y, z
    distance = SOLIDS[kind](
        z, torch.hypot(y, x), torch.maximum(y.abs(), x.abs()), reach, chance[2]
    )
    return (-distance / BAND).clamp(-1, 1)[None]


def _ball(z: Tensor, r: Tensor, side: Tensor, reach: float, chance: float) -> Tensor:
    return torch.hypot(z, r) - reach


def _cube(z: Tensor, r: Tensor, side: Tensor, reach: float, chance: float) -> Tensor:
    return torch.maximum(z.abs(), side) - reach / math.sqrt(2)


def _torus(z: Tensor, r: Tensor, side: Tensor, reach: float, chance: float) -> Tensor:
    thick = reach * (0.22 + 0.08 * chance)
    return torch.hypot(z, r - (reach - thick)) - thick


def _cylinder(z: Tensor, r: Tensor, side: Tensor, reach: float, chance: float) -> Tensor:
    return torch.maximum(z.abs() - reach, r - reach * (0.35 + 0.1 * chance))


def _cone(z: Tensor, r: Tensor, side: Tensor, reach: float, chance: float) -> Tensor:
    slope = 0.55 + 0.1 * chance  # radius at the base as a share of the height, 2 reach
    side = (r - slope * (reach - z) / 2) / math.hypot(1, slope / 2)
    return torch.maximum(side, -z - reach)


SOLIDS = {"ball": _ball, "cube": _cube, "torus": _torus, "cylinder": _cylinder, "cone": _cone}
"""Signed distance, or nearly, by height z, distance r from the axis and half a square's side."""


def network(seed: int = 0, widths: Sequence[int] = (64, 96)) -> SpatioTemporalUNet:
    """The network of clips and heads, of another size: one channel, and text."""
    return volumes.network(
        seed,
        in_channels=1,
        block_out_channels=widths,
        patch_size=(4, 4, 4),
        text_channels=384,
        rope_periods=(2.0, 64.0),
    )


def trained(folder: Path, plan: Plan, encoder: TextEncoder, **shape: Any) -> SpatioTemporalUNet:
    """The network, taught on all prompts but the held-out; goes on where ``folder`` has it."""
    prompts = [prompt for prompt in PROMPTS if prompt not in HELD_OUT]
    states = read_once(encoder, prompts)

    def batch(size: int, dice: torch.Generator) -> tuple[Tensor, Conditioning]:
        rows = [prompts[i] for i in torch.randint(len(prompts), (size,), generator=dice)]
        tokens, mask = padded([states[prompt] for prompt in rows])
        shown = torch.stack([field(prompt, dice) for prompt in rows])
        return shown, Conditioning(tokens=tokens, token_mask=mask)

    return volumes.taught(network(**shape), batch, folder, plan)


@torch.inference_mode()
def drawn(
    net: SpatioTemporalUNet,
    prompts: Sequence[str],
    encoder: TextEncoder,
    seed: int,
    steps: int = STEPS,
) -> Tensor:
    """Fields of the prompts, (B, 1, D, H, W); each has noise of its own."""
    parts, states = [], read_once(encoder, prompts)
    for start in range(0, len(prompts), 8):
        some = prompts[start : start + 8]
        tokens, mask = padded([states[prompt] for prompt in some])
        cond = Conditioning(tokens=tokens, token_mask=mask)
        denoise = guided(denoiser(net, cond), denoiser(net, cond.null()), GUIDANCE)
        z = noise_batch((1, VOXELS, VOXELS, VOXELS), seed, range(start, start + len(some)))
        parts.append(flow_map(denoise, z, shifted(steps, shift=SHIFT)))
    return torch.cat(parts)


def likest(shown: Tensor, bank: Tensor) -> int:
    """Which prompt's true shapes are most like a field, by intersection over union.

    Args:
        shown: (1, D, H, W).
        bank: (prompts, some, 1, D, H, W) whether voxels are inside.
    """
    ours = (shown > 0)[None, None]
    both, either = (ours & bank).flatten(2).sum(2), (ours | bank).flatten(2).sum(2)
    return int((both / either.clamp_min(1)).amax(1).argmax())


def report(
    net: SpatioTemporalUNet, encoder: TextEncoder, each: int = 4, some: int = 24
) -> dict[str, Any]:
    """Shares of shapes that are most like those asked for, seen, held-out and true ones."""
    dice = generator(7)
    bank = torch.stack([torch.stack([field(p, dice) for _ in range(some)]) for p in PROMPTS]) > 0
    asked = [prompt for prompt in PROMPTS for _ in range(each)]
    shown = drawn(net, asked, encoder, seed=1)
    right = [likest(one, bank) == PROMPTS.index(p) for one, p in zip(shown, asked, strict=True)]
    true = [likest(field(p, dice), bank) == PROMPTS.index(p) for p in asked]
    new = [prompt in HELD_OUT for prompt in asked]
    closed = [bool((one > 0).any()) and mesh(one[0]).is_watertight for one in shown]
    return {
        "shapes of each prompt": each,
        "right, of prompts seen in training": _share(right, [not x for x in new]),
        "right, of prompts never seen": _share(right, new),
        "right, of true shapes": float(np.mean(true)),
        "watertight": float(np.mean(closed)),
    }


def _share(hits: Sequence[bool], among: Sequence[bool]) -> float:
    return float(np.mean([hit for hit, counts in zip(hits, among, strict=True) if counts]))


def main(words: Sequence[str] | None = None, say: Callable[[str], Any] = sys.stdout.write) -> None:
    """Train the network, or draw with it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    does = parser.add_subparsers(dest="does", required=True)
    train, draw = does.add_parser("train"), does.add_parser("draw")
    train.add_argument("model", type=Path, help="folder of the training")
    train.add_argument("--minutes", type=float, default=15, help="of training; 0 for no limit")
    train.add_argument("--steps", type=int, default=3000, help="of training, at most")
    draw.add_argument("model", type=Path, help="folder of the training")
    draw.add_argument("prompt", help=f"such as {PROMPTS[6]!r}")
    draw.add_argument("folder", type=Path, help="for the mesh; made if missing")
    draw.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(words)
    if asked.does == "train":
        encoder = TextEncoder()
        plan = volumes.plan(steps=asked.steps, minutes=asked.minutes)
        net = trained(asked.model / "training", plan, encoder)
        net.save_pretrained(asked.model / "network")
        found = report(net, encoder)
        with atomic_path(asked.model / "report.json", overwrite=True) as path:
            path.write_text(json.dumps(found, indent=2) + "\n")
        say(json.dumps(found, indent=2) + "\n")
        return
    _check(asked.model, asked.prompt, asked.folder)
    began = time.monotonic()
    net = SpatioTemporalUNet.from_pretrained(asked.model / "network").eval()
    shown = drawn(net, [asked.prompt], TextEncoder(), asked.seed)[0, 0]
    request = {"prompt": asked.prompt, "seed": asked.seed, "steps": STEPS, "guidance": GUIDANCE}
    made = write(shown, asked.folder, request=request, seconds=time.monotonic() - began)
    say(f"{asked.folder}: {len(made.faces)} faces, watertight: {made.is_watertight}\n")


def _check(model: Path, prompt: str, folder: Path) -> None:
    """Refuse what cannot be drawn, before any work."""
    if prompt not in PROMPTS:
        raise Refusal(
            f"{prompt!r}: this example knows {len(PROMPTS)} sentences, a [small|large] KIND of "
            f"{', '.join(KINDS)}, and standing or lying for the last three; write one of these, "
            f"such as {PROMPTS[6]!r}."
        )
    if not (model / "network").is_dir():
        raise Refusal(f"{model}: no trained network is there; give `train {model}` first.")
    if any((folder / f"shape.{ending}").exists() for ending in ("json", *FILES.values())):
        raise Refusal(f"{folder}: a shape is there, and none replaces another; name a new folder.")


if __name__ == "__main__":
    main()
