"""``text_to_video``: a clip from a sentence, drawn by a model of ours.

Everything heavy is imported where it is needed: forms and commands read this without torch.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.operations.operation import Cost, Facts, Model, NotAsAskedError, OnStep, Paths, Reading
from core.refusal import Refusal
from video.request import VideoRequest

if TYPE_CHECKING:
    from video.engines.engine import Engine
    from video.files.clip import Clip

TAGGED = {"prompt", "seed", "engine", "model", "steps", "sampler", "guidance", "negative"}
FILES = ("lora", "first", "last", "boxes", "key", "control", "control_clip", "reference")
BESIDE = ("lora", "boxes", "control", "control_clip", "reference")
PREVIEW_KB = 100
SAID = {
    "prompt_as_typed": "prompt as typed",
    "read_as": "read as",
    "not_understood": "not understood",
}


class TextToVideo:
    """A clip from a sentence; see ``core.operations.operation.Operation``."""

    name = "text_to_video"
    kind = "video"
    request = VideoRequest
    endings: tuple[str, ...] = (".mp4", ".webm", ".gif", ".webp", ".png", ".jpg", ".jpeg")
    noun = "clip"
    private = False

    def title(self, request: VideoRequest) -> str:
        """The prompt."""
        return request.prompt

    def inputs(self, request: VideoRequest) -> Paths:
        """Pictures that are frames, and files beside the prompt; none for a sentence alone."""
        from video.engines.pictures import named

        told = {name: getattr(request, name) for name in BESIDE}
        others = {field: Path(path).expanduser() for field, path in told.items() if path}
        return named(request) | others

    def outputs(self, target: Path, request: VideoRequest | None = None) -> Paths:
        """The clip alone, or the picture."""
        from video.files.formats import refuse_kind, refuse_rate

        refuse_kind(target.name, None if request is None else request.picture)
        if request is not None and not request.picture:
            asked = self.settled(request)
            refuse_rate(target.name, asked.fps, asked.num_frames)
        return {"video": target}

    def usual_ending(self, request: VideoRequest) -> str:
        """Of a file that nobody named."""
        return ".png" if request.picture else self.endings[0]

    def for_file(self, request: VideoRequest, name: str) -> VideoRequest:
        """The request for a picture where the file is one."""
        from video.files.formats import is_picture

        if request.picture or not is_picture(name):
            return request
        return VideoRequest.model_validate(request.model_dump() | {"picture": True})

    def read(self, request: VideoRequest, *, strict: bool = False) -> Reading:
        """With the prompt corrected, where the model knows the procedural world alone."""
        from video.engines.served_prompts import serve

        if request.engine:
            return Reading(request)
        return serve(request, self.source(request).record(), strict=strict)

    def settled(self, request: VideoRequest) -> VideoRequest:
        """The request with the engine's own values for what was left at 0."""
        return self.source(request).settled(request)

    def source(self, request: VideoRequest) -> "Engine":
        """The engine that is named, or our own."""
        from video.engines.shelf import engine_of

        return engine_of(request)

    def check(self, request: VideoRequest) -> None:
        """Refuse an engine or a model that is not there, and what it does not take."""
        if request.boxes and request.engine:
            raise Refusal(
                f"boxes={request.boxes} with engine={request.engine}: our own model alone is laid "
                "out by boxes; leave one of the two out."
            )
        if (request.control or request.control_clip or request.reference) and request.engine:
            raise Refusal(
                f"control={request.control} with engine={request.engine}: our own model alone is "
                "led by a clip's edges or a picture; leave one of the two out."
            )
        self.source(request).check(request)
        if request.draft_after:
            self._check_draft(request)

    def _check_draft(self, request: VideoRequest) -> None:
        steps, source = self.settled(request).steps, self.source(request)
        if not source.goes_on(request):
            raise Refusal(
                f"draft_after={request.draft_after} with engine={source.name}: a draft is what "
                "the first steps lead to, and nothing of this clip can be kept there to go on "
                "from; leave draft_after out, and ask for fewer steps in its place."
            )
        if request.draft_after >= steps:
            raise Refusal(
                f"draft_after={request.draft_after} with steps={steps}: a draft ends before the "
                "last step; ask for fewer, or leave draft_after out."
            )

    def cost(self, request: VideoRequest) -> Cost:
        """What the engine says, and what a watermark takes."""
        from video.provenance.marking import with_marking

        asked, source = self.settled(request), self.source(request)
        if asked.draft_after:
            request = asked.model_copy(update={"steps": asked.draft_after})
        return with_marking(asked, source.needs(request))

    def prepare(self, request: VideoRequest) -> Any:
        """What drawing needs beyond the request, such as the prompt's text states."""
        return self.source(request).encode(request)

    def draw(self, request: VideoRequest, prepared: Any, model: Model, on_step: OnStep) -> "Clip":
        """The clip's frames."""
        from video.engines.engine import never

        asked, engine = self.settled(request), self.source(request).ready(model)
        clip = engine.decode(asked, engine.denoise(asked, prepared, on_step, never))
        return _middle(clip) if request.picture else clip

    def judge(self, request: VideoRequest, drawn: "Clip") -> Facts:
        """What the clip shows as asked, axis by axis, as the oracle reads it."""
        from video.oracle.oracle import read_clip, score
        from video.world.understanding import understand

        verdict = score(read_clip(drawn.frames), understand(request.prompt).claims)
        if missed := [axis for axis, met in verdict.items() if not met]:
            met = 1 - len(missed) / len(verdict)
            raise NotAsAskedError(f"not as asked: {', '.join(missed)}", met)
        return {"shows": verdict}

    def write(
        self, request: VideoRequest, drawn: "Clip", target: Path, *, overwrite: bool
    ) -> Paths:
        """Write the clip, marked and verified, with prompt, seed and model in its tag."""
        from video.files.formats import write_clip
        from video.provenance.marking import as_written

        asked = self.settled(request)
        clip, mark = as_written(asked, drawn, lambda: self._digests(request))
        tag = asked.model_dump(include=TAGGED) | mark
        if files := [name for name in FILES if getattr(asked, name)]:
            tag["files"] = files
        if asked.draft_after:
            tag["draft_after"] = asked.draft_after
        if asked.picture:
            tag |= {"picture": True, "num_frames": asked.num_frames}
        path = write_clip(clip, target, metadata=tag, overwrite=overwrite)
        if not request.draft_after:
            self.forget(request)
        return {"video": path}

    def forget(self, request: VideoRequest) -> None:
        """Remove what is kept of a clip that stands, or that was refused."""
        self.source(request).forget(self.settled(request))

    def numbers(self, drawn: "Clip") -> Facts:
        """How the engine made it; of our own model the file holds all there is."""
        return {"engine": dict(drawn.facts)} if drawn.facts else {}

    def verify(self, request: VideoRequest, paths: Mapping[str, Path]) -> Facts:
        """Hold what the file says of frames, size and prompt against the request.

        Its pixels were compared when it was written; some are looked at again for a watermark.
        """
        from video.files.clip import exact_rate
        from video.files.formats import look_at, stored_size
        from video.provenance.marking import said_of_mark

        path, request = paths["video"], self.settled(request)
        footage = look_at(path, stills=True)
        stored, said = footage.stored, footage.tag
        found = (footage.count, *stored, said.get("size"), said.get("metadata", {}).get("prompt"))
        height, width = request.height, request.width
        size = stored_size(path.name, height, width)
        frames = 1 if request.picture else request.num_frames
        asked = (frames, *size, [height, width], request.prompt)
        if found != asked:
            raise RuntimeError(
                f"{path.name} holds {found}: frames, stored height and width, size shown and "
                f"prompt should be {asked}; generate it again."
            )
        return {
            "frames": footage.count,
            "size": f"{width} x {height}",
            "fps": footage.fps,
            "seconds": round(float(footage.count / exact_rate(footage.fps)), 3),
            "watermark": said_of_mark(request, footage, lambda: self._digests(request)),
            **_changed_by_encoding(request, path),
            **_frame_shown(request),
        }

    def _digests(self, request: VideoRequest) -> Facts:
        """What tells the model and each file apart from others, wherever they stand."""
        from core.models.files import WEIGHTS
        from video.engines.adapter_files import digest_of_input

        model = self.source(request).record()
        files = {role: digest_of_input(role, p) for role, p in self.inputs(request).items()}
        return {"weights": model["sha256"][WEIGHTS], "lora": model.get("lora"), "files": files}

    def decoded(self, path: Path) -> dict[str, NDArray[np.generic]]:
        """The clip's pixels."""
        from video.files.formats import read_clip

        return {"pixel": read_clip(path).frames}

    def recalled(self, file: Path) -> VideoRequest | None:
        """What the tag inside a clip says."""
        from video.files.formats import look_at, read_clip

        known = file.suffix.lower() in self.endings
        tag = look_at(file, stills=True).tag.get("metadata") if known else None
        if not isinstance(tag, dict) or not tag:
            return None
        if files := tag.get("files"):
            raise Refusal(
                f"{file.name} has no record beside it, and was drawn with {' and '.join(files)}=: "
                "a clip does not hold the files it was drawn with; put its record, "
                f"{file.stem}.json, beside it."
            )
        clip, unmarked = read_clip(file), tag.pop("watermark", None) is None
        frames, height, width, _ = clip.frames.shape
        shape = {"num_frames": frames, "height": height, "width": width, "fps": clip.fps}
        if tag.get("picture") is True:
            shape.pop("num_frames")
        shape |= {"unmarked": unmarked}
        return VideoRequest.model_validate(tag | shape)

    def pictures(self, prepared: Any, drawn: "Clip") -> dict[str, bytes]:
        """An animated preview, and a sheet of all frames where there are several."""
        from video.files.clip import contact_sheet, webp_preview

        preview = webp_preview(drawn, max_kb=PREVIEW_KB)
        if len(drawn.frames) == 1:
            return {"preview": preview}
        return {"preview": preview, "sheet": contact_sheet(drawn)}

    def shown(self, request: VideoRequest, facts: Mapping[str, Any]) -> Facts:
        """Prompt, seed, and what the file holds."""
        held = {name: facts[name] for name in ("frames", "size", "fps", "seconds")}
        said = {
            label: ", ".join(value) if isinstance(value, list) else value
            for name, label in SAID.items()
            if (value := facts.get(name))
        }
        return {"prompt": request.prompt, **said, "seed": request.seed, **held}


def _middle(clip: "Clip") -> "Clip":
    """The clip's middle frame."""
    place = len(clip.frames) // 2
    return replace(clip, frames=clip.frames[place : place + 1])


def _frame_shown(request: VideoRequest) -> Facts:
    """Which frame of what was drawn a picture is; nothing where one was drawn alone."""
    if not request.picture or request.num_frames == 1:
        return {}
    return {"picture": f"frame {request.num_frames // 2} of 0 to {request.num_frames - 1} drawn"}


def _changed_by_encoding(request: VideoRequest, path: Path) -> Facts:
    """What encoding, and a watermark, did to frames that were given; nothing where none were."""
    if request.picture or not (request.first or request.last or request.key):
        return {}
    from video.engines.canvas import Canvas
    from video.engines.pictures import frame_of, given
    from video.files.formats import read_clip

    seen = read_clip(path).frames
    frames, held = np.zeros_like(seen), np.zeros(seen.shape[:3], bool)
    for field, picture in given(request).items():
        frames[frame_of(field)], held[frame_of(field)] = picture.pixels, True
    return Canvas(frames, held).changed_by_encoding(seen)
