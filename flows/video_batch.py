"""The flow ``video_batch``: clips for a file of prompts, one after another, by night.

The network is loaded once. A clip that stands with its record is skipped, so a batch that was
interrupted, or whose prompt file grew, makes only what is missing.
"""

import hashlib
from pathlib import Path

from prefect import flow

from flows._artifacts import ArtifactMeter, show_facts
from flows._files import plain_name
from flows._progress import Clock
from flows._requests import VideoBatchRequest
from flows._run_log import join_run_log
from flows._settings import read_settings
from flows._stages import patient_stage, stage
from video.request import VideoRequest


@patient_stage
def prepare(request: VideoBatchRequest) -> list[VideoRequest]:
    """Read the prompts; one request per line."""
    path = Path(request.prompt_file)
    if not path.is_file():
        raise ValueError(
            f"prompt_file={path}: there is no such file; write one prompt per line and name it "
            "by its full path."
        )
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    requests = [request.request(line) for line in lines if line]
    if not requests:
        raise ValueError(
            f"prompt_file={path}: it holds no prompt, only empty lines and comments; write one "
            "prompt per line."
        )
    return requests


@stage
def generate(requests: list[VideoRequest], folder: Path) -> int:
    """Make every missing clip, holding the GPU if there is one; how many were made."""
    from flows._devices import choose_device, slot
    from flows._video import make_clip
    from video.generate import VideoModel

    targets = {clip_path(request, folder): request for request in requests}
    missing = [(r, path) for path, r in targets.items() if not path.with_suffix(".json").exists()]
    if not missing:
        return 0
    meter, clock = ArtifactMeter("video-batch-progress"), Clock()
    device = choose_device(read_settings().device)
    with slot(device):
        model = VideoModel.load(missing[0][0].model, device=device)
        for count, (request, path) in enumerate(missing, 1):
            make_clip(request, path, model, overwrite=True)
            meter(count, len(missing), clock.says(count, len(missing)))
    return len(missing)


def clip_path(request: VideoRequest, folder: Path) -> Path:
    """The clip's file, named after its prompt and everything else that was asked."""
    identity = hashlib.sha256(request.model_dump_json().encode()).hexdigest()[:8]
    return folder / f"{plain_name(request.prompt, 'clip')}-{identity}.mp4"


@flow(name="video_batch", log_prints=True)
def video_batch(request: VideoBatchRequest) -> int:
    """Make a clip for every line of a prompt file.

    Clips are collected in the folder of the batch; those that stand already are skipped.

    Args:
        request: Which prompts, and how.
    """
    join_run_log()
    folder = read_settings().outputs / "video_batch" / plain_name(request.name, "batch")
    folder.mkdir(parents=True, exist_ok=True)
    requests = prepare(request)
    made = generate(requests, folder)
    facts = {"prompts": len(requests), "made now": made, "folder": folder}
    show_facts("video-batch", f"Batch {request.name}", facts)
    return made
