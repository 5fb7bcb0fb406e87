"""Our own model on a canvas: given pixels are kept, the others are painted around them.

Where the given frames show things of the procedural world, a layout says where they go on, and
each window of 16 frames is painted after its part of it. All windows are cut from one noise field
and agree after every step, so a clip of any length has no seam.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from core.conditioning import Conditioning
from core.families.walking import reachable
from core.networks.conditioned import ConditionedNetwork
from core.operations.editing import edited
from core.operations.linear_operators import MaskOperator, consistent
from core.operations.restoration import Measurement, restore
from core.operations.tiling import tiled
from core.operations.windows import Window, windows
from core.sampling.path import Denoise
from core.sampling.samplers import OnStep
from core.sampling.schedules import shifted
from core.seeds import noise
from core.tensors import Volumes
from video.engines.canvas import Canvas
from video.engines.kept_walk import KeptWalk
from video.engines.layouts import (
    CHANNELS,
    COS,
    KIND,
    MIDDLE,
    PAINT,
    PLACE_UNIT,
    PRESENT,
    SIN,
    SIZE,
    USUAL_RADIUS,
    X,
    Y,
    fits,
    sketch,
)
from video.engines.own import SHIFT, painting, walk_of
from video.engines.things import Rows
from video.request import VideoRequest
from video.world.scene_table import SLOTS
from video.world.scenes import NUM_FRAMES, SHAPES

OVERLAP = 8

Courses = Float[Tensor, "B K T 3 1"]
"""Layouts of clips of any length."""

Placed = tuple[str, tuple[float, float, float], Rows]
"""A thing: its shape, its color in 0 to 255, and its course (T, 4): x, y, radius and angle."""


def layout_of(things: list[Placed], count: int) -> Courses:
    """The layout (1, K, count, 3, 1) of things, as `video.engines.layouts` has it."""
    rows = torch.zeros(count, SLOTS, CHANNELS)
    rows[..., PRESENT] = -1.0
    for slot, (shape, paint, course) in enumerate(things[:SLOTS]):
        x, y, radius, angle = torch.from_numpy(np.ascontiguousarray(course)).float().unbind(-1)
        here = rows[:, slot]
        here[:, PRESENT] = 1.0
        here[:, X], here[:, Y] = (x - MIDDLE) / PLACE_UNIT, (y - MIDDLE) / PLACE_UNIT
        here[:, SIZE] = 2 * (radius / USUAL_RADIUS).clamp_min(1e-3).log()
        here[:, COS], here[:, SIN] = angle.cos(), angle.sin()
        here[:, PAINT] = torch.tensor(paint) / 127.5 - 1
        here[:, KIND] = -1.0
        here[:, KIND.start + SHAPES.index(shape)] = 1.0
    return rows.permute(2, 0, 1)[None, ..., None].contiguous()


def padded(canvas: Canvas) -> Canvas:
    """A canvas of at least as many frames as a layout has, to be cut off again."""
    missing = NUM_FRAMES - len(canvas.frames)
    if missing <= 0:
        return canvas
    last = canvas.frames[-1:].repeat(missing, axis=0)
    none = np.zeros((missing, *canvas.given.shape[1:]), bool)
    frames, given = np.concatenate([canvas.frames, last]), np.concatenate([canvas.given, none])
    return replace(canvas, frames=frames, given=given)


def to_levels(frames: np.ndarray) -> Volumes:
    """(D, H, W, 3) uint8 -> (1, 3, D, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)[None] / 127.5 - 1


@torch.inference_mode()
def paint(
    canvas: Canvas,
    request: VideoRequest,
    cond: Conditioning,
    network: ConditionedNetwork,
    record: dict[str, Any],
    *,
    layout: Courses | None,
    on_step: OnStep,
    kept: KeptWalk | None = None,
) -> Volumes:
    """The clip, (1, 3, D, H, W) in [-1, 1]; what is given comes back nearly as it is.

    Args:
        canvas: What is given; at least 16 frames where there is a layout.
        request: Settled.
        cond: What the prompt says, without a sketch.
        network: Of clips.
        record: What is known of it.
        layout: (1, K, D, 3, 1) where everything is; None where nobody knows.
        on_step: Told of each step.
        kept: Goes on where the walk was killed; None for a walk from the start.
    """
    device = next(network.parameters()).device
    clip = to_levels(canvas.frames).to(device)
    mask = torch.from_numpy(canvas.given).to(device)[None, None].float()  # (1, 1, D, H, W)
    known = Measurement(MaskOperator(mask), clip * mask)
    shown = None
    if getattr(network, "given", None) is not None:  # it has learned to paint around what it sees
        shown = torch.cat([known.values, mask], dim=1)  # (1, 4, D, H, W)
    told, steps = cond.to(device), request.steps
    denoise = windowed(clip.shape, told, network, record, layout, shown, steps=steps)
    levels = reachable(network, shifted(request.steps, shift=SHIFT))
    walk = walk_of(request, network)
    walk = kept.around(walk) if kept else walk
    if canvas.strength:
        start = noise(tuple(clip.shape[1:]), request.seed).to(device)
        obedient = consistent(denoise, known.operator, known.values)
        return edited(
            obedient, clip, start, levels=levels, walk=walk, strength=canvas.strength,
            on_step=on_step,
        )  # fmt: skip
    depth, height, width = clip.shape[2:]
    del clip  # what is given of it is in known
    found = restore(
        [denoise], known, (3, depth, height, width), seed=request.seed, levels=levels, walk=walk,
        on_step=on_step,
    )  # fmt: skip
    return found.mean[None]


def windowed(
    shape: torch.Size,
    cond: Conditioning,
    network: ConditionedNetwork,
    record: dict[str, Any],
    layout: Courses | None,
    shown: Float[Tensor, "1 4 D H W"] | None = None,
    *,
    steps: int,
) -> Denoise:
    """A denoiser of whole clips (1, 3, D, H, W) from one of windows of 16 frames.

    Args:
        shape: Of the clip.
        cond: What the prompt says, without a sketch.
        network: Of clips.
        record: What is known of it.
        layout: Where everything is; None where nobody knows.
        shown: What is given and its mask, for a network that is shown it.
        steps: Of the walk.
    """
    depth, height, width = shape[2:]
    overlap = min(OVERLAP, depth - 1) if depth > NUM_FRAMES else 0
    parts = windows((depth, height, width), (NUM_FRAMES, height, width), (overlap, 0, 0))
    asks: dict[int, Denoise] = {}
    for part in parts:
        frames = part.slices[0]
        told = cond if shown is None else replace(cond, concat=shown[:, :, frames])
        if layout is not None and fits((NUM_FRAMES, height, width)):
            laid = sketch(layout[:, :, frames].to(network.device))
            told = replace(told, sketch=laid)
        asks[frames.start] = painting(network, told, record, steps=steps)

    def each(z: Tensor, t: Tensor, r: Tensor, here: list[Window]) -> Tensor:
        return torch.cat([asks[w.slices[0].start](z[i : i + 1], t, r) for i, w in enumerate(here)])

    return tiled(each, parts, batch_size=1)
