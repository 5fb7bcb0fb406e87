"""The flow ``text_to_video``: a sentence becomes a verified clip or picture, recorded."""

from flows.jobs.job_stages import Refs, run_several
from flows.pages.failures import explained_flow
from flows.pages.run_names import title_by
from flows.requests.parameters import Asked, OutputName, Project, Several
from flows.storage.files import DEFAULT_PROJECT
from video.operations.text_to_video import TextToVideo
from video.request import VideoRequest
from video.several import seeded

OPERATION = TextToVideo()


@explained_flow(title_by(OPERATION))
def text_to_video(
    request: Asked[VideoRequest],
    output_name: OutputName = "",
    project: Project = DEFAULT_PROJECT,
    count: Several = 1,
) -> Refs:
    """Turn a sentence into a clip, or into a picture.

    The clip, its pictures and its record go into a new folder under the outputs root.

    Args:
        request: What to show, and how.
        output_name: Name of the result and its folder; empty to name it after the prompt. With the
            ending .webm, .gif or .webp the clip is that kind of file, and with .png or .jpg it is
            a picture, else an mp4.
        project: Project to file the result under: lower case letters, digits and dashes.
        count: How many clips, 1 to 64, as NAME-1, NAME-2 and on, each with a seed that follows
            from the one given.
    """
    return run_several(OPERATION, seeded(request, count), output_name, project)
