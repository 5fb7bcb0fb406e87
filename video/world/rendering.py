"""Scenes to pixels: signed distances, antialiased, batched, on any device.

Every thing is drawn in a square patch around it, then added to its frame as
coverage x (color - background). Things never overlap, so each pixel gets at most one non-zero
term and the result does not depend on the order of the additions.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Final, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.tensors import sent
from video.world.scene_table import COLOR, SHAPE, SLOTS, SceneTable, tabulate, tracks
from video.world.scenes import BACKGROUNDS, COLORS, FRAME_SIZE, NUM_FRAMES, SHAPES, Scene

PATCH: Final = 32
"""Side in pixels of the patch a thing is drawn in; no thing reaches farther than 15 pixels."""
CHUNK: Final = 8
"""Things drawn at once on a CPU: few enough that the patches stay in the processor's cache."""
CHUNK_ELSEWHERE: Final = 2048
"""Things drawn at once on other devices, whose programs are short and whose memory is not."""

Distance: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


def _circle(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return torch.hypot(x, y) - radius


def _ring(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return (torch.hypot(x, y) - 0.83 * radius).abs() - 0.27 * radius


def _square(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.855 * radius


def _triangle(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    sides = 0.5 * (math.sqrt(3.0) * x.abs() - y)
    return torch.maximum(sides, y) - 0.625 * radius


def _cross(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    x, y = x.abs(), y.abs()
    return torch.maximum(
        torch.maximum(x, y) - 1.1 * radius,
        torch.minimum(x, y) - 0.38 * radius,
    )


def _star(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """Five points of 1.3 radii with notches of 0.56, folded into one half point."""
    x, y = x.abs(), -y
    nx, ny = math.cos(math.pi / 5), -math.sin(math.pi / 5)
    for _ in range(2):  # reflect across the line through the first notch, twice round
        beyond = 2 * (nx * x + ny * y).clamp_min(0)
        x, y = (x - nx * beyond).abs(), y - ny * beyond
    notch = 0.56 * math.sin(math.pi / 5), 0.56 * math.cos(math.pi / 5)
    edge = notch[0], notch[1] - 1.3
    length = math.hypot(*edge)
    return (-edge[1] * x + edge[0] * (y - 1.3 * radius)) / length


DISTANCES: Final[dict[str, Distance]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
}


def coverage(shape: str, x: Tensor, y: Tensor, radius: Tensor, angle: Tensor) -> Tensor:
    """Share of each pixel a shape covers, in [0, 1].

    Args:
        shape: a word of `video.world.scenes.SHAPES`.
        x, y: pixel centers relative to the thing's center, in pixels.
        radius, angle: its radius in pixels and its turn in radians; broadcast against x and y.
    """
    return (0.5 - distances(shape, x, y, radius, angle)).clamp(0, 1)


def distances(shape: str, x: Tensor, y: Tensor, radius: Tensor, angle: Tensor) -> Tensor:
    """How far each pixel is from a shape's edge, in pixels, below 0 inside; see ``coverage``."""
    return DISTANCES[shape](*_turned(x, y, angle), radius)


def _turned(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """The points as the thing sees them."""
    cos, sin = angle.cos(), angle.sin()
    return cos * x + sin * y, cos * y - sin * x


def render(scenes: Sequence[Scene], *, device: str | torch.device = "cpu") -> Tensor:
    """Clips of the scenes: float32 (B, 3, 16, 64, 64) in [-1, 1]."""
    table = tabulate(scenes)
    return render_table(table.to(device), table.words[..., SHAPE])


def render_table(table: SceneTable, shapes: Int[Tensor, "B 3"]) -> Float[Tensor, "B 3 16 64 64"]:
    """Clips of a table's scenes, on its device, which the program does not wait for.

    Args:
        table: The scenes.
        shapes: The shapes of its slots on the CPU, by which the work is laid out.
    """
    paints, grounds = palette(table.numbers.device)
    looks = paints[table.words[..., COLOR].long()], grounds[table.ground.long()]
    return render_things(tracks(table), *looks, shapes)


def render_things(
    courses: Float[Tensor, "B 3 16 4"],
    paints: Float[Tensor, "B 3 3"],
    grounds: Float[Tensor, "B 3"],
    shapes: Int[Tensor, "B 3"],
) -> Float[Tensor, "B 3 16 64 64"]:
    """Clips of things on plain grounds, on their device, which the program does not wait for.

    Args:
        courses: x, y, radius and angle of each in each frame.
        paints: Their colors in [-1, 1].
        grounds: Those of the grounds.
        shapes: Places in `SHAPES`, -1 for no thing, on the CPU, by which the work is laid out.
    """
    device = courses.device
    clips = grounds[:, :, None].repeat(1, 1, NUM_FRAMES * FRAME_SIZE * FRAME_SIZE)
    order = torch.argsort(shapes.flatten(), stable=True)
    bounds = torch.searchsorted(
        shapes.flatten()[order].contiguous(), torch.arange(len(SHAPES) + 1, dtype=shapes.dtype)
    ).tolist()
    slots = sent(order, device)
    rows = courses.flatten(0, 1)[slots].float()
    owners = slots // SLOTS
    paint = paints.flatten(0, 1)[slots] - grounds[owners]
    for edges in _pieces(bounds, one_shape=device.type == "cpu"):
        these = slice(edges[0], edges[-1])
        within = [edge - edges[0] for edge in edges]
        _add(clips, rows[these], owners[these], paint[these], within)
    return clips.view(len(grounds), 3, NUM_FRAMES, FRAME_SIZE, FRAME_SIZE)


def _pieces(bounds: list[int], *, one_shape: bool) -> Iterator[list[int]]:
    """Where each shape begins among the things that are drawn at once, and where the last ends."""
    if not one_shape:
        starts = range(bounds[0], bounds[-1], CHUNK_ELSEWHERE)
        for start in starts:
            end = min(start + CHUNK_ELSEWHERE, bounds[-1])
            yield [min(max(bound, start), end) for bound in bounds]
        return
    for shape, (first, last) in enumerate(pairwise(bounds)):
        for start in range(first, last, CHUNK):
            end = min(start + CHUNK, last)
            yield [start] * (shape + 1) + [end] * (len(SHAPES) - shape)


@cache
def palette(device: torch.device) -> tuple[Tensor, Tensor]:
    """The colors of things and of grounds, (8, 3) and (4, 3) in [-1, 1]."""
    tables = torch.tensor([*COLORS.values()]), torch.tensor([*BACKGROUNDS.values()])
    paints, grounds = ((table.float() / 127.5 - 1).to(device) for table in tables)
    return paints, grounds


def _add(clips: Tensor, rows: Tensor, owners: Tensor, paint: Tensor, edges: list[int]) -> None:
    """Draw some things into the clips, in place.

    Args:
        clips: (B, 3, voxels).
        rows: (N, 16, 4) x, y, radius, angle.
        owners: (N,) which clip each thing is in.
        paint: (N, 3) its color less that of the ground.
        edges: Where each shape begins among the N, and where the last ends.
    """
    device = clips.device
    x, y, radius, angle = rows[..., None, None].unbind(2)
    corner_x = (x.round() - PATCH // 2).clamp(0, FRAME_SIZE - PATCH)
    corner_y = (y.round() - PATCH // 2).clamp(0, FRAME_SIZE - PATCH)
    grid = torch.arange(PATCH, device=device)
    across, along = grid[None, :], grid[:, None]
    turned = _turned(across + (corner_x + 0.5 - x), along + (corner_y + 0.5 - y), angle)
    distances = [
        DISTANCES[shape](turned[0][first:last], turned[1][first:last], radius[first:last])
        for shape, (first, last) in zip(SHAPES, pairwise(edges), strict=True)
        if first < last
    ]
    distance = distances[0] if len(distances) == 1 else torch.cat(distances)
    share = (0.5 - distance).clamp(0, 1)
    frame = torch.arange(NUM_FRAMES, device=device)[None, :, None, None]
    where = (frame * FRAME_SIZE + corner_y.long() + along) * FRAME_SIZE + corner_x.long() + across
    flat = owners[:, None] * clips[0].numel() + where.flatten(1)
    for channel in range(3):
        add = share.flatten(1) * paint[:, channel, None]
        spot = flat + channel * clips[0, 0].numel()
        clips.view(-1).index_add_(0, spot.flatten(), add.flatten())
