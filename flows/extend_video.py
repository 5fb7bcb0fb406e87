"""The flow ``extend_video``: a clip goes on after its end or before its beginning."""

from flows.jobs.job_stages import Refs, run_stages
from flows.pages.failures import explained_flow
from flows.pages.run_names import title_by
from flows.requests.parameters import Asked, OutputName, Project
from flows.storage.files import DEFAULT_PROJECT
from video.change_request import ExtendRequest
from video.operations.extend_video import ExtendVideo

OPERATION = ExtendVideo()


@explained_flow(title_by(OPERATION))
def extend_video(
    request: Asked[ExtendRequest],
    output_name: OutputName = "",
    project: Project = DEFAULT_PROJECT,
) -> Refs:
    """Let a clip go on, after its last frame or before its first.

    The longer clip and its record go into a new folder under the outputs root; the frames that
    were there stay as they are before encoding.

    Args:
        request: Which clip, and how.
        output_name: Name of the result and its folder; empty to name it after the clip.
        project: Project to file the result under: lower case letters, digits and dashes.
    """
    return run_stages(OPERATION, request, output_name, project)
