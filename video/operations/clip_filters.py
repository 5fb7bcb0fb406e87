"""``upscale_video`` and ``interpolate_video``: clips changed by filters, without a network.

Given frames stay bit for bit where they have a place in the result, and a clip's own sound is
carried along, as its time is kept.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.operations.operation import Cost, Facts, Model, OnStep, Paths, Reading
from core.refusal import Refusal
from video.request import FilterRequest, InterpolateRequest, UpscaleRequest

if TYPE_CHECKING:
    from video.files.clip import Clip
    from video.files.footage import Footage

Asked = TypeVar("Asked", bound=FilterRequest)
LARGEST_SIDE = 8192
BASE_GB, GB_OF_PIXEL, RESULT_OF_PIXEL = 0.3, 9e-9, 1e-9
PREVIEW_KB = 100


@dataclass(frozen=True)
class Filter:
    """A filter of ffmpeg in the place of a model.

    Attributes:
        name: Of the filter.
    """

    name: str
    delivered = False
    slow = False
    drawn = False

    def record(self) -> dict[str, Any]:
        """Its name, and the library that it comes from."""
        from importlib.metadata import version

        from core.models.files import WEIGHTS

        name = f"{self.name} of PyAV {version('av')}"
        digest = hashlib.sha256(name.encode()).hexdigest()
        return {"name": name, "kind": "video", "engine": "filter", "sha256": {WEIGHTS: digest}}

    def load(self, device: Any) -> Model:
        """Nothing is loaded."""
        return Model(None, self.record())


class _Filtered(ABC, Generic[Asked]):
    """What both have in common; see ``core.operations.operation.Operation``."""

    kind = "video"
    endings: tuple[str, ...] = (".mp4", ".webm", ".gif", ".webp")
    noun = "clip"
    private = False
    name: ClassVar[str]
    filter: ClassVar[str]
    second_of_pixel: ClassVar[float]

    def title(self, request: Asked) -> str:
        """The clip's name."""
        return Path(request.clip).stem

    def inputs(self, request: Asked) -> Paths:
        """The clip."""
        return {"clip": Path(request.clip).expanduser()}

    def outputs(self, target: Path, request: Asked | None = None) -> Paths:
        """The new clip alone."""
        from video.files.formats import refuse_ending, refuse_rate

        refuse_ending(target.name)
        if request is not None:
            frames, _, _, fps = self.shape(request, self._footage(request))
            refuse_rate(target.name, fps, frames)
        return {"video": target}

    def read(self, request: Asked, *, strict: bool = False) -> Reading:
        """As it is, and what of the clip is read otherwise than it stands in its file."""
        from video.files.oddities import odd_facts, oddities

        odd = oddities(self._footage(request))
        return Reading(request, odd_facts(odd), odd)

    def check(self, request: Asked) -> None:
        """Refuse what is no clip, and a result that is too large."""
        from video.files.clip import refuse_if_small
        from video.files.footage import MOST_FPS, refuse_if_large

        footage = self._footage(request)
        frames, height, width, fps = self.shape(request, footage)
        refuse_if_small(height, width)
        if max(height, width) > LARGEST_SIDE or fps > MOST_FPS:
            raise Refusal(
                f"times={request.times}: the result would have {width} x {height} pixels at "
                f"{fps:g} frames per second: at most {LARGEST_SIDE} and {MOST_FPS} are written; "
                "ask for less."
            )
        refuse_if_large(footage, height * frames // max(1, footage.count), width)

    def cost(self, request: Asked) -> Cost:
        """By the pixels of the result."""
        frames, height, width, _ = self.shape(request, self._footage(request))
        pixels = frames * height * width
        memory_gb, results_gb = BASE_GB + GB_OF_PIXEL * pixels, RESULT_OF_PIXEL * pixels
        return Cost(1.0 + self.second_of_pixel * pixels, memory_gb, 2 * results_gb, results_gb)

    def settled(self, request: Asked) -> Asked:
        """Nothing is left open."""
        return request

    def source(self, request: Asked) -> Filter:
        """The filter."""
        return Filter(self.filter)

    def prepare(self, request: Asked) -> "Clip":
        """The clip's frames."""
        from video.files.clip import Clip

        footage = self._footage(request)
        return Clip(np.stack(list(footage.frames())), footage.fps)

    def judge(self, request: Asked, drawn: "Clip") -> Facts:
        """Nobody can tell."""
        return {}

    def write(self, request: Asked, drawn: "Clip", target: Path, *, overwrite: bool) -> Paths:
        """Write the clip, verified, and its sound beside the pictures."""
        from video.files.filters import add_sound
        from video.files.formats import write_clip

        tag = {"times": request.times, "filter": self.filter, "from": Path(request.clip).name}
        path = write_clip(drawn, target, metadata=tag, overwrite=overwrite)
        add_sound(path, self.inputs(request)["clip"])
        return {"video": path}

    def numbers(self, drawn: "Clip") -> Facts:
        """What stayed as it was."""
        return dict(drawn.facts)

    def verify(self, request: Asked, paths: Mapping[str, Path]) -> Facts:
        """Hold what the file says of frames and size against the clip it was made from."""
        from video.files.filters import sounds
        from video.files.formats import look_at, stored_size

        path = paths["video"]
        frames, height, width, fps = self.shape(request, self._footage(request))
        found = look_at(path)
        asked = (frames, *stored_size(path.name, height, width))
        if (found.count, *found.stored) != asked or abs(found.fps - fps) > 0.01 * fps:
            raise RuntimeError(
                f"{path.name} holds {(found.count, *found.stored)} at {found.fps:g}: frames, "
                f"height and width should be {asked} at {fps:g}; make it again."
            )
        said = {"frames": frames, "size": f"{width} x {height}", "fps": found.fps}
        return said | {"sound": "the clip's own" if sounds(path) else "none"}

    def decoded(self, path: Path) -> dict[str, NDArray[np.generic]]:
        """The clip's pixels."""
        from video.files.formats import read_clip

        return {"pixel": read_clip(path).frames}

    def recalled(self, file: Path) -> Asked | None:
        """Nothing: the clip that it was made from is not in it."""

    def pictures(self, prepared: "Clip", drawn: "Clip") -> dict[str, bytes]:
        """An animated preview, and a sheet of frames."""
        from video.files.clip import contact_sheet, webp_preview

        preview = webp_preview(drawn, max_kb=PREVIEW_KB)
        return {"preview": preview, "sheet": contact_sheet(drawn)}

    def shown(self, request: Asked, facts: Mapping[str, Any]) -> Facts:
        """What was changed, and what the file holds."""
        held = {name: facts[name] for name in ("frames", "size", "fps", "sound")}
        return {"clip": Path(request.clip).name, "times": request.times, **held}

    @abstractmethod
    def shape(self, request: Asked, footage: "Footage") -> tuple[int, int, int, float]:
        """Frames, height, width and rate of the result."""

    def _footage(self, request: Asked) -> "Footage":
        from video.files.footage import refuse_if_large
        from video.files.formats import look_at

        footage = look_at(self.inputs(request)["clip"])
        refuse_if_large(footage, *seen_size(footage))
        return footage


def seen_size(footage: "Footage") -> tuple[int, int]:
    """Height and width of the frames as they are seen, upright and of square pixels."""
    height, width, _ = next(footage.frames()).shape
    return height, width


class UpscaleVideo(_Filtered[UpscaleRequest]):
    """A clip with so many times as many pixels on a side, by Lanczos."""

    name = "upscale_video"
    request = UpscaleRequest
    filter = "lanczos"
    second_of_pixel = 6e-7

    def shape(self, request: UpscaleRequest, footage: "Footage") -> tuple[int, int, int, float]:
        """As many frames, larger."""
        height, width = seen_size(footage)
        return footage.count, height * request.times, width * request.times, footage.fps

    def draw(
        self, request: UpscaleRequest, prepared: "Clip", model: Model, on_step: OnStep
    ) -> "Clip":
        """Each frame at the larger size."""
        from video.files.clip import Clip
        from video.files.filters import enlarged

        count, height, width, _ = prepared.frames.shape
        frames = []
        size = height * request.times, width * request.times
        for number, frame in enumerate(enlarged(prepared.frames, *size), 1):
            frames.append(frame)
            on_step(number, count, None)
        return Clip(np.stack(frames), prepared.fps)


class InterpolateVideo(_Filtered[InterpolateRequest]):
    """A clip with so many times as many frames, moved along the motion between two."""

    name = "interpolate_video"
    request = InterpolateRequest
    filter = "motion-compensated interpolation"
    second_of_pixel = 3e-6

    def check(self, request: InterpolateRequest) -> None:
        """Refuse, too, frames in which the filter finds no two blocks to follow."""
        from video.files.filters import LEAST_SIDE

        super().check(request)
        height, width = seen_size(self._footage(request))
        if min(height, width) < LEAST_SIDE:
            raise Refusal(
                f"clip={request.clip} has frames of {width} x {height} pixels: motion is followed "
                f"in frames of at least {LEAST_SIDE} on each side; make it larger first "
                "(lamina video upscale)."
            )

    def shape(
        self, request: InterpolateRequest, footage: "Footage"
    ) -> tuple[int, int, int, float]:
        """More frames in the same time."""
        return footage.count * request.times, *seen_size(footage), footage.fps * request.times

    def draw(
        self, request: InterpolateRequest, prepared: "Clip", model: Model, on_step: OnStep
    ) -> "Clip":
        """The frames and what lies between them; those of the clip as they were."""
        from video.files.clip import Clip
        from video.files.filters import interpolated

        found = interpolated(prepared.frames, request.times, on_step)
        facts = {"given_frames": "kept bit for bit before encoding"}
        return Clip(found, prepared.fps * request.times, facts)
