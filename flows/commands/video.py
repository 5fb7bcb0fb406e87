"""``lamina video``: clips from sentences, in this process."""

from pathlib import Path

from flows.commands.options import options_of
from flows.commands.single import run_here
from video.request import VideoRequest


@options_of(VideoRequest, given=("prompt",))
def generate(
    prompt: str, output: Path, /, *, request: VideoRequest, overwrite: bool = False
) -> None:
    """Turn a sentence into a clip.

    Beside the clip its record is written, under the same name with the ending .json.

    Args:
        prompt: What the clip should show, in one sentence.
        output: The mp4 file to write.
        overwrite: Replace files that already stand there.
    """
    run_here(request, output, overwrite=overwrite)
