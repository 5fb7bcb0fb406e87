"""``TextToVideoPipeline``: clips from sentences, in the manner of diffusers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor

from core.progress import counted
from core.refusal import Refusal
from lamina.calls import understood
from lamina.operations import OPERATIONS
from lamina.pipelines import WATCHED, Callback, Generators, ModelPipeline
from video.engines.own import frame_rate, sample, to_frames
from video.files.clip import Clip
from video.request import VideoRequest


@dataclass
class TextToVideoOutput(BaseOutput):
    """What ``TextToVideoPipeline`` hands back.

    Attributes:
        frames: The clips, as ``output_type`` says.
        seeds: One per clip; the same seed gives the same clip anywhere.
    """

    frames: Any
    seeds: list[int]


class TextToVideoPipeline(ModelPipeline):
    """Clips from sentences; the same as ``lamina video generate`` makes of the same seed.

    >>> from lamina import TextToVideoPipeline
    >>> pipe = TextToVideoPipeline.from_pretrained("scenes-64")
    >>> pipe.set_progress_bar_config(disable=True)
    >>> pipe("a blue square moves up", num_frames=4, num_inference_steps=1).frames.shape
    (1, 4, 64, 64, 3)
    """

    kind: ClassVar[str] = "video"
    most_seed: ClassVar[int] = 2**63 - 1

    def __call__(  # noqa: PLR0913  the arguments of diffusers' pipelines
        self,
        prompt: str | Sequence[str],
        *,
        num_frames: int | None = None,
        fps: float | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        num_videos_per_prompt: int = 1,
        generator: Generators = None,
        output_type: str = "np",
        return_dict: bool = True,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = WATCHED,
    ) -> TextToVideoOutput | tuple[Any]:
        """Draw a clip, or several, each alone, so that none depends on its neighbors.

        Args:
            prompt: What to show, in one sentence; or several of them.
            num_frames: Of each clip; what is left out is as ``lamina video generate`` has it.
            fps: Frames per second.
            height: In pixels.
            width: In pixels.
            num_inference_steps: Sampling steps.
            guidance_scale: How strictly the prompt is followed, 1 to 8.
            num_videos_per_prompt: Clips of each sentence.
            generator: One for all clips or one for each. One that is fresh from
                ``manual_seed(7)`` gives the clip of seed 7. ``None`` gives other clips each time.
            output_type: "np", (N, D, H, W, 3) in [0, 1]; "pt", (N, D, 3, H, W) in [0, 1]; "pil",
                lists of images; "clip", what ``lamina.write_mp4`` takes; "latent",
                (N, 3, D, H, W) in [-1, 1].
            return_dict: Whether to hand back the seeds as well; else a tuple of the clips alone.
            callback_on_step_end: Shown pipeline, step, steps left and the estimate so far; it
                only watches.
            callback_on_step_end_tensor_inputs: What it is shown: ``["latents"]``, or nothing.

        Raises:
            ValueError: A field is not one that may be asked for, or has no such value.
        """
        if output_type not in OUTPUTS:
            raise Refusal(
                f"output_type={output_type!r}: clips come in one of {sorted(OUTPUTS)}; name one."
            )
        asked = {
            "num_frames": num_frames, "fps": fps, "height": height, "width": width,
            "steps": num_inference_steps, "guidance": guidance_scale,
        }  # fmt: skip
        fields = {name: value for name, value in asked.items() if value is not None}
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        wanted = [each for each in prompts for _ in range(num_videos_per_prompt)]
        if not wanted:
            raise Refusal(
                f"{counted(len(prompts), 'prompt')} and "
                f"num_videos_per_prompt={num_videos_per_prompt}: that "
                "asks for no clip; give at least one of each."
            )
        seeds = self._seeds(generator, len(wanted))
        named = self.record["name"]
        requests = [
            understood(VideoRequest(prompt=each, seed=seed, model=named, **fields), self.record)
            for each, seed in zip(wanted, seeds, strict=True)
        ]
        count, names = len(wanted), callback_on_step_end_tensor_inputs
        with self._watched(callback_on_step_end, names, count) as on_step:
            drawn = [self._draw(request, on_step) for request in requests]
        frames = OUTPUTS[output_type](torch.cat(drawn), frame_rate(requests[0]))
        return TextToVideoOutput(frames, seeds) if return_dict else (frames,)

    def _draw(self, request: VideoRequest, on_step: Any) -> Tensor:
        told = OPERATIONS["text_to_video"].prepare(request)
        walk = self._walk(request.seed)
        return sample(request, told, self.network, self.record, on_step=on_step, walk=walk)


def _clips(x: Tensor, fps: float) -> list[Clip]:
    return [Clip(to_frames(one[None]).numpy(), fps) for one in x]


def _pictures(x: Tensor, fps: float) -> list[list[Image.Image]]:
    return [[Image.fromarray(frame) for frame in clip.frames] for clip in _clips(x, fps)]


def _shares(x: Tensor, fps: float) -> Tensor:
    return (x.float().cpu().permute(0, 2, 1, 3, 4) / 2 + 0.5).clamp(0, 1)


OUTPUTS: dict[str, Callable[[Tensor, float], Any]] = {
    "np": lambda x, fps: _shares(x, fps).permute(0, 1, 3, 4, 2).numpy(),
    "pt": _shares,
    "pil": _pictures,
    "clip": _clips,
    "latent": lambda x, fps: x,
}
"""By ``output_type``: (N, 3, D, H, W) in [-1, 1] and the rate -> what is handed back."""
