"""The steps around a clip that the flow and the command line take alike.

The command takes them one after another in one process, the flow as stages with files between
them; both write the same file, the same record and the same pictures.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.progress import Meter, steps_of, timed
from core.records import atomic_path, write_record
from flows.jobs.models import recorded
from video.engines.own import VideoModel, generate
from video.files.clip import Clip, contact_sheet, read_metadata, read_mp4, webp_preview, write_mp4
from video.request import VideoRequest

TASK = "text_to_video"


def make_clip(
    request: VideoRequest,
    path: Path,
    model: VideoModel,
    *,
    meter: Meter | None = None,
    overwrite: bool = False,
) -> Path:
    """Everything in one process: sample, write, verify, record; the clip's path.

    Args:
        request: What to show.
        path: The mp4 to write; its record goes beside it.
        model: Loaded, on the device that shall sample.
        meter: Told how many sampling steps are done.
        overwrite: Replace files that already stand there.
    """
    timings: dict[str, float] = {}
    with timed(timings, "sample"):
        clip = generate(request, model, on_step=steps_of(meter) if meter else _ignore)
    with timed(timings, "encode"):
        write_clip(clip, path, request, overwrite=overwrite)
    with timed(timings, "verify"):
        facts = check_clip(path, request)
    record_clip(path, request, model.record, facts, timings, overwrite=overwrite)
    return path


def write_clip(clip: Clip, path: Path, request: VideoRequest, *, overwrite: bool) -> Path:
    """Write the mp4, verified, with prompt, seed and model in its tag."""
    tag = request.model_dump(include={"prompt", "seed", "model", "steps", "sampler", "guidance"})
    return write_mp4(clip, path, metadata=tag, overwrite=overwrite)


def check_clip(path: Path, request: VideoRequest) -> dict[str, Any]:
    """What the file holds, after holding it against the request.

    Raises:
        RuntimeError: The file decodes to something other than what was asked for.
    """
    clip, tag = read_mp4(path), read_metadata(path)
    found = (*clip.frames.shape[:3], tag.get("prompt"))
    asked = (request.num_frames, request.height, request.width, request.prompt)
    if found != asked:
        raise RuntimeError(
            f"{path.name} holds {found}: frames, height, width and prompt should be {asked}; "
            "generate it again."
        )
    return {
        "frames": len(clip.frames),
        "size": f"{clip.frames.shape[2]} x {clip.frames.shape[1]}",
        "fps": clip.fps,
        "seconds": round(clip.seconds, 3),
    }


def record_clip(
    path: Path,
    request: VideoRequest,
    model: Mapping[str, Any],
    facts: Mapping[str, Any],
    timings: Mapping[str, float],
    *,
    overwrite: bool,
) -> Path:
    """Write the record beside the clip."""
    return write_record(
        path.with_suffix(".json"),
        task=TASK,
        request=request.model_dump(),
        outputs={"video": path},
        model=recorded(model),
        seeds=request.seed,
        timings=timings,
        extra=facts,
        overwrite=overwrite,
    )


def save_pictures(path: Path) -> bytes:
    """Write an animated preview and a sheet of all frames beside a clip; return the preview."""
    clip = read_mp4(path)
    preview = webp_preview(clip, max_kb=100)
    for picture, image in {".webp": preview, ".png": contact_sheet(clip)}.items():
        with atomic_path(path.with_suffix(picture), overwrite=True) as temporary:
            temporary.write_bytes(image)
    return preview


def _ignore(done: int, total: int, estimate: object) -> None:
    """Nobody watches."""
