"""What a clip of a diffusers folder takes, from sizes alone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.memory import memory_gb
from core.operations.operation import Cost
from video.engines.arithmetic import STEP_S, speed_of
from video.engines.placement import (
    SMALLEST,
    WIDTHS,
    Room,
    gpu_gb,
    main_gb,
    place,
    read_placement,
)
from video.request import VideoRequest

if TYPE_CHECKING:
    from video.engines.diffusers_folder import DiffusersFolder

STATE_BYTES_OF_PIXEL = 1.1  # of a clip under way, at most: four times latents as of Wan, by UniPC
FILE_BYTES_OF_PIXEL = 0.4
"""Of a clip's mp4: filmed ones took 0.01 to 0.05, strong grain 0.35, uniform noise takes 0.81."""
LONGEST_S = 1e7


def needs(engine: "DiffusersFolder", asked: VideoRequest) -> Cost:
    """Seconds, memory and disk, as the engine would be put into this machine's memory.

    Args:
        engine: A folder.
        asked: Settled.
    """
    weights, shape = engine.weights, shape_of(asked.model_dump())
    said = read_placement(engine.placement)
    here = {name: value for name, value in said.items() if name != "offload"}
    how = place(here, weights, *shape, Room(memory_gb()))
    kept = WIDTHS[how.dtype] * weights.values if asked.lora else 0  # as they were, to be put back
    memory = main_gb(how, weights, *shape) + kept / 1e9
    gpu = gpu_gb(replace(SMALLEST, **said), weights, *shape)
    pixels, operations = shape[1], _operations(engine, asked)
    seconds = {device: _seconds(operations, asked.steps, device) for device in ("cpu", "cuda")}
    states = 2 if "resume" in engine.abilities else 0  # the old and the new
    disk_gb = pixels * (16 + states * STATE_BYTES_OF_PIXEL) / 1e9
    kept_state = bool(asked.draft_after) * STATE_BYTES_OF_PIXEL
    stays_gb = pixels * (FILE_BYTES_OF_PIXEL + kept_state) / 1e9
    return Cost(seconds["cpu"], memory, disk_gb, stays_gb, gpu, seconds["cuda"])


def _operations(engine: "DiffusersFolder", asked: VideoRequest) -> float:
    rules, frames = engine.rules, asked.num_frames
    passes = 2 if asked.guidance > 1 and "negative" in engine.abilities else 1
    shape = frames, asked.height, asked.width
    work = engine.survey.work
    return work.of_clip(
        rules.latents_of(frames), shape, asked.steps, passes=passes, words=rules.tokens
    )


def _seconds(operations: float, steps: int, device: str) -> float:
    return min(operations / speed_of(device) + STEP_S * steps, LONGEST_S) + 1.0


def shape_of(asked: Mapping[str, Any]) -> tuple[int, int]:
    """Frames of a clip, and pixels of them all."""
    frames = int(asked.get("num_frames") or 1)
    return frames, frames * int(asked.get("height") or 0) * int(asked.get("width") or 0)
