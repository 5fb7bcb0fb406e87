"""``extend_video``: a clip goes on, after its last frame or before its first."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.refusal import Refusal
from video.change_request import ExtendRequest
from video.operations.changed_clip import ChangedClip

if TYPE_CHECKING:
    from video.engines.canvas import Canvas
    from video.files.footage import Footage


class ExtendVideo(ChangedClip[ExtendRequest]):
    """A longer clip whose own frames stay as they are."""

    name = "extend_video"
    request = ExtendRequest
    keeps_time = False
    abilities = ("image",)
    at_once = False

    def shape(self, request: ExtendRequest, footage: "Footage") -> tuple[int, int, int]:
        """More frames of the same size."""
        from video.operations.clip_filters import seen_size

        return footage.count + request.frames_after + request.frames_before, *seen_size(footage)

    def check(self, request: ExtendRequest) -> None:
        """Refuse what comes before, of engines that begin from a picture alone."""
        super().check(request)
        source = self.source(request)
        if request.frames_before and source.kind != "own" and "mask" not in source.abilities:
            from video.engines.shelf import able

            which = " or ".join(able("mask")) or "one that knows mask"
            raise Refusal(
                f"frames_before={request.frames_before} with engine={request.engine}: an engine "
                "that begins from a picture goes on alone; leave frames_before out, name "
                f"{which}, or leave engine out for our own model."
            )

    def canvas(self, request: ExtendRequest, frames: NDArray[np.uint8]) -> "Canvas":
        """The clip between frames of which nothing is given."""
        from video.engines.canvas import Canvas

        sides = ((request.frames_before, request.frames_after), (0, 0), (0, 0))
        given = np.pad(np.ones(frames.shape[:3], bool), sides)
        return Canvas(np.pad(frames, (*sides, (0, 0))), given)
