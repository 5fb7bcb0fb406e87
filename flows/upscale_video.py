"""The flow ``upscale_video``: a clip with more pixels."""

from flows.jobs.job_stages import Refs, run_stages
from flows.pages.failures import explained_flow
from flows.pages.run_names import title_by
from flows.requests.parameters import Asked, OutputName, Project
from flows.storage.files import DEFAULT_PROJECT
from video.operations.clip_filters import UpscaleVideo
from video.request import UpscaleRequest

OPERATION = UpscaleVideo()


@explained_flow(title_by(OPERATION))
def upscale_video(
    request: Asked[UpscaleRequest],
    output_name: OutputName = "",
    project: Project = DEFAULT_PROJECT,
) -> Refs:
    """Give a clip more pixels, by Lanczos' kernel.

    The larger clip, with its own sound, and its record go into a new folder under the outputs
    root.

    Args:
        request: Which clip, and how.
        output_name: Name of the result and its folder; empty to name it after the clip.
        project: Project to file the result under: lower case letters, digits and dashes.
    """
    return run_stages(OPERATION, request, output_name, project)
