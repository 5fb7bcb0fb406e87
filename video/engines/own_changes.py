"""How our own model extends, fills and edits: what the clip shows decides what is laid out."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np

from core.operations.operation import Model, OnStep
from video.engines.canvas import Canvas
from video.engines.grounds import held_ground
from video.engines.kept_walk import KeptWalk
from video.engines.meetings import kept_apart
from video.engines.own import embed, frame_rate, to_frames
from video.engines.own_canvas import Placed, layout_of, padded, paint
from video.engines.paints import held_things
from video.engines.text import TextEncoder
from video.engines.things import Thing, background_of, ground_of, things_of
from video.files.clip import Clip
from video.request import VideoRequest
from video.world.prompts import ThingClaim
from video.world.scene_table import SLOTS
from video.world.scenes import BACKGROUNDS, COLORS, FRAME_SIZE, REACH, SIZES
from video.world.understanding import understand

NEAR_GROUND = 60.0  # RGB distance


def change(
    request: VideoRequest,
    canvas: Canvas,
    model: Model,
    encoder: TextEncoder,
    on_step: OnStep,
    kept: KeptWalk | None = None,
) -> Clip:
    """The frames of a canvas.

    Args:
        request: Settled; an empty prompt is read off the clip.
        canvas: What is given.
        model: Loaded.
        encoder: Reads prompts.
        on_step: Told of each step.
        kept: Goes on where the walk was killed; None for a walk from the start.
    """
    count, height, width, _ = canvas.frames.shape
    whole = padded(canvas)
    seen = whole
    if canvas.strength:  # what is changed is looked at, too
        everything = np.ones_like(whole.given)
        everything[count:] = False
        seen = Canvas(whole.frames, everything)
    facts: dict[str, Any] = {}
    layout, things, laid = None, list[Thing](), list[Placed]()
    if height == width == FRAME_SIZE:
        things = things_of(seen)
        laid = placed(things, request.prompt, whole)
        layout = layout_of(laid, len(whole.frames))
        facts["layout"] = f"{len(things)} things of the clip, going on as they move"
    told = request.model_copy(update={"prompt": worded(request.prompt, things, seen)})
    if not request.prompt:
        facts["prompt_read_off_the_clip"] = told.prompt
    if canvas.strength:
        whole = regrounded(whole, seen, told.prompt)
    x = paint(
        whole, told, embed(told, encoder), model.network, model.record, layout=layout,
        on_step=on_step, kept=kept,
    )  # fmt: skip
    frames = to_frames(x).numpy()[:count]
    if not canvas.strength:
        frames = held_things(held_ground(frames, canvas), canvas, laid)
    return Clip(frames, frame_rate(request), facts)


def worded(prompt: str, things: list[Thing], canvas: Canvas) -> str:
    """The prompt, or what the clip shows, with its background where that is not said."""
    ground = background_of(canvas)
    if not prompt:
        names = [f"a {thing.color or 'white'} {thing.shape}" for thing in things]
        prompt = " and ".join(names) or "nothing"
    if ground and understand(prompt).claims.background is None:
        return f"{prompt} on a {ground} background"
    return prompt


def regrounded(canvas: Canvas, seen: Canvas, prompt: str) -> Canvas:
    """A canvas before another background, where the prompt names one.

    Noise of any level short of all leaves a background what it was.
    """
    wanted = understand(prompt).claims.background
    if wanted is None or wanted == background_of(seen):
        return canvas
    away = canvas.frames.astype(np.float32) - ground_of(seen).astype(np.float32)
    near = np.linalg.norm(away, axis=-1) < NEAR_GROUND
    return replace(
        canvas,
        frames=np.where(near[..., None], BACKGROUNDS[wanted], canvas.frames).astype(np.uint8),
    )


def placed(things: list[Thing], prompt: str, canvas: Canvas) -> list[Placed]:
    """Things in every frame; of an edit with the looks that the prompt asks for.

    Things that a prompt names and nobody sees are put where there is a hole.
    """
    count = len(canvas.frames)
    looks = [(thing.shape, thing.paint, thing.course(count)) for thing in things]
    if canvas.given.any():
        looks = kept_apart(looks, canvas.touched[0], canvas.touched[-1])
    claims = [c for claim in understand(prompt).claims.things for c in [claim] * claim.count]
    if not claims:
        return looks
    if canvas.strength and len(claims) == len(things):
        return _restyled(things, looks, claims)
    hidden = _unseen(things, claims)
    if canvas.strength or not hidden or canvas.given.all() or canvas.whole:
        return looks
    return looks + [_in_hole(claim, canvas) for claim in hidden[: SLOTS - len(looks)]]


def _restyled(things: list[Thing], looks: list[Placed], claims: list[ThingClaim]) -> list[Placed]:
    order = min(permutations(range(len(things))), key=lambda seats: _unlike(things, claims, seats))
    found = list(looks)
    for claim, seat in zip(claims, order, strict=True):
        shape, color, course = looks[seat]
        if claim.size:
            course = course.copy()
            course[:, 2] *= SIZES[claim.size] / course[:, 2].mean()
        paint_ = COLORS[claim.color] if claim.color else color
        found[seat] = (claim.shape or shape, paint_, course)
    return found


def _unseen(things: list[Thing], claims: list[ThingClaim]) -> list[ThingClaim]:
    """Claims that no thing meets."""
    left, hidden = list(things), []
    for claim in claims:
        fits = [thing for thing in left if not _unlike([thing], [claim], (0,))]
        if fits:
            left.remove(fits[0])
        else:
            hidden.append(claim)
    return hidden


def _in_hole(claim: ThingClaim, canvas: Canvas) -> Placed:
    """A thing in the middle of what is not given, as large as fits or is said."""
    shape, color = claim.shape or "circle", COLORS[claim.color or "white"]
    course = np.zeros((len(canvas.frames), 4))
    for row, given in zip(course, canvas.given, strict=True):
        down, across = np.nonzero(~given)
        if len(down):
            row[:2] = across.mean() + 0.5, down.mean() + 0.5
            side = min(np.ptp(across), np.ptp(down)) + 1
            room = side / 2 / REACH[shape]
            row[2] = min(SIZES[claim.size] if claim.size else SIZES["large"], max(room, 3.0))
    empty = course[:, 2] == 0
    if empty.any() and not empty.all():
        frames = np.arange(len(course))
        for column in course.T[:3]:
            column[empty] = np.interp(frames[empty], frames[~empty], column[~empty])
    return shape, color, course


def _unlike(things: list[Thing], claims: list[ThingClaim], seats: tuple[int, ...]) -> int:
    """How many words change where each claim takes a thing."""
    pairs = [(claim, things[seat]) for claim, seat in zip(claims, seats, strict=True)]
    return sum(
        (claim.shape not in (None, thing.shape)) + (claim.color not in (None, thing.color))
        for claim, thing in pairs
    )
