"""``edit_video``: a clip is noised in part and drawn to its end by another prompt."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.refusal import Refusal
from video.change_request import EditRequest
from video.operations.changed_clip import ChangedClip

if TYPE_CHECKING:
    from video.engines.canvas import Canvas
    from video.files.footage import Footage


class EditVideo(ChangedClip[EditRequest]):
    """A clip that shows what the prompt says where the other showed something."""

    name = "edit_video"
    request = EditRequest
    keeps_time = True
    abilities = ("strength",)

    def shape(self, request: EditRequest, footage: "Footage") -> tuple[int, int, int]:
        """That of the clip."""
        from video.operations.clip_filters import seen_size

        return footage.count, *seen_size(footage)

    def check(self, request: EditRequest) -> None:
        """Refuse, too, a change of which an engine would take no step."""
        super().check(request)
        steps = self.settled(request).steps
        if self.source(request).kind != "own" and int(steps * request.strength) < 1:
            raise Refusal(
                f"strength={request.strength:g} with steps={steps}: an engine takes that share of "
                "its steps, of which none would be left; ask for more of one of the two."
            )

    def canvas(self, request: EditRequest, frames: NDArray[np.uint8]) -> "Canvas":
        """Every pixel may change."""
        from video.engines.canvas import Canvas

        return Canvas(frames, np.zeros(frames.shape[:3], bool), request.strength)
