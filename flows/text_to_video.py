"""The flow ``text_to_video``: a sentence becomes a verified mp4 with its record.

Stages exchange references to files. Everything heavy is imported by the stage that needs it, so
that the form can be made, and the deployment registered, without loading torch.
"""

from pathlib import Path
from typing import Any

from prefect import flow

from core.progress import steps_of, timed
from flows.jobs.stages import clear_work, patient_stage, publishing, run_id, stage, work_folder
from flows.pages.artifacts import announce, data_uri, gallery_page, progress_bar, show_result
from flows.pages.failures import explained
from flows.pages.run_log import join_run_log
from flows.requests.parameters import Asked, OutputName, Project
from flows.settings.settings import read_settings
from flows.storage.delivery import deliver
from flows.storage.files import (
    DEFAULT_PROJECT,
    FileRef,
    checked_project,
    plain_name,
    result_folder,
)
from flows.storage.quota import Quota
from video.request import VideoRequest


@patient_stage
def prepare(request: VideoRequest) -> FileRef:
    """Read the prompt: its text states, on the CPU."""
    from flows.jobs.tensors import write_tensors
    from flows.machines.devices import choose_device, gpu_memory_gb
    from flows.machines.resources import check_here, needed
    from video.engines.own import embed
    from video.engines.text import TextEncoder

    settings = read_settings()
    gpus = gpu_memory_gb(choose_device(settings.device))
    check_here(needed(request, gpus=len(gpus)), settings.outputs, gpus=gpus)
    cond = embed(request, TextEncoder())
    parts = {name: part for name, part in vars(cond).items() if part is not None}
    return write_tensors(work_folder() / "prompt.safetensors", parts)


@stage
def sample(request: VideoRequest, prompt: FileRef) -> FileRef:
    """Draw the clip from noise, holding the GPU if there is one."""
    from core.conditioning import Conditioning
    from core.models.checkpoints import find_model, load_model
    from flows.jobs.tensors import read_tensors, write_tensors
    from flows.machines.devices import choose_device
    from flows.machines.resources import needed
    from flows.machines.watchdog import Patience, holding
    from video.engines.own import sample as draw

    target = work_folder() / "sample.safetensors"
    if target.exists():
        return FileRef.of(target)
    device = choose_device(read_settings().device)
    cond = Conditioning(**read_tensors(prompt))
    bar, wanted = progress_bar("text-to-video-sampling"), needed(request)
    with bar as shown, holding(device, shown, Patience.with_job(wanted.minutes)) as meter:
        network, record = load_model(find_model(request.model, "video"), device=device)
        drawn = draw(request, cond, network, record, on_step=steps_of(meter))
    return write_tensors(target, {"clip": drawn.cpu()})


@stage
def decode(sampled: FileRef) -> FileRef:
    """Turn the sample into frames."""
    from flows.jobs.tensors import read_tensors, write_tensors
    from video.engines.own import to_frames

    frames = to_frames(read_tensors(sampled)["clip"])
    return write_tensors(work_folder() / "frames.safetensors", {"frames": frames})


@patient_stage
def encode(request: VideoRequest, frames: FileRef, folder: Path) -> FileRef:
    """Write the frames as mp4, decoded back and compared before it gets its name."""
    from flows.jobs.tensors import read_tensors
    from flows.jobs.video import write_clip
    from video.files.clip import Clip

    clip = Clip(read_tensors(frames)["frames"].numpy(), request.fps)
    name = plain_name(request.prompt, "clip")
    return FileRef.of(write_clip(clip, folder / f"{name}.mp4", request, overwrite=True))


@patient_stage
def verify(request: VideoRequest, video: FileRef) -> dict[str, Any]:
    """Read the file back and hold it against the request; what was found."""
    from flows.jobs.video import check_clip

    return check_clip(video.open(), request)


@patient_stage
def report(
    request: VideoRequest, video: FileRef, facts: dict[str, Any], timings: dict[str, float]
) -> FileRef:
    """Write the record and the pictures, and show the clip inside the page of the run."""
    from core.models.checkpoints import find_model, read_record
    from flows.jobs.video import record_clip, save_pictures

    path = video.open()
    model = read_record(find_model(request.model, "video"))
    record = record_clip(path, request, model, facts, timings, overwrite=True)
    shown = {"prompt": request.prompt, "seed": request.seed, **facts, "file": path}
    picture = data_uri(save_pictures(path), "webp")
    outputs = read_settings().outputs
    page = gallery_page(record, outputs)
    recorded = FileRef.of(record)
    files = {"clip": video, "record": recorded}
    show_result(request.prompt, picture, shown, page, files)
    announce({"video": video}, outputs, page)
    return recorded


@flow(name="text_to_video", log_prints=True)
@explained
def text_to_video(
    request: Asked[VideoRequest], output_name: OutputName = "", project: Project = DEFAULT_PROJECT
) -> dict[str, FileRef]:
    """Turn a sentence into a clip.

    The mp4, its pictures and its record go into a new folder under the outputs root.

    Args:
        request: What to show, and how.
        output_name: Name of the result's folder; empty to name it after the prompt.
        project: Project to file the result under: lower case letters, digits and dashes.
    """
    join_run_log()
    timings: dict[str, float] = {}
    name = plain_name(output_name or request.prompt, "clip")
    Quota(read_settings(), checked_project(project)).check()
    folder = result_folder(read_settings().outputs, project, "text_to_video", name, run_id())
    with timed(timings, "prepare"):
        prompt = prepare(request)
    with timed(timings, "sample"):
        sampled = sample(request, prompt)
    with publishing(folder):
        with timed(timings, "encode"):
            video = encode(request, decode(sampled), folder)
        with timed(timings, "verify"):
            facts = verify(request, video)
        record = report(request, video, facts, timings)
    deliver(folder)
    clear_work()
    return {"video": video, "record": record}
