"""The flow ``edit_video``: a clip is changed by another prompt."""

from flows.jobs.job_stages import Refs, run_stages
from flows.pages.failures import explained_flow
from flows.pages.run_names import title_by
from flows.requests.parameters import Asked, OutputName, Project
from flows.storage.files import DEFAULT_PROJECT
from video.change_request import EditRequest
from video.operations.edit_video import EditVideo

OPERATION = EditVideo()


@explained_flow(title_by(OPERATION))
def edit_video(
    request: Asked[EditRequest],
    output_name: OutputName = "",
    project: Project = DEFAULT_PROJECT,
) -> Refs:
    """Make a clip show what a prompt says, where it showed something else.

    The changed clip, with its own sound, and its record go into a new folder under the outputs
    root.

    Args:
        request: Which clip, and how.
        output_name: Name of the result and its folder; empty to name it after the clip.
        project: Project to file the result under: lower case letters, digits and dashes.
    """
    return run_stages(OPERATION, request, output_name, project)
