"""What operations share that make a clip from a clip: given pixels stay, an engine draws the rest.

Given pixels are put back bit for bit before encoding, whatever the engine; the record tells what
encoding did to them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.operations.operation import Cost, Facts, Model, OnStep, Paths, Reading
from core.refusal import Refusal
from video.change_request import ChangeRequest
from video.engines.places import MOST_STATE_BYTES, states_kept
from video.request import VideoRequest

if TYPE_CHECKING:
    from video.engines.canvas import Canvas
    from video.engines.engine import Ability, Engine
    from video.files.clip import Clip
    from video.files.footage import Footage

Asked = TypeVar("Asked", bound=ChangeRequest)
TAGGED = {"prompt", "seed", "engine", "model", "steps", "guidance", "negative"}
PREVIEW_KB = 100
# Measured with scenes-64 on one core of a server CPU, 32 to 128 frames of 64 x 64, 4 and 8 steps:
# processor seconds of the whole command, and of its windows (0.46 each at 4 steps), within a fifth
BASE_S, WRITING_S = 1.5, 0.12  # of a clip, and of encoding and reading back a window of it
REPAINTED = 4.0  # a window's step, guided and held to what is given, beside what the engine says
KEPT_A_STEP = 12  # bytes a pixel of our own model's answers, to go on from where it was killed
LAP = 2  # windows lap by half
HELD = {"own": 150}  # bytes a pixel while painting: measured 126, and a second estimate in heun
HELD_ELSE, ON_DISK = 60, 24  # comparing what was read back with what was given; the files


@dataclass(frozen=True, eq=False)
class Begun:
    """A clip ready to be changed.

    Attributes:
        canvas: What is given of it.
        asked: What the engine is asked.
    """

    canvas: "Canvas"
    asked: VideoRequest


class ChangedClip(ABC, Generic[Asked]):
    """A clip from a clip; see ``core.operations.operation.Operation``."""

    kind = "video"
    endings: tuple[str, ...] = (".mp4", ".webm", ".gif", ".webp")
    noun = "clip"
    private = False
    name: ClassVar[str]
    keeps_time: ClassVar[bool]
    abilities: "ClassVar[tuple[Ability, ...]]"
    """Of an engine beside our own model, any of which does."""
    at_once: ClassVar[bool] = True
    """Whether engines draw all frames together; else they are handed a picture at a time."""

    @abstractmethod
    def shape(self, request: Asked, footage: "Footage") -> tuple[int, int, int]:
        """Frames, height and width of the result."""

    @abstractmethod
    def canvas(self, request: Asked, frames: NDArray[np.uint8]) -> "Canvas":
        """What is given of the result.

        Args:
            request: What is asked.
            frames: (T, H, W, 3) of the clip.
        """

    def title(self, request: Asked) -> str:
        """The clip's name."""
        return Path(request.clip).stem

    def inputs(self, request: Asked) -> Paths:
        """The clip, and what else is named."""
        told = {name: getattr(request, name, "") for name in ("clip", "mask", "boxes")}
        return {name: Path(path).expanduser() for name, path in told.items() if path}

    def outputs(self, target: Path, request: Asked | None = None) -> Paths:
        """The new clip alone."""
        from video.files.formats import refuse_ending, refuse_rate

        refuse_ending(target.name)
        if request is not None:
            footage = self._footage(request)
            refuse_rate(target.name, footage.fps, self.shape(request, footage)[0])
        return {"video": target}

    def read(self, request: Asked, *, strict: bool = False) -> Reading:
        """With the prompt corrected, where the model knows the procedural world alone.

        What of the clip is read otherwise than it stands in its file is said, too.
        """
        from video.engines.served_prompts import serve
        from video.files.oddities import odd_facts, oddities

        odd = oddities(self._footage(request))
        if request.engine or not request.prompt:
            return Reading(request, odd_facts(odd), odd)
        found = serve(self._plain(request), self.source(request).record(), strict=strict)
        told = request.model_copy(update={"prompt": found.request.prompt})
        return Reading(told, found.facts | odd_facts(odd), (*odd, *found.remarks))

    def settled(self, request: Asked) -> Asked:
        """With the engine's own steps and guidance."""
        told = self.source(request).settled(self._plain(request))
        return request.model_copy(update={"steps": told.steps, "guidance": told.guidance})

    def source(self, request: Asked) -> "Engine":
        """The engine that is named, or our own."""
        from video.engines.shelf import engine_of

        return engine_of(self._plain(request))

    def check(self, request: Asked) -> None:
        """Refuse an engine that cannot, and a clip that it does not take."""
        from video.files.clip import refuse_if_small
        from video.files.footage import refuse_if_large

        engine = self._able(request)
        footage = self._footage(request)
        frames, height, width = self.shape(request, footage)
        refuse_if_small(height, width)
        refuse_if_large(footage, height * frames // max(1, footage.count), width)
        engine.check_change(self._asked(request, frames, height, width, footage.fps))
        self.prepare(request)

    def cost(self, request: Asked) -> Cost:
        """What the engine says of a window, as often as windows that lap by half are drawn."""
        engine = self._able(request)
        footage = self._footage(request)
        frames, height, width = self.shape(request, footage)
        asked = self._asked(request, frames, height, width, footage.fps)
        one, kept_gb, billions = engine.needs(asked), 0.0, frames * height * width / 1e9
        windows = max(1.0, LAP * frames / max(1, asked.num_frames) - (LAP - 1))
        each = one.seconds
        if engine.kind == "own":
            still = engine.needs(asked.model_copy(update={"steps": 0}))  # nothing of it is kept
            each = WRITING_S + REPAINTED * (one.seconds - still.seconds)
            one, kept_gb = still, billions * KEPT_A_STEP * asked.steps
            kept_gb = min(kept_gb, MOST_STATE_BYTES / 1e9)
        gb = billions * ON_DISK
        memory_gb = one.memory_gb + kept_gb + billions * HELD.get(engine.kind, HELD_ELSE)
        return Cost(BASE_S + each * windows, memory_gb, one.disk_gb + kept_gb + gb, gb)

    def _able(self, request: Asked) -> "Engine":
        """The engine, where it changes clips at all."""
        from video.engines.engine import refuse_to_change
        from video.engines.shelf import able

        engine = self.source(request)
        refuse_to_change(engine, self.name, self.abilities, able)
        return engine

    def prepare(self, request: Asked) -> Begun:
        """The clip's frames on their canvas."""
        footage = self._footage(request)
        canvas = self.canvas(request, np.stack(list(footage.frames())))
        frames, height, width, _ = canvas.frames.shape
        return Begun(canvas, self._asked(request, frames, height, width, footage.fps))

    def draw(self, request: Asked, prepared: Begun, model: Model, on_step: OnStep) -> "Clip":
        """The clip, with the given pixels in their places."""
        from video.files.clip import Clip

        engine = self.source(request).ready(model)
        drawn = engine.complete(prepared.asked, prepared.canvas, on_step)
        frames = np.array(drawn.frames)
        facts = dict(drawn.facts) | prepared.canvas.paste(frames)
        return Clip(frames, prepared.asked.fps, facts)

    def judge(self, request: Asked, drawn: "Clip") -> Facts:
        """Nobody can tell."""
        return {}

    def write(self, request: Asked, drawn: "Clip", target: Path, *, overwrite: bool) -> Paths:
        """Write the clip, verified; its sound, too, where the operation keeps time."""
        from video.files.filters import add_sound
        from video.files.formats import write_clip

        tag = self.settled(request).model_dump(include=TAGGED)
        tag |= {"operation": self.name, "from": Path(request.clip).name}
        path = write_clip(drawn, target, metadata=tag, overwrite=overwrite)
        if self.keeps_time:
            add_sound(path, self.inputs(request)["clip"])
        if states_kept():
            self._forget(request)
        return {"video": path}

    def _forget(self, request: Asked) -> None:
        """Remove the state of a clip that stands, whose source may be gone by then."""
        try:
            begun = self.prepare(request)
        except (OSError, Refusal):
            return  # it is removed in a month
        self.source(request).forget(begun.asked, begun.canvas)

    def numbers(self, drawn: "Clip") -> Facts:
        """How it was made, and what stayed."""
        return dict(drawn.facts)

    def verify(self, request: Asked, paths: Mapping[str, Path]) -> Facts:
        """Hold the file against the canvas, and tell what encoding did to given pixels."""
        from video.files.formats import read_clip

        canvas, seen = self.prepare(request).canvas, read_clip(paths["video"])
        if seen.frames.shape != canvas.frames.shape:
            raise RuntimeError(
                f"{paths['video'].name} holds {seen.frames.shape[:3]}: frames, height and width "
                f"should be {canvas.frames.shape[:3]}; make it again."
            )
        frames, height, width, _ = seen.frames.shape
        said = {"frames": frames, "size": f"{width} x {height}", "fps": seen.fps}
        return said | canvas.changed_by_encoding(seen.frames)

    def decoded(self, path: Path) -> dict[str, NDArray[np.generic]]:
        """The clip's pixels."""
        from video.files.formats import read_clip

        return {"pixel": read_clip(path).frames}

    def recalled(self, file: Path) -> Asked | None:
        """Nothing: the clip that it was made from is not in it."""

    def pictures(self, prepared: Begun, drawn: "Clip") -> dict[str, bytes]:
        """An animated preview, and a sheet of frames."""
        from video.files.clip import contact_sheet, webp_preview

        preview = webp_preview(drawn, max_kb=PREVIEW_KB)
        return {"preview": preview, "sheet": contact_sheet(drawn)}

    def shown(self, request: Asked, facts: Mapping[str, Any]) -> Facts:
        """What was changed, and what the file holds."""
        held = {name: facts[name] for name in ("frames", "size", "fps")}
        said = {"prompt": request.prompt} if request.prompt else {}
        return {"clip": Path(request.clip).name, **said, "seed": request.seed, **held}

    def _footage(self, request: Asked) -> "Footage":
        from video.files.footage import refuse_if_large
        from video.files.formats import look_at

        footage = look_at(self.inputs(request)["clip"])
        refuse_if_large(footage, *footage.stored)
        return footage

    def _plain(self, request: Asked) -> VideoRequest:
        """What names engine and model alone."""
        told = {name: getattr(request, name) for name in sorted({*TAGGED, "backend", "placement"})}
        return VideoRequest(**{**told, "prompt": request.prompt or "the clip"})

    def _asked(
        self, request: Asked, frames: int, height: int, width: int, fps: float
    ) -> VideoRequest:
        """What the engine is asked for, by its own window's length."""
        if request.engine and not request.prompt.strip():
            raise Refusal(
                f"prompt= is empty with engine={request.engine}: engines draw what a prompt "
                "says; write what the clip shows."
            )
        plain = self.source(request).settled(self._plain(request))
        size = {"height": height, "width": width, "fps": fps}
        if request.engine:
            count = frames if self.at_once else plain.num_frames or frames
            return plain.model_copy(update=size | {"num_frames": count})
        return plain.model_copy(update=size | {"prompt": request.prompt, "steps": plain.steps})
