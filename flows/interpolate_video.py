"""The flow ``interpolate_video``: a clip with more frames in the same time."""

from flows.jobs.job_stages import Refs, run_stages
from flows.pages.failures import explained_flow
from flows.pages.run_names import title_by
from flows.requests.parameters import Asked, OutputName, Project
from flows.storage.files import DEFAULT_PROJECT
from video.operations.clip_filters import InterpolateVideo
from video.request import InterpolateRequest

OPERATION = InterpolateVideo()


@explained_flow(title_by(OPERATION))
def interpolate_video(
    request: Asked[InterpolateRequest],
    output_name: OutputName = "",
    project: Project = DEFAULT_PROJECT,
) -> Refs:
    """Give a clip more frames in the same time, moved along the motion.

    The smoother clip, with its own sound, and its record go into a new folder under the
    outputs root; the frames that were there stay as they are before encoding.

    Args:
        request: Which clip, and how.
        output_name: Name of the result and its folder; empty to name it after the clip.
        project: Project to file the result under: lower case letters, digits and dashes.
    """
    return run_stages(OPERATION, request, output_name, project)
