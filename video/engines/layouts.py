"""Layouts: where each thing of a clip is in every frame, how large, how turned, and how it looks.

A small network draws the layout of a prompt first (`core.networks.unet`, ``layout_network``); the
large one is shown it as channels beside its noise (`sketch`) and paints the clip. What a clip is
to show is thus decided in a few numbers before a pixel is. A layout is the tensor (B, K, 16, 3,
1): its channels along C, frames along D, slots along H. Layout first, pixels after: Lian et al.
2024.
"""

from functools import cache
from itertools import combinations
from typing import Final, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.conditioning import Conditioning
from core.families.table import denoiser
from core.networks.conditioned import ConditionedNetwork
from core.sampling.guidance import guided, guided_at_once, with_and_without
from core.sampling.samplers import dpmpp_2m
from core.sampling.schedules import shifted
from core.tensors import align
from video.world.rendering import palette, render_things
from video.world.scene_table import COLOR, SHAPE, SceneTable, tracks
from video.world.scenes import FRAME_SIZE, NUM_FRAMES, SHAPES, SYMMETRY

PRESENT, X, Y, SIZE, COS, SIN = range(6)
PAINT, KIND = slice(6, 9), slice(9, 9 + len(SHAPES))
CHANNELS: Final = 9 + len(SHAPES)
MIDDLE: Final = FRAME_SIZE / 2
PLACE_UNIT: Final = 16.0
"""Pixels of a 64 x 64 frame that one unit of a place stands for."""
USUAL_RADIUS: Final = 7.5
"""Radius in pixels whose size is 0; sizes are logarithms, doubled."""
REACH: Final = 1.35
"""Radius of the disc that stands for a thing in a sketch, in radii of the thing."""
GRAIN: Final = 4
"""Pixels along H and along W that one pixel of a sketch stands for."""
SKETCH_CHANNELS: Final = 1 + 3 + len(SHAPES) + 2 * len(SYMMETRY) + 1 + 2 + 1
STEPS: Final = 16
"""Steps in which a layout is drawn; with fewer, orbits are less round."""
APART: Final = 5.0
"""Least number of pixels between two things of a drawn layout; nearer ones, of which the world
has some, are at times painted as one."""
TRIES: Final = 8
"""How often a layout is drawn at most."""

Layouts = Float[Tensor, "B K 16 3 1"]


def layouts(table: SceneTable) -> Layouts:
    """The layouts of a table's scenes, on its device."""
    x, y, radius, angle = tracks(table).float().unbind(-1)  # (B, 3, 16) each
    present = table.words[..., SHAPE] >= 0
    paints, _ = palette(table.numbers.device)
    paint = paints[table.words[..., COLOR].long()]  # (B, 3, 3)
    kinds = _one_hot(table.words[..., SHAPE].clamp_min(0).long())
    moving = [
        (x - MIDDLE) / PLACE_UNIT,
        (y - MIDDLE) / PLACE_UNIT,
        2 * (radius / USUAL_RADIUS).clamp_min(1e-3).log(),
        angle.cos(),
        angle.sin(),
    ]
    lasting = torch.cat([paint, 2 * kinds - 1], dim=-1)
    lasting = lasting[..., None].expand(-1, -1, -1, NUM_FRAMES)  # (B, 3, C', 16)
    rows = torch.cat([torch.stack(moving, dim=2), lasting], dim=2)
    rows = rows * present[..., None, None]
    sign = (2.0 * present - 1)[..., None, None].expand(-1, -1, 1, NUM_FRAMES)
    return torch.cat([sign, rows], dim=2).permute(0, 2, 3, 1)[..., None].contiguous()


def _one_hot(shapes: Int[Tensor, "B 3"]) -> Float[Tensor, "B 3 6"]:
    return torch.eye(len(SHAPES), device=shapes.device)[shapes]


class Things(NamedTuple):
    """What layouts hold, in the units of the world.

    Attributes:
        present: (B, 3) whether there is a thing in the slot.
        course: (B, 3, 16, 4) x, y, radius in pixels, and angle.
        paint: (B, 3, 3) color in [-1, 1].
        shape: (B, 3) place in `SHAPES`.
    """

    present: Tensor
    course: Tensor
    paint: Tensor
    shape: Tensor


def read_layouts(layout: Layouts) -> Things:
    """What is to be seen; looks are taken as those of the mean over frames."""
    rows = layout[..., 0].permute(0, 3, 1, 2)  # (B, 3, C, 16)
    x, y = (rows[:, :, channel] * PLACE_UNIT + MIDDLE for channel in (X, Y))
    radius = USUAL_RADIUS * (rows[:, :, SIZE] / 2).exp()
    angle = torch.atan2(rows[:, :, SIN], rows[:, :, COS])
    return Things(
        present=rows[:, :, PRESENT].mean(-1) > 0,
        course=torch.stack([x, y, radius, angle], dim=-1),
        paint=rows[:, :, PAINT].mean(-1).clamp(-1, 1),
        shape=rows[:, :, KIND].mean(-1).argmax(-1),
    )


@cache
def _turning(device: torch.device) -> tuple[Int[Tensor, "4"], Float[Tensor, "4"]]:
    """Places in `SHAPES` of those whose turn can be seen, and the orders of their symmetry."""
    shapes = [SHAPES.index(shape) for shape in SYMMETRY]
    orders = [float(order) for order in SYMMETRY.values()]
    return torch.tensor(shapes, device=device), torch.tensor(orders, device=device)


def sketch(layout: Layouts) -> Float[Tensor, "B S 16 16 16"]:
    """What the painting network is shown: discs that say what is to be there.

    Channels: 1 inside of a thing's disc; its color; its shape, 1 of six; of the four shapes whose
    turn can be seen, cosine and sine of so many times the turn as the shape looks alike in one
    (then a turned shape is, but for its finest detail, a linear function of these); its size; the
    place inside of it, in its radii; and, last, 1 everywhere, for a layout is given.
    """
    things = read_layouts(layout)
    x, y, size, angle = things.course.unbind(-1)  # (B, 3, 16) each
    kind = _one_hot(things.shape)
    waves, orders = _turning(layout.device)
    turn = angle[..., None] * orders  # (B, 3, 16, 4)
    shown = kind[:, :, None].index_select(-1, waves)
    steady = torch.cat([torch.ones_like(kind[..., :1]), things.paint, kind], dim=-1)
    looks = [
        steady[:, :, None].expand(-1, -1, NUM_FRAMES, -1),
        shown * turn.cos(),
        shown * turn.sin(),
        2 * (size / USUAL_RADIUS).log()[..., None],
    ]
    x, y, size = (values[..., None, None] for values in (x, y, size))
    grid = torch.arange(0, FRAME_SIZE, GRAIN, device=layout.device) + GRAIN / 2
    dx, dy = (grid - x) / size, (grid[:, None] - y) / size
    inside = ((REACH - torch.hypot(dx, dy)) * size / GRAIN + 0.5).clamp(0, 1)
    inside = inside * things.present[..., None, None, None]  # (B, 3, 16, 16, 16)
    seen = torch.einsum("bsdk,bsdhw->bkdhw", torch.cat(looks, dim=-1), inside)
    within = [(inside * dx).sum(1), (inside * dy).sum(1), torch.ones_like(inside[:, 0])]
    return torch.cat([seen, torch.stack(within, dim=1)], dim=1)


def illustrate(layout: Layouts) -> Float[Tensor, "B 3 16 64 64"]:
    """Clips in [-1, 1] of what the layouts say, drawn by the world's own renderer on black."""
    things = read_layouts(layout)
    shapes = things.shape.masked_fill(~things.present, -1)
    black = layout.new_full((len(layout), 3), -1.0)
    return render_things(things.course, things.paint, black, shapes.cpu()).clamp(-1, 1)


def fits(shape: tuple[int, ...]) -> bool:
    """Whether layouts are drawn for clips (..., D, H, W) of this size."""
    return tuple(shape[-3:]) == (NUM_FRAMES, FRAME_SIZE, FRAME_SIZE)


def apart(layout: Layouts) -> Float[Tensor, "B"]:
    """Pixels between the outlines of the two things that come nearest, in any frame.

    Negative where they lap; infinite where there are fewer than two.
    """
    things = read_layouts(layout)
    place, radius = things.course[..., :2], things.course[..., 2]
    gaps = [layout.new_full((len(layout),), torch.inf)]
    for one, other in combinations(range(radius.shape[1]), 2):
        far = torch.linalg.vector_norm(place[:, one] - place[:, other], dim=-1)
        gap = (far - radius[:, one] - radius[:, other]).amin(-1)
        both = things.present[:, one] & things.present[:, other]
        gaps.append(gap.masked_fill(~both, torch.inf))
    return torch.stack(gaps).amin(0)


def draw_layouts(
    network: ConditionedNetwork,
    cond: Conditioning,
    starts: Float[Tensor, "B N K 16 3 1"],
    *,
    away: Conditioning | None = None,
) -> Layouts:
    """Layouts of the prompts; one whose things come nearer than `APART` is drawn again.

    The world keeps its things apart in every scene, which a network learns as a tendency alone.

    Args:
        network: The layout network.
        cond: Its prompts, a reference if any, and the guidance by which both are followed;
            without any, 1.
        starts: Noise for so many tries; the last one stands, however it came out.
        away: Prompts that are led away from; None for no prompt at all.
    """
    told = Conditioning(tokens=cond.tokens, token_mask=cond.token_mask, reference=cond.reference)
    scale = 1.0 if cond.guidance is None else cond.guidance.expand(len(starts))
    if away is None:
        denoise = guided_at_once(denoiser(network, with_and_without(told)), scale)
    else:
        other = Conditioning(tokens=away.tokens, token_mask=away.token_mask)
        denoise = guided(denoiser(network, told), denoiser(network, other), scale)
    first, *more = starts.unbind(1)
    found = dpmpp_2m(denoise, first, shifted(STEPS, shift=1.0))
    for start in more:
        near = apart(found) < APART
        if not near.any():
            break
        again = dpmpp_2m(denoise, start, shifted(STEPS, shift=1.0))
        found = torch.where(align(near, found), again, found)
    return found
