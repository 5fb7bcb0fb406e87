"""A clip that is laid out by the boxes that a person drew, in the place of the layout network.

A thing of the prompt stands in each box, as large as fits by area, and keeps the proportions of
its shape. Layout first, pixels after: Lian et al. 2024.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from core.refusal import Refusal
from video.engines.boxes import Boxes, read_boxes
from video.engines.served_prompts import knows_only_scenes
from video.request import VideoRequest
from video.world.prompts import ThingClaim
from video.world.scene_table import SLOTS
from video.world.scenes import COLORS, FRAME_SIZE, NUM_FRAMES, RATES, SHAPES
from video.world.understanding import understand

if TYPE_CHECKING:
    from torch import Tensor

SIDES: Final[dict[str, tuple[float, float, float, float]]] = {
    "circle": (-1.0, -1.0, 1.0, 1.0),
    "square": (-0.855, -0.855, 0.855, 0.855),
    "triangle": (-1.082, -1.249, 1.082, 0.625),
    "star": (-1.236, -1.299, 1.236, 1.051),
    "cross": (-1.1, -1.1, 1.1, 1.1),
    "ring": (-1.1, -1.1, 1.1, 1.1),
}
"""Left, top, right and bottom of each shape from its center, in units of the radius."""
OBLONG: Final = 1.25  # times as wide, or as high, as the thing in it at most
RADII: Final = 3.6, 15.0  # pixels, of the least that shrinks and the largest that grows


@dataclass(frozen=True, eq=False)
class Boxed:
    """A thing of the prompt in its boxes.

    Attributes:
        shape: A word of the world.
        color: Likewise.
        course: (16, 4) x, y, radius and angle.
    """

    shape: str
    color: str
    course: NDArray[np.float64]


def check_boxes(request: VideoRequest, record: Mapping[str, Any], model: Path) -> None:
    """Refuse boxes that are none, are not of the prompt's things, or which a model cannot take.

    Args:
        request: That names boxes.
        record: Of the model.
        model: Its folder.

    Raises:
        Refusal: In three parts.
    """
    size = request.num_frames, request.height, request.width
    if size != (NUM_FRAMES, FRAME_SIZE, FRAME_SIZE):
        raise Refusal(
            f"boxes={request.boxes} with {size[0]} frames of {size[2]} x {size[1]}: clips of "
            f"{NUM_FRAMES} frames of {FRAME_SIZE} x {FRAME_SIZE} alone are laid out; leave "
            "num_frames, height and width out."
        )
    laid_out = json.loads((model / "config.json").read_text()).get("layout_network")
    if not (laid_out and knows_only_scenes(record)):
        raise Refusal(
            f"boxes={request.boxes} with model={request.model}: a model that was taught layouts "
            "takes boxes, and this one was not; leave boxes out, or name another model."
        )
    boxed_things(request)


def boxed_things(request: VideoRequest) -> list[Boxed]:
    """The prompt's things in their boxes, in the order of the file.

    Raises:
        Refusal: Their number, a shape, a color, a size or a place does not go.
    """
    path = Path(request.boxes).expanduser()
    boxes = read_boxes(path, NUM_FRAMES, FRAME_SIZE, FRAME_SIZE)
    said = understand(request.prompt).claims.things
    claims = [claim for claim in said for _ in range(claim.count)]
    if len(claims) != len(boxes) or len(boxes) > SLOTS:
        raise Refusal(
            f"boxes={path} has things: {len(boxes)}, and the prompt: {len(claims)}: each thing "
            f"of the prompt has its boxes, {SLOTS} at most; name in both as many."
        )
    found = [_placed(path, claim, box) for claim, box in _seated(path, claims, boxes)]
    _refuse_lapping(path, boxes)
    return found


def boxed_layout(request: VideoRequest) -> "Tensor":
    """The layout (1, K, 16, 3, 1), as `video.engines.layouts` has it."""
    return laid_out(boxed_things(request))


def laid_out(things: list[Boxed]) -> "Tensor":
    """The layout of things in their boxes."""
    from video.engines.own_canvas import layout_of

    return layout_of([(t.shape, COLORS[t.color], t.course) for t in things], NUM_FRAMES)


def box_of(shape: str, course: NDArray[np.float64]) -> NDArray[np.float64]:
    """Left, top, right and bottom (T, 4) of a shape that is not turned, by its course (T, 4)."""
    places = course[:, [0, 1, 0, 1]]
    return places + course[:, 2:3] * np.array(SIDES[shape])


def _seated(
    path: Path, claims: list[ThingClaim], boxes: list[Boxes]
) -> list[tuple[ThingClaim, Boxes]]:
    """Each box with the first thing of the prompt that its words allow; in the order of both."""
    for order in permutations(claims):
        if all(_fits(claim, box) for claim, box in zip(order, boxes, strict=True)):
            return list(zip(order, boxes, strict=True))
    told = ", ".join(f"{box.color or 'any'} {box.shape or 'any'}" for box in boxes)
    asked = ", ".join(f"{claim.color or 'any'} {claim.shape or 'any'}" for claim in claims)
    raise Refusal(
        f"boxes={path} has: {told}, and the prompt: {asked}: the words beside boxes are those of "
        "the prompt's things; write the same, or leave shape and color out of the file."
    )


def _fits(claim: ThingClaim, box: Boxes) -> bool:
    shape, color = claim.shape in (None, box.shape), claim.color in (None, box.color)
    return (shape or not box.shape) and (color or not box.color)


def _placed(path: Path, claim: ThingClaim, box: Boxes) -> Boxed:
    """The thing in the middle of its boxes, of the area that they leave it."""
    shape, color = claim.shape or box.shape, claim.color or box.color
    if shape not in SHAPES or color not in COLORS:
        raise Refusal(
            f"boxes={path}: a thing is {color or 'of no color'} {shape or 'of no shape'}: shapes "
            f"are {', '.join(SHAPES)}, colors {', '.join(COLORS)}; say both in the prompt or in "
            "the file."
        )
    left, top, right, bottom = SIDES[shape]
    across, down = (box.sides[:, 2:] - box.sides[:, :2]).T / np.array(
        [[right - left], [bottom - top]]
    )
    radius = np.sqrt(across * down)
    _refuse_odd(path, shape, across / down, radius)
    middle = (box.sides[:, :2] + box.sides[:, 2:]) / 2
    off = np.array([left + right, top + bottom]) / 2
    angle = np.zeros(NUM_FRAMES)
    if claim.motion == "spin":
        angle = np.arange(NUM_FRAMES) * np.mean(RATES["spin"][claim.speed or "normal"])
    course = np.column_stack([middle - radius[:, None] * off, radius, angle])
    return Boxed(shape, color, course)


def _refuse_odd(
    path: Path, shape: str, wide: NDArray[np.float64], radius: NDArray[np.float64]
) -> None:
    left, top, right, bottom = SIDES[shape]
    frame = int(np.argmax(np.abs(np.log(wide))))
    if not 1 / OBLONG <= wide[frame] <= OBLONG:
        raise Refusal(
            f"boxes={path}: the box of a {shape} at frame {frame} is {wide[frame]:.2f} times as "
            f"wide as the shape is: a {shape} is {(right - left) / (bottom - top):.2f} times as "
            "wide as high, give or take a quarter; change the box."
        )
    least, most = RADII
    if radius.min() < least or radius.max() > most:
        odd = radius.min() if radius.min() < least else radius.max()
        width, low, high = ((right - left) * r for r in (odd, least, most))
        raise Refusal(
            f"boxes={path}: a {shape} would be {width:.1f} pixels wide: the model knows those of "
            f"{low:.0f} to {high:.0f}; change the boxes."
        )


def _refuse_lapping(path: Path, boxes: list[Boxes]) -> None:
    for one, other in combinations(boxes, 2):
        first = np.maximum(one.sides[:, :2], other.sides[:, :2])
        last = np.minimum(one.sides[:, 2:], other.sides[:, 2:])
        if (laps := (first < last).all(1)).any():
            raise Refusal(
                f"boxes={path}: two things lap at frame {int(np.argmax(laps))}: things of the "
                "world pass beside each other; move a box."
            )
