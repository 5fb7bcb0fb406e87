"""``text_to_video``: a clip from a sentence, drawn by a model of ours.

Everything heavy is imported where it is needed: forms and commands read this without torch.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.operations.operation import Cost, Facts, Model, NotAsAskedError, OnStep, Paths, Reading
from core.refusal import Refusal
from video.request import VideoRequest

if TYPE_CHECKING:
    from core.conditioning import Conditioning
    from video.engines.text import TextEncoder
    from video.files.clip import Clip

# Measured with scenes-64 in float32 on one core of a server CPU, 16 to 128 frames and 64 to 128
# pixels a side, within a quarter: seconds = FIXED + steps * (LINEAR * n + SQUARE * n**2), n in
# millions of pixels (attention is square in it)
FIXED_S, LINEAR_S, SQUARE_S = 0.3, 0.3, 0.6  # with the layout
BASE_GB, GB_PER_MILLION = 0.62, 0.14
BYTES_ON_DISK = 16.0  # of a pixel's results and unfinished work
RESULT_BYTES = 2.0  # of a pixel, at most
TAGGED = {"prompt", "seed", "model", "steps", "sampler", "guidance"}
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
    ending = ".mp4"
    noun = "clip"
    private = False

    def title(self, request: VideoRequest) -> str:
        """The prompt."""
        return request.prompt

    def inputs(self, request: VideoRequest) -> Paths:
        """None: a sentence is all there is."""
        return {}

    def outputs(self, target: Path) -> Paths:
        """The clip alone."""
        if target.suffix.lower() != self.ending:
            raise Refusal(f"{target.name}: clips are written as mp4; give a name ending in .mp4.")
        return {"video": target}

    def read(self, request: VideoRequest, *, strict: bool = False) -> Reading:
        """With the prompt corrected, where the model knows the procedural world alone."""
        from core.models.checkpoints import find_model, read_record
        from video.engines.served_prompts import serve

        return serve(request, read_record(find_model(request.model, self.kind)), strict=strict)

    def check(self, request: VideoRequest) -> None:
        """Refuse a model that is not installed."""
        from core.models.checkpoints import find_model

        find_model(request.model, self.kind)

    def cost(self, request: VideoRequest) -> Cost:
        """By frames, pixels and steps."""
        n = request.num_frames * request.height * request.width / 1e6
        seconds = request.steps * (LINEAR_S * n + SQUARE_S * n * n) + FIXED_S
        memory_gb, per_million = BASE_GB + GB_PER_MILLION * n, n / 1e3
        disk_gb, results_gb = BYTES_ON_DISK * per_million, RESULT_BYTES * per_million
        return Cost(seconds, memory_gb, disk_gb, results_gb)

    def load(self, folder: Path, device: Any) -> Model:
        """The network, and what is known of it."""
        from core.models.checkpoints import load_model

        return Model(*load_model(folder, device=device))

    @cached_property
    def _encoder(self) -> "TextEncoder":
        from video.engines.text import TextEncoder

        return TextEncoder()

    def prepare(self, request: VideoRequest) -> "Conditioning":
        """The prompt's text states."""
        from video.engines.own import embed

        return embed(request, self._encoder)

    def draw(
        self, request: VideoRequest, prepared: "Conditioning", model: Model, on_step: OnStep
    ) -> "Clip":
        """The clip's frames."""
        from video.engines.own import frame_rate, sample, to_frames
        from video.files.clip import Clip

        x = sample(request, prepared, model.network, model.record, on_step=on_step)
        return Clip(to_frames(x.cpu()).numpy(), frame_rate(request))

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
        """Write the mp4, verified, with prompt, seed and model in its tag."""
        from video.files.clip import write_mp4

        tag = request.model_dump(include=TAGGED)
        return {"video": write_mp4(drawn, target, metadata=tag, overwrite=overwrite)}

    def numbers(self, drawn: "Clip") -> Facts:
        """None: the file holds all there is."""
        return {}

    def verify(self, request: VideoRequest, paths: Mapping[str, Path]) -> Facts:
        """Hold what the file says of frames, size and prompt against the request.

        Nothing is decoded: its pixels were compared when it was written.
        """
        from video.files.clip import exact_rate
        from video.files.footage import look

        path = paths["video"]
        footage = look(path)
        stored, said = footage.stored, footage.tag
        found = (footage.count, *stored, said.get("size"), said.get("metadata", {}).get("prompt"))
        height, width = request.height, request.width
        even = (height + height % 2, width + width % 2)
        asked = (request.num_frames, *even, [height, width], request.prompt)
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
        }

    def decoded(self, path: Path) -> dict[str, NDArray[np.generic]]:
        """The clip's pixels."""
        from video.files.clip import read_mp4

        return {"pixel": read_mp4(path).frames}

    def recalled(self, file: Path) -> VideoRequest | None:
        """What the tag inside a clip says."""
        from video.files.clip import read_metadata, read_mp4

        tag = read_metadata(file) if file.suffix.lower() == self.ending else {}
        if not tag:
            return None
        clip = read_mp4(file)
        frames, height, width, _ = clip.frames.shape
        shape = {"num_frames": frames, "height": height, "width": width, "fps": clip.fps}
        return VideoRequest.model_validate(tag | shape)

    def pictures(self, prepared: "Conditioning", drawn: "Clip") -> dict[str, bytes]:
        """An animated preview, and a sheet of all frames."""
        from video.files.clip import contact_sheet, webp_preview

        preview = webp_preview(drawn, max_kb=PREVIEW_KB)
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
