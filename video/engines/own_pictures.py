"""How our own model draws a clip of which some frames are pictures: what they show stays there.

The layout network draws how things move as the prompt says, held in every step to the places,
sizes and looks that the pictures show; the painting network then paints around the pictures.
"""

from collections.abc import Mapping
from itertools import permutations
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.families.table import denoiser
from core.networks.conditioned import ConditionedNetwork
from core.operations.operation import Model, OnStep
from core.sampling.guidance import guided_at_once, with_and_without
from core.sampling.samplers import dpmpp_2m
from core.sampling.schedules import shifted
from core.seeds import noise
from video.engines.canvas import Canvas
from video.engines.grounds import held_ground
from video.engines.kept_walk import KeptWalk
from video.engines.laid_boxes import boxed_layout
from video.engines.layouts import (
    APART,
    CHANNELS,
    COS,
    KIND,
    PAINT,
    PRESENT,
    SIN,
    SIZE,
    STEPS,
    Layouts,
    X,
    Y,
    apart,
    fits,
    read_layouts,
)
from video.engines.own import embed, frame_rate, to_frames
from video.engines.own_canvas import layout_of, padded, paint
from video.engines.own_changes import placed, worded
from video.engines.pictures import Given, frame_of
from video.engines.text import TextEncoder
from video.engines.things import Thing, things_of
from video.files.clip import Clip
from video.request import VideoRequest
from video.world.scene_table import SLOTS
from video.world.scenes import COLORS, FRAME_SIZE, NUM_FRAMES, SHAPES, SYMMETRY

OTHER_SHAPE, OTHER_COLOR = 1.0, 1.0  # what it costs to take a thing for one of other looks
DRAWN = 64  # layouts of which the nearest is taken
NEARBY = 0.05  # how much a move of the whole course counts beside one of a part of it
FARTHEST = 1.8  # units from the middle at which a thing touches the edge
SAME = 1.5  # costs below which a thing of a picture is one that the prompt names


def canvas_of(pictures: Mapping[str, Given], request: VideoRequest) -> Canvas:
    """A canvas on which pictures are given whole.

    Args:
        pictures: By field, at the clip's size.
        request: Settled.
    """
    shape = request.num_frames, request.height, request.width
    frames, given = np.zeros((*shape, 3), np.uint8), np.zeros(shape, bool)
    for field, picture in pictures.items():
        place = frame_of(field)
        frames[place], given[place] = picture.pixels, True
    return Canvas(frames, given)


def begun_from(
    request: VideoRequest,
    pictures: Mapping[str, Given],
    model: Model,
    encoder: TextEncoder,
    on_step: OnStep,
    kept: KeptWalk | None = None,
    *,
    layout: Layouts | None = None,
) -> Clip:
    """The clip; its given frames are nearly what they should be, and are put back by who asked.

    Args:
        request: Settled.
        pictures: By field, at the clip's size; one frame or more is not given.
        model: Loaded.
        encoder: Reads prompts.
        on_step: Told of each step.
        kept: Goes on where the walk was killed; None for a walk from the start.
        layout: In the place of that of the request's boxes.
    """
    canvas = canvas_of(pictures, request)
    whole = padded(canvas)
    square = request.height == request.width == FRAME_SIZE
    things = things_of(whole) if square else []
    told = request.model_copy(update={"prompt": worded(request.prompt, things, whole)})
    cond = embed(told, encoder)
    facts = dict[str, Any]()
    if request.boxes:
        layout = boxed_layout(request) if layout is None else layout
    elif square:
        layout = _laid_out(request, things, whole, cond, model.network)
        facts["layout"] = f"{len(things)} things of the pictures, moving as the prompt says"
    x = paint(
        whole, told, cond, model.network, model.record, layout=layout, on_step=on_step, kept=kept
    )  # fmt: skip
    frames = held_ground(to_frames(x).numpy()[: request.num_frames], canvas)
    return Clip(frames, frame_rate(request), facts)


def _laid_out(
    request: VideoRequest,
    things: list[Thing],
    canvas: Canvas,
    cond: Conditioning,
    network: ConditionedNetwork,
) -> Tensor:
    """Where everything is: as the layout network draws it, or as things go on by themselves."""
    size = canvas.given.shape
    if network.layouts is None or not fits(size):
        return layout_of(placed(things, request.prompt, canvas), len(canvas.frames))
    shape = DRAWN, CHANNELS, NUM_FRAMES, SLOTS, 1
    starts = noise((3, *size), request.seed).flatten()[: prod(shape)].unflatten(0, shape)
    device = network.device
    return pinned_layout(network.layouts, cond.to(device), starts.to(device), things)


@torch.inference_mode()
def pinned_layout(
    network: ConditionedNetwork, cond: Conditioning, starts: Tensor, things: list[Thing]
) -> Layouts:
    """A layout of the prompt in which things are where pictures show them.

    Of many that are drawn, the one whose things come nearest is moved there: evenly between two
    pictures, and as a whole before the first and after the last, so that motions stay what they
    are.

    Args:
        network: The layout network.
        cond: Of one prompt.
        starts: (N, K, 16, 3, 1) noise of so many.
        things: With the frames in which each is seen.
    """
    told = Conditioning(tokens=cond.tokens, token_mask=cond.token_mask).repeat(len(starts))
    scale = 1.0 if cond.guidance is None else cond.guidance.expand(len(starts))
    denoise = guided_at_once(denoiser(network, with_and_without(told)), scale)
    drawn = dpmpp_2m(denoise, starts, shifted(STEPS, shift=1.0))
    best, least = drawn[:1], float("inf")
    for free in drawn.split(1):
        moved, cost = _moved(free, things)
        if cost < least:
            best, least = moved, cost
    return best


def _moved(free: Layouts, things: list[Thing]) -> tuple[Layouts, float]:
    """A layout with its things where they are seen, and how little that agrees with it."""
    moved, cost, count = free.clone(), 0.0, free.shape[2]
    for thing, seat in zip(things, seats_of(things, free), strict=True):
        if seat < 0:
            continue
        course = thing.course(count)
        seen = layout_of([(thing.shape, thing.paint, course)], count).to(free.device)
        rows, own = seen[0, :, :, 0, 0], moved[0, :, :, seat, 0]  # (K, 16) each
        places = [X, Y, SIZE]
        shift = (rows - own)[places][:, thing.places].cpu().numpy()  # (3, pictures)
        frames = np.arange(count)
        even = np.stack([np.interp(frames, thing.places, row) for row in shift])
        own[places] += torch.from_numpy(even).to(own)
        looks = [PRESENT, *range(CHANNELS)[PAINT], *range(CHANNELS)[KIND]]
        own[looks] = rows[looks]
        cost += float(np.square(shift - shift.mean(1, keepdims=True)).sum())
        cost += NEARBY * float(np.square(shift).mean(1).sum())
        cost += float((own[[X, Y]].abs() - FARTHEST).clamp_min(0).square().mean())
        if thing.shape in SYMMETRY:
            _turn(own, rows, thing)
    near = float((APART - apart(moved)).clamp_min(0).amax())
    return moved, cost + near


def _turn(own: Tensor, rows: Tensor, thing: Thing) -> None:
    """Turn a thing's course (K, 16), in place, by the least that brings it to what is seen."""
    part = 2 * np.pi / SYMMETRY[thing.shape]
    angle = torch.atan2(own[SIN], own[COS])
    off = (torch.atan2(rows[SIN], rows[COS]) - angle)[thing.places].cpu().numpy()
    off = (off + part / 2) % part - part / 2
    frames = np.arange(own.shape[1])
    angle = angle + torch.from_numpy(np.interp(frames, thing.places, off)).to(own)
    own[COS], own[SIN] = angle.cos(), angle.sin()


def seats_of(things: list[Thing], free: Layouts) -> list[int]:
    """The slot of a layout that each thing takes: that of its looks, or an empty one; -1 for none.

    Args:
        things: What pictures show.
        free: A layout of the prompt.
    """
    seen = read_layouts(free)
    present = seen.present[0].tolist()
    costs = np.zeros((len(things), SLOTS))
    for row, thing in zip(costs, things, strict=True):
        for slot in range(SLOTS):
            shape = SHAPES[int(seen.shape[0, slot])]
            paint = (seen.paint[0, slot].cpu().numpy() + 1) * 127.5
            nearest = min(COLORS, key=lambda name: np.linalg.norm(paint - COLORS[name]))
            unlike = OTHER_SHAPE * (shape != thing.shape) + OTHER_COLOR * (nearest != thing.color)
            row[slot] = unlike if present[slot] else SAME
    count = min(len(things), SLOTS)
    orders = permutations(range(SLOTS), count)
    best = min(orders, key=lambda order: sum(costs[i, s] for i, s in enumerate(order)))
    return [*best, *[-1] * (len(things) - count)]
