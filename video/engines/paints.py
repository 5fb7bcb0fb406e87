"""Things in a clip that goes on: what is drawn is held to their given color and sharpness.

A network paints small things paler and softer than they were, from the first frame that it draws.
Where things of one color move before a plain background, each drawn pixel of one is that
background and so much of the color that the given frames show; how much is as drawn, with edges
as steep as they are when the thing covers what its course says. Things
of more colors stay as drawn.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from video.engines.canvas import Canvas
from video.engines.grounds import plain_ground
from video.engines.own_canvas import Placed
from video.world.rendering import distances

Values = NDArray[np.float64]
LEAST = 6  # pixels of its inside by which a thing's color is known
FARTHEST = 60.0  # RGB distance within which what is drawn is meant for it
AROUND = 2.0  # pixels around a thing that are still of it
INSIDE = 0.5  # pixels from its edge at which a thing covers a pixel whole
DEEP = 1.5  # pixels from its edge at which encoding brings little of the background's color in
PLAIN = 20.0  # RGB distance from its color of a plain thing's deep pixels; encoded ones have 11
MOST = 90  # percent of them that are
OTHERWISE = 0.7, 1.4  # shares of its area between which what is drawn is the thing
STEEPER = 1.0, 1.25, 1.5, 2.0, 3.0
HALVINGS = 12


def held_things(
    frames: NDArray[np.uint8], canvas: Canvas, things: Sequence[Placed]
) -> NDArray[np.uint8]:
    """Frames whose things look as in the given ones.

    Args:
        frames: (T, H, W, 3) as drawn, the background held to that of the given ones.
        canvas: What is given, of as many frames or of more.
        things: Where each is; such as are nowhere seen in what is given, or are of more than one
            color there, stay as they are.
    """
    ground = plain_ground(canvas)
    if ground is None:
        return frames
    held, count = frames.astype(np.float64), len(frames)
    away = [_away(frames.shape, shape, course[:count]) for shape, _, course in things]
    for number, own in enumerate(away):
        others = [other for place, other in enumerate(away) if place != number]
        other = np.min([np.full_like(own, np.inf), *others], axis=0)
        inside, mine = own <= -INSIDE, own < other
        wanted = _known(canvas, np.where(other > AROUND, own, np.inf))
        if wanted is None:
            continue
        for frame in np.flatnonzero(~canvas.given[:count].all((1, 2))):
            its_inside = inside[frame] & mine[frame]
            if its_inside.sum() >= LEAST:
                drawn = np.median(held[frame][its_inside], axis=0)
                of_it = mine[frame] & (own[frame] < AROUND)
                covered = np.clip(0.5 - own[frame][of_it], 0, 1)
                share = _share(held[frame][of_it], ground, drawn, wanted, covered)
                if share is not None:
                    held[frame][of_it] = ground + share[:, None] * (wanted - ground)
    return np.rint(np.clip(held, 0, 255)).astype(np.uint8)


def _away(size: Sequence[int], shape: str, course: Values) -> Values:
    """How far each pixel is from a thing's edge, below 0 inside: (T, H, W)."""
    _, height, width, _ = size
    rows = torch.from_numpy(course)[:, :, None, None]
    x = torch.arange(width)[None, None] + 0.5 - rows[:, 0]
    y = torch.arange(height)[None, :, None] + 0.5 - rows[:, 1]
    return distances(shape, x, y, rows[:, 2], rows[:, 3]).numpy()


def _known(canvas: Canvas, away: Values) -> Values | None:
    """The color of a thing in what is given; None where it is not seen or has more than one.

    Args:
        canvas: What is given.
        away: (T, H, W) from the thing's edge, below 0 inside; infinite near other things.
    """
    colors, spreads = list[Values](), list[float]()
    for frame in np.flatnonzero(canvas.given[: len(away)].any((1, 2))):
        seen = away[frame][canvas.given[frame]]
        inside = seen <= -INSIDE
        if inside.sum() < LEAST:
            continue
        pixels = canvas.frames[frame][canvas.given[frame]][inside].astype(np.float64)
        colors.append(np.median(pixels, axis=0))
        deep = pixels[seen[inside] <= max(-DEEP, np.sort(seen)[LEAST - 1])]
        spreads.append(float(np.percentile(np.linalg.norm(deep - colors[-1], axis=-1), MOST)))
    return np.median(colors, axis=0) if colors and np.median(spreads) <= PLAIN else None


def _share(
    pixels: Values, ground: Values, drawn: Values, wanted: Values, covered: Values
) -> Values | None:
    """How much of a thing is in each pixel; None where what is drawn there is not the thing."""
    way = drawn - ground
    if np.linalg.norm(wanted - drawn) > FARTHEST or not way.any():
        return None
    share = np.clip((pixels - ground) @ way / (way @ way), 0, 1)
    low, high = OTHERWISE
    if not low * covered.sum() < share.sum() < high * covered.sum():
        return None
    found = share
    for steeper in STEEPER:
        found = _steep(share, steeper, covered.sum())
        if (found**2).sum() >= (covered**2).sum():
            break
    return found


def _steep(share: Values, steeper: float, area: float) -> Values:
    """Shares with edges so many times as steep, where they cover the area."""
    low, high = 0.0, 1.0
    found = share
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = np.clip((share - middle) * steeper + 0.5, 0, 1)
        low, high = (middle, high) if found.sum() > area else (low, middle)
    return found
