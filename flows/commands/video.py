"""``lamina video``: clips from sentences, in this process."""

from pathlib import Path

from core.progress import terminal_meter
from core.refusal import Refusal
from flows.commands.options import options_of
from flows.settings.settings import read_settings
from flows.storage.files import check_target
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
    if output.suffix.lower() != ".mp4":
        raise Refusal(f"{output.name}: clips are written as mp4; give a name ending in .mp4.")
    for path in (output, output.with_suffix(".json")):
        check_target(path, overwrite=overwrite)
    from core.models.checkpoints import find_model
    from flows.jobs.video import make_clip
    from flows.machines.devices import choose_device
    from flows.machines.resources import needed
    from flows.machines.watchdog import Patience, holding
    from video.engines.own import VideoModel

    find_model(request.model, "video")
    device = choose_device(read_settings().device)
    model = VideoModel.load(request.model, device=device)
    patience = Patience.with_job(needed(request).minutes)
    with terminal_meter("sampling") as bar, holding(device, bar, patience) as meter:
        make_clip(request, output, model, meter=meter, overwrite=overwrite)
    print(output)
