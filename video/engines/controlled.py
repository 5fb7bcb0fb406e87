"""Clips that others lead, by their edges or by what a picture shows: checks, and what is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.refusal import Refusal
from video.request import VideoRequest
from video.world.scenes import FRAME_SIZE, NUM_FRAMES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from core.conditioning import Conditioning

EDGES, REFERENCE = "edges", "reference"
SHOWN = {EDGES: "control_clip", REFERENCE: "reference"}
"""What a control file may be shown, and the field that names it."""


def check_control(request: VideoRequest, shows: str, *, of_layouts: bool = False) -> None:
    """Refuse a control without what it is shown, beside what says otherwise, or of another size.

    Args:
        request: That names what a control is shown.
        shows: What the control is shown; empty without one.
        of_layouts: Whether it stands at the model's layouts.

    Raises:
        Refusal: In three parts.
    """
    field = SHOWN[shows] if shows else ""
    told = [name for name in SHOWN.values() if getattr(request, name)]
    if told != [field]:
        said = "".join(f" and {name}={getattr(request, name)!r}" for name in SHOWN.values())
        kind = f"a control file of {shows} reads" if shows else "a control file reads"
        raise Refusal(
            f"control={request.control or shows!r} with{said[4:]}: {kind} "
            f"{field or 'the edges of a clip or a picture'} alone; name control and "
            f"{field or ' or '.join(told)}, or leave both out."
        )
    if others := [n for n in ("engine", "boxes", "first", "last", "key") if getattr(request, n)]:
        raise Refusal(
            f"{field} with {' and '.join(others)}: our own model is told by the "
            "control where things are or what they look like; leave one of the two out."
        )
    if request.reference:
        _check_reference(request, of_layouts=of_layouts)
    else:
        _check_clip(request)


def _check_clip(request: VideoRequest) -> None:
    size = _frames(request).shape[:3]
    asked = request.num_frames, request.height, request.width
    if size != asked:
        raise Refusal(
            f"control_clip={request.control_clip} has {size[0]} frames of {size[2]} x {size[1]}, "
            f"and the clip is to have {asked[0]} of {asked[2]} x {asked[1]}: a control is of the "
            "clip's size; ask for that size, or name another clip."
        )


def _check_reference(request: VideoRequest, *, of_layouts: bool) -> None:
    from video.engines.pictures import opened

    size = request.num_frames, request.height, request.width
    if of_layouts and size != (NUM_FRAMES, FRAME_SIZE, FRAME_SIZE):
        raise Refusal(
            f"reference={request.reference} with {size[0]} frames of {size[2]} x {size[1]}: this "
            "control file shows it to the model's layouts, which are those of "
            f"{NUM_FRAMES} frames of {FRAME_SIZE} x {FRAME_SIZE}; leave the size out."
        )
    with opened("reference", Path(request.reference).expanduser()):
        pass


def led(cond: Conditioning, request: VideoRequest) -> Conditioning:
    """The same with what the control file is shown."""
    if request.reference:
        return replace(cond, reference=reference_shown(request))
    return replace(cond, control=control_shown(request))


def control_shown(request: VideoRequest) -> Tensor:
    """The control (1, 1, D, H, W): the edges of the clip that is named."""
    import torch

    from video.engines.edges import edges

    frames = torch.from_numpy(_frames(request).copy())  # (D, H, W, 3)
    return edges(frames.permute(3, 0, 1, 2)[None].float() / 127.5 - 1)


def reference_shown(request: VideoRequest) -> Tensor:
    """The picture that is named, (1, 3, 1, H, W) in [-1, 1]: its middle, of a frame's size."""
    import torch

    from video.engines.pictures import fitted

    path, side = Path(request.reference).expanduser(), FRAME_SIZE
    pixels = torch.from_numpy(fitted("reference", path, (side, side)).pixels.copy())  # (H, W, 3)
    return pixels.permute(2, 0, 1)[None, :, None].float() / 127.5 - 1


def _frames(request: VideoRequest) -> NDArray[np.uint8]:
    from video.files.formats import read_clip

    return read_clip(Path(request.control_clip).expanduser()).frames
