"""``fill_video``: a part of a clip is painted anew, or more is painted around it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.refusal import Refusal
from video.change_request import FillRequest
from video.operations.changed_clip import ChangedClip

if TYPE_CHECKING:
    from video.engines.canvas import Canvas
    from video.files.footage import Footage


class FillVideo(ChangedClip[FillRequest]):
    """A clip whose pixels outside of a mask stay as they are."""

    name = "fill_video"
    request = FillRequest
    keeps_time = True
    abilities = ("mask",)

    def shape(self, request: FillRequest, footage: "Footage") -> tuple[int, int, int]:
        """That of the clip, and what is added around it."""
        from video.operations.clip_filters import seen_size

        height, width = seen_size(footage)
        top, bottom, left, right = request.edges
        return footage.count, height + top + bottom, width + left + right

    def check(self, request: FillRequest) -> None:
        """Refuse, too, what names no place or several."""
        if bool(request.mask) + bool(request.boxes) + any(request.edges) != 1:
            raise Refusal(
                f"mask={request.mask!r}, boxes={request.boxes!r}, edges of {request.edges}: one "
                "of them says where to paint; give a mask, or boxes, or rows and columns to add."
            )
        super().check(request)

    def canvas(self, request: FillRequest, frames: NDArray[np.uint8]) -> "Canvas":
        """What lies outside of the mask."""
        from video.engines.canvas import Canvas
        from video.engines.regions import region_of_boxes, region_of_mask

        if request.mask:
            hole = region_of_mask(Path(request.mask).expanduser(), frames.shape)
        elif request.boxes:
            hole = region_of_boxes(Path(request.boxes).expanduser(), frames.shape)
        else:
            hole = np.zeros(frames.shape[:3], bool)
        top, bottom, left, right = request.edges
        sides = ((0, 0), (top, bottom), (left, right))
        return Canvas(np.pad(frames, (*sides, (0, 0))), np.pad(~hole, sides))
