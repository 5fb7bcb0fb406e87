"""The kinds of file a clip is written as, told apart by the name's ending."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from core.refusal import Refusal
from video.files.animations import is_animation, look_at_animation, refuse_rate, write_animation
from video.files.clip import Clip, kept, write_film
from video.files.footage import Footage, look

__all__ = ["refuse_rate"]
WRITERS: dict[str, Callable[..., Path]] = {
    ".mp4": write_film,
    ".webm": write_film,
    ".gif": write_animation,
    ".webp": write_animation,
}
ANIMATIONS = (".gif", ".webp")


def refuse_ending(name: str) -> None:
    """Refuse a name whose ending is that of no kind of clip.

    >>> refuse_ending("clip.avi")
    Traceback (most recent call last):
    core.refusal.Refusal: clip.avi: clips are written as .mp4, .webm, .gif or .webp; ...
    """
    if Path(name).suffix.lower() not in WRITERS:
        *most, last = WRITERS
        raise Refusal(
            f"{name}: clips are written as {', '.join(most)} or {last}; give a name with one of "
            "these endings."
        )


def stored_size(name: str, height: int, width: int) -> tuple[int, int]:
    """Height and width of the frames as a file of this name stores them.

    >>> stored_size("clip.mp4", 33, 64), stored_size("clip.gif", 33, 64)
    ((34, 64), (33, 64))
    """
    if Path(name).suffix.lower() in ANIMATIONS:
        return height, width
    return height + height % 2, width + width % 2


def write_clip(
    clip: Clip,
    path: Path | str,
    *,
    metadata: Mapping[str, Any] = MappingProxyType({}),
    overwrite: bool = False,
) -> Path:
    """Write an mp4, WebM, GIF or animated WebP by the name's ending; the verified path.

    Args:
        clip: What to write; sides of at least 8 pixels.
        path: Its ending says the kind; in a folder that stands.
        metadata: Plain values (prompt, seed, model, ...) kept in the file as JSON.
        overwrite: Replace a file that already stands there.

    Raises:
        Refusal: The name, the size, the rate or the metadata cannot be written as asked.
        RuntimeError: What was decoded back is not what was written.
    """
    path = Path(path)
    refuse_ending(path.name)
    writer = WRITERS[path.suffix.lower()]
    return writer(clip, path, metadata=metadata, overwrite=overwrite)


def look_at(path: Path | str) -> Footage:
    """What a clip of any of these kinds shows.

    Raises:
        Refusal: It is no clip, it is damaged, or its times are no clip's.
    """
    path = Path(path)
    return look_at_animation(path) if is_animation(path) else look(path)


def read_clip(path: Path | str) -> Clip:
    """Read what a clip of any of these kinds shows, at its true size and rate.

    Raises:
        Refusal: It is no clip, it is damaged, or its frames are more than memory should hold.
    """
    return kept(look_at(path))
