"""``lamina video``: clips from sentences and from clips, in this process."""

from pathlib import Path

from flows.commands.options import options_of
from flows.commands.single import run_here
from video.change_request import EditRequest, ExtendRequest, FillRequest
from video.request import InterpolateRequest, UpscaleRequest, VideoRequest


@options_of(VideoRequest, given=("prompt",))
def generate(
    prompt: str,
    output: Path,
    /,
    *,
    request: VideoRequest,
    strict: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    preview: Path | None = None,
    count: int = 1,
) -> None:
    """Turn a sentence into a clip, into several, or into a picture.

    Beside the clip its record is written, under the same name with the ending .json.

    Args:
        prompt: What the clip should show, in one sentence.
        output: The file to write; its ending says the kind: .mp4, .webm, .gif or .webp, or .png
            or .jpg for a picture.
        strict: Refuse a prompt of which a word is not understood.
        overwrite: Replace files that already stand there.
        dry_run: Only say what it would take, or refuse it; nothing is drawn.
        preview: A file ending in .webp that shows every few seconds what is predicted so far, at
            a hundredth of the time; a clip that is ready sooner has none. Several are written as
            those of the clips.
        count: How many clips, 1 to 64, each with a seed that follows from the one given; several
            are written as OUT-1.mp4, OUT-2.mp4 and on.
    """
    from flows.jobs.pipeline import check_targets
    from video.operations.text_to_video import TextToVideo
    from video.several import several

    request = TextToVideo().for_file(request, output.name)
    clips = several(request, output, count)
    for one, target in clips if count > 1 else ():
        check_targets(TextToVideo(), one, target, overwrite=overwrite)
    looks = several(request, preview, count) if preview else [(request, None)] * len(clips)
    for (one, target), (_, look) in zip(clips, looks, strict=True):
        run_here(one, target, overwrite=overwrite, strict=strict, dry_run=dry_run, preview=look)


@options_of(UpscaleRequest, given=("clip",))
def upscale(
    clip: str, output: Path, /, *, request: UpscaleRequest, overwrite: bool = False
) -> None:
    """Give a clip more pixels, by Lanczos' kernel; its own sound is kept.

    Args:
        clip: The clip.
        output: The file to write; its ending says the kind: .mp4, .webm, .gif or .webp.
        overwrite: Replace files that already stand there.
    """
    run_here(request, output, overwrite=overwrite)


@options_of(InterpolateRequest, given=("clip",))
def interpolate(
    clip: str, output: Path, /, *, request: InterpolateRequest, overwrite: bool = False
) -> None:
    """Give a clip more frames in the same time, moved along the motion; its own sound is kept.

    Args:
        clip: The clip.
        output: The file to write; its ending says the kind: .mp4, .webm, .gif or .webp.
        overwrite: Replace files that already stand there.
    """
    run_here(request, output, overwrite=overwrite)


def verify(file: Path, /, *, json: bool = False) -> int:
    """Say where a clip comes from: its manifest, its watermark and the record beside it.

    The exit code is 0 if it is signed and whole (Trusted: by a root that is trusted here; Valid:
    by another), 1 if it or its record contradicts (Invalid), 3 if nothing signs it, and 2 if it
    cannot be read.

    Args:
        file: A clip.
        json: Print all of it as JSON.
    """
    from json import dumps

    from flows.jobs.verification import lines, origin_of

    origin = origin_of(file, pixels=True)
    print(dumps(origin.plain(), indent=2) if json else "\n".join(lines(origin)))
    return origin.code


@options_of(ExtendRequest, given=("clip",))
def extend(clip: str, output: Path, /, *, request: ExtendRequest, overwrite: bool = False) -> None:
    """Let a clip go on, after its last frame or before its first.

    Its own frames stay bit for bit until they are encoded.

    Args:
        clip: The clip.
        output: The file to write; its ending says the kind: .mp4, .webm, .gif or .webp.
        overwrite: Replace files that already stand there.
    """
    run_here(request, output, overwrite=overwrite)


@options_of(FillRequest, given=("clip",))
def fill(clip: str, output: Path, /, *, request: FillRequest, overwrite: bool = False) -> None:
    """Paint a part of a clip anew, or more around it; its own sound is kept.

    Pixels outside of the mask stay bit for bit until they are encoded.

    Args:
        clip: The clip.
        output: The file to write; its ending says the kind: .mp4, .webm, .gif or .webp.
        overwrite: Replace files that already stand there.
    """
    run_here(request, output, overwrite=overwrite)


@options_of(EditRequest, given=("clip", "prompt"))
def edit(
    clip: str, prompt: str, output: Path, /, *, request: EditRequest, overwrite: bool = False
) -> None:
    """Make a clip show what a prompt says, where it showed something else.

    Args:
        clip: The clip.
        prompt: What it shall show, in one sentence.
        output: The file to write; its ending says the kind: .mp4, .webm, .gif or .webp.
        overwrite: Replace files that already stand there.
    """
    run_here(request, output, overwrite=overwrite)


def understand(prompt: str, /) -> None:
    """Say how a prompt is read by a model of the procedural world; nothing is drawn.

    Args:
        prompt: What a clip should show, in one sentence.
    """
    from video.world import understanding

    reading = understanding.understand(prompt)
    if not reading.refused:
        print(f"drawn: {reading.prompt}")
    said = understanding.statements(reading.claims, counts=not reading.refused)
    for line in [*said, *reading.remarks()]:
        print(line)
    for reason in reading.refused:
        print(f"refused: {reason}")


def vocabulary() -> None:
    """List the words of the procedural world: shapes, colors, motions, backgrounds, counts."""
    from video.world.understanding import VOCABULARY

    for kind, words in VOCABULARY.items():
        print(f"{kind}: {', '.join(words)}")
