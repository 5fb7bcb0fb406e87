"""The kinds of file a clip is written as, told apart by the name's ending."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from core.refusal import Refusal
from video.files.animations import is_animation, look_at_animation, refuse_rate, write_animation
from video.files.clip import Clip, kept, write_film
from video.files.footage import Footage, look
from video.files.stills import STILLS, is_still, look_at_still, write_still

__all__ = ["refuse_rate"]
WRITERS: dict[str, Callable[..., Path]] = {
    ".mp4": write_film,
    ".webm": write_film,
    ".gif": write_animation,
    ".webp": write_animation,
}
ANIMATIONS = (".gif", ".webp")
PICTURES = (*STILLS, ".webp")
"""Endings of files that hold one frame."""


def is_picture(name: str) -> bool:
    """Whether a file of this name holds one frame and never more.

    >>> is_picture("a.PNG"), is_picture("a.webp")
    (True, False)
    """
    return name.lower().endswith(STILLS)


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


def refuse_kind(name: str, picture: bool | None = None) -> None:
    """Refuse a name that is neither a clip's nor a picture's, or not that of the one asked for.

    Args:
        name: Of the file.
        picture: Whether one frame is asked for; None where nobody knows yet.

    >>> refuse_kind("star.mp4", picture=True)
    Traceback (most recent call last):
    core.refusal.Refusal: star.mp4: a picture is written as .png, .jpg, .jpeg or .webp; ...
    """
    ending = Path(name).suffix.lower()
    if picture and ending not in PICTURES:
        raise Refusal(
            f"{name}: a picture is written as .png, .jpg, .jpeg or .webp; give a name with one of "
            "these endings, or leave picture out."
        )
    if ending not in (*WRITERS, *STILLS):
        raise Refusal(
            f"{name}: clips are written as .mp4, .webm, .gif or .webp, and pictures as .png, .jpg "
            "or .jpeg; give a name with one of these endings."
        )
    if picture is False and ending in STILLS:
        raise Refusal(
            f"{name}: a {ending} file holds one frame, and a clip is asked for; ask for a "
            "picture, or give a name ending in .mp4."
        )


def stored_size(name: str, height: int, width: int) -> tuple[int, int]:
    """Height and width of the frames as a file of this name stores them.

    >>> stored_size("clip.mp4", 33, 64), stored_size("clip.gif", 33, 64)
    ((34, 64), (33, 64))
    """
    if Path(name).suffix.lower() in (*ANIMATIONS, *STILLS):
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

    A clip of one frame may be a picture, too: PNG or JPEG.

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
    if is_picture(path.name):
        return write_still(clip, path, metadata=metadata, overwrite=overwrite)
    refuse_ending(path.name)
    writer = WRITERS[path.suffix.lower()]
    return writer(clip, path, metadata=metadata, overwrite=overwrite)


def look_at(path: Path | str, *, stills: bool = False) -> Footage:
    """What a clip of any of these kinds shows.

    Args:
        path: The file.
        stills: Whether a PNG or a JPEG is one, of one frame.

    Raises:
        Refusal: It is no clip, it is damaged, or its times are no clip's.
    """
    path = Path(path)
    if stills and is_still(path):
        return look_at_still(path)
    return look_at_animation(path) if is_animation(path) else look(path)


def read_clip(path: Path | str) -> Clip:
    """Read what a clip of any of these kinds shows, at its true size and rate.

    A PNG or a JPEG is a clip of one frame.

    Raises:
        Refusal: It is no clip, it is damaged, or its frames are more than memory should hold.
    """
    return kept(look_at(path, stills=True))
