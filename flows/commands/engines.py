"""``lamina engines``: what can draw clips here, what each takes, and what a clip of it costs."""

from pathlib import Path

from core.progress import Clock, counted, duration
from core.refusal import Refusal
from video.operations.table import OPERATIONS
from video.request import VideoRequest

PROMPT = "a cat runs"


def list_engines() -> None:
    """List the engines in the folders that LAMINA_ENGINES names: name, kind, what, folder."""
    from video.engines.folder_files import EngineFolder
    from video.engines.places import servers
    from video.engines.shelf import folders

    rows = [("own", "own", "our own model", "")]
    for folder in folders():
        try:
            said = EngineFolder(folder).pipeline
        except Refusal as refusal:
            said = f"refused: {refusal}"
        rows.append((folder.name, "diffusers", said, str(folder)))
    rows += [(name, "server", address, "") for name, address in sorted(servers().items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def check(folder: str, /) -> None:
    """Look an engine over without reading its weights; refuse it where clips could not be made.

    Args:
        folder: A name that `lamina engines list` shows, a folder, written with a slash, or a
            server's address.
    """
    from video.engines.shelf import find_engine
    from video.engines.video_server import VideoServer

    clock = Clock()
    engine = find_engine(_meant(folder))
    if isinstance(engine, VideoServer):
        engine.look()
    assert engine.rules
    print(f"{engine.name}: {engine.kind} engine, as it should be ({clock.passed():.1f} s)")


def show(folder: str, /) -> None:
    """Show what an engine can, its rules, and what a clip of its usual size costs here.

    Args:
        folder: A name that `lamina engines list` shows, a folder, written with a slash, or a
            server's address.
    """
    from flows.machines.resources import needed
    from video.engines.diffusers_folder import DiffusersFolder
    from video.engines.shelf import find_engine

    name = _meant(folder)
    engine = find_engine(name)
    asked = VideoRequest.model_validate({"prompt": PROMPT, "engine": name})
    rules, usual = engine.rules, engine.settled(asked)
    print(f"{engine.name}: {engine.kind} engine")
    print(f"can: {', '.join(sorted(engine.abilities))}")
    shown = ", ".join(map(str, rules.frames[:6]))
    print(f"frames: {shown + ', ...' if shown else 'any number'}")
    print(f"width, height: multiples of {rules.side}")
    print(f"words: at most {rules.tokens or 'any number of'} tokens of a prompt")
    if not usual.num_frames:
        print("usual: frames, width and height are given with each request")
        return
    print(
        f"usual: {counted(usual.num_frames, 'frame')} of {usual.width} x {usual.height} at "
        f"{usual.fps:g} a second, {counted(usual.steps, 'step')}, guidance {usual.guidance:g}"
    )
    if isinstance(engine, DiffusersFolder):
        print(f"on this machine's CPUs: {engine.placed().told()}")
    wanted = needed(OPERATIONS["text_to_video"], usual)
    print(f"such a clip: {wanted.memory_gb:.1f} GB memory, {duration(60 * wanted.minutes)}")


def _meant(folder: str) -> str:
    """The name, or the folder here of that name."""
    return f"./{folder}" if "/" not in folder and Path(folder).is_dir() else folder
