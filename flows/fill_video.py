"""The flow ``fill_video``: a part of a clip is painted anew, or more around it."""

from flows.jobs.job_stages import Refs, run_stages
from flows.pages.failures import explained_flow
from flows.pages.run_names import title_by
from flows.requests.parameters import Asked, OutputName, Project
from flows.storage.files import DEFAULT_PROJECT
from video.change_request import FillRequest
from video.operations.fill_video import FillVideo

OPERATION = FillVideo()


@explained_flow(title_by(OPERATION))
def fill_video(
    request: Asked[FillRequest],
    output_name: OutputName = "",
    project: Project = DEFAULT_PROJECT,
) -> Refs:
    """Paint a part of a clip anew, or more around it.

    The filled clip, with its own sound, and its record go into a new folder under the outputs
    root; pixels outside of the mask stay as they are before encoding.

    Args:
        request: Which clip, and how.
        output_name: Name of the result and its folder; empty to name it after the clip.
        project: Project to file the result under: lower case letters, digits and dashes.
    """
    return run_stages(OPERATION, request, output_name, project)
