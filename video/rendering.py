"""Scenes to pixels: signed distances, antialiased, batched, on any device.

Every thing is drawn in a square patch around it, then added to its frame as
coverage x (color - background). Things never overlap, so each pixel gets at most one non-zero
term and the result does not depend on the order of the additions.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from video.scenes import BACKGROUNDS, COLORS, FRAME_SIZE, NUM_FRAMES, SHAPES, Scene, path

PATCH: Final = 32
"""Side in pixels of the patch a thing is drawn in; no thing reaches farther than 15 pixels."""
CHUNK: Final = 8
"""Things drawn at once: few enough that the patches stay in the processor's cache."""

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
        shape: a word of `video.scenes.SHAPES`.
        x, y: pixel centers relative to the thing's center, in pixels.
        radius, angle: its radius in pixels and its turn in radians; broadcast against x and y.
    """
    cos, sin = angle.cos(), angle.sin()
    turned_x, turned_y = cos * x + sin * y, cos * y - sin * x
    return (0.5 - DISTANCES[shape](turned_x, turned_y, radius)).clamp(0, 1)


def render(scenes: Sequence[Scene], *, device: str | torch.device = "cpu") -> Tensor:
    """Clips of the scenes: float32 (B, 3, 16, 64, 64) in [-1, 1]."""
    grounds = torch.tensor([BACKGROUNDS[scene.background] for scene in scenes], device=device)
    grounds = grounds.float() / 127.5 - 1
    clips = grounds[:, :, None].repeat(1, 1, NUM_FRAMES * FRAME_SIZE * FRAME_SIZE)
    for shape in SHAPES:
        rows, owners, colors = _members(scenes, shape)
        for start in range(0, len(owners), CHUNK):
            piece = slice(start, start + CHUNK)
            _add(clips, grounds, shape, rows[piece], owners[piece], colors[piece])
    return clips.view(len(scenes), 3, NUM_FRAMES, FRAME_SIZE, FRAME_SIZE)


def _members(
    scenes: Sequence[Scene], shape: str
) -> tuple[np.ndarray, list[int], list[tuple[int, int, int]]]:
    """Every thing of one shape: (N, 16, 4) of x, y, radius, angle; its scene; its color."""
    rows, owners, colors = [], [], []
    for number, scene in enumerate(scenes):
        for thing in scene.objects:
            if thing.shape != shape:
                continue
            moves = path(thing)
            moves[:, 2] *= thing.radius
            for center in thing.centers:
                rows.append(moves + np.array([*center, 0.0, 0.0]))
                owners.append(number)
                colors.append(COLORS[thing.color])
    return np.array(rows, dtype=np.float32), owners, colors


def _add(
    clips: Tensor,
    grounds: Tensor,
    shape: str,
    rows: np.ndarray,
    owners: list[int],
    colors: list[tuple[int, int, int]],
) -> None:
    """Draw some things of one shape into the clips, in place."""
    device = clips.device
    x, y, radius, angle = torch.from_numpy(rows).to(device)[..., None, None].unbind(2)
    owner = torch.tensor(owners, device=device)
    corner_x = (x.round() - PATCH // 2).clamp(0, FRAME_SIZE - PATCH)
    corner_y = (y.round() - PATCH // 2).clamp(0, FRAME_SIZE - PATCH)
    grid = torch.arange(PATCH, device=device)
    across, along = grid[None, :], grid[:, None]
    share = coverage(
        shape, across + (corner_x + 0.5 - x), along + (corner_y + 0.5 - y), radius, angle
    )
    frame = torch.arange(NUM_FRAMES, device=device)[None, :, None, None]
    where = (frame * FRAME_SIZE + corner_y.long() + along) * FRAME_SIZE + corner_x.long() + across
    paint = torch.tensor(colors, device=device).float() / 127.5 - 1 - grounds[owner]
    flat = owner[:, None] * clips[0, 0].numel() * 3 + where.flatten(1)
    for channel in range(3):
        add = share.flatten(1) * paint[:, channel, None]
        spot = flat + channel * clips[0, 0].numel()
        clips.view(-1).index_add_(0, spot.flatten(), add.flatten())
