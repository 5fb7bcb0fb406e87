"""Clips whose edges lead others: what is asked of them, and the control they become."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.refusal import Refusal
from video.request import VideoRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

SHOWN = "edges"


def check_control_clip(request: VideoRequest) -> None:
    """Refuse a control without a clip, beside what says otherwise, or of another size.

    Raises:
        Refusal: In three parts.
    """
    if not (request.control and request.control_clip):
        raise Refusal(
            f"control={request.control!r} with control_clip={request.control_clip!r}: a control "
            "file reads the edges of a clip; name both, or leave both out."
        )
    if others := [n for n in ("engine", "boxes", "first", "last", "key") if getattr(request, n)]:
        raise Refusal(
            f"control={request.control} with {' and '.join(others)}: our own model is told by the "
            "control where things are; leave one of the two out."
        )
    size = _frames(request).shape[:3]
    asked = request.num_frames, request.height, request.width
    if size != asked:
        raise Refusal(
            f"control_clip={request.control_clip} has {size[0]} frames of {size[2]} x {size[1]}, "
            f"and the clip is to have {asked[0]} of {asked[2]} x {asked[1]}: a control is of the "
            "clip's size; ask for that size, or name another clip."
        )


def control_shown(request: VideoRequest) -> Tensor:
    """The control (1, 1, D, H, W): the edges of the clip that is named."""
    import torch

    from video.engines.edges import edges

    frames = torch.from_numpy(_frames(request).copy())  # (D, H, W, 3)
    return edges(frames.permute(3, 0, 1, 2)[None].float() / 127.5 - 1)


def _frames(request: VideoRequest) -> NDArray[np.uint8]:
    from video.files.formats import read_clip

    return read_clip(Path(request.control_clip).expanduser()).frames
