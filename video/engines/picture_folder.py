"""A folder of pictures with their captions: which begin clips, and why each other file does not.

Nothing is left out in silence: every file of the folder is taken, is a caption, or has a reason.
"""

from dataclasses import dataclass
from pathlib import Path

from core.progress import counted
from core.refusal import Refusal
from video.engines.pictures import opened
from video.files.captioned_clips import caption_of, text_beside

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
SHOWN = 20  # names of one reason
HIDDEN = "hidden"
FOLDER = "a folder, of which no picture is taken"
NO_FILE = "no file, or its link leads nowhere"
NO_PICTURE = f"no picture ({', '.join(PICTURES)})"
NO_CAPTION_OF = "no picture has this caption's name"


@dataclass(frozen=True)
class PictureFolder:
    """What a folder of pictures holds.

    Attributes:
        taken: Each picture, by name, with its prompt; empty where it has no caption.
        left_out: Every other file that is no caption, with the reason.
    """

    taken: dict[Path, str]
    left_out: dict[str, str]

    def says(self) -> list[str]:
        """What is left out and why, one line a reason."""
        reasons = dict[str, list[str]]()
        for name, reason in sorted(self.left_out.items()):
            reasons.setdefault(reason, []).append(name)
        return [f"{_listed(names)}: {reason}" for reason, names in reasons.items()]


def pictures_in(folder: Path) -> list[Path]:
    """The pictures at the top of a folder, by their endings."""
    return [path for path in sorted(folder.iterdir()) if path.name[0] != "." and _is_picture(path)]


def is_captioned(picture: Path) -> bool:
    """Whether a text of its name stands beside a picture."""
    beside = picture.parent.iterdir()
    texts = {path.name: path for path in beside if path.suffix.lower() == ".txt"}
    return text_beside(picture, texts).is_file()


def survey(folder: Path) -> PictureFolder:
    """What a folder holds, of its own files alone.

    Args:
        folder: Pictures, and ``NAME.txt`` beside ``NAME.png`` with what happens in its clip.

    Raises:
        Refusal: Pictures cannot be read, or captions are no text; all are named.
    """
    entries = sorted(folder.resolve().iterdir())
    texts = {path.name: path for path in entries if path.suffix.lower() == ".txt"}
    left_out = {path.name: reason for path in entries if (reason := _unfit(path))}
    paths = [path for path in entries if path.name not in left_out and _is_picture(path)]
    taken, bad, captions = dict[Path, str](), list[str](), set[str]()
    for path in paths:
        text = text_beside(path, texts)
        captions.add(text.name)
        try:
            taken[path] = _looked_at(path, text)
        except Refusal as refusal:
            bad.append(str(refusal))
    if bad:
        more = f"\n... and {len(bad) - SHOWN} more like these." if len(bad) > SHOWN else ""
        raise Refusal("\n".join(bad[:SHOWN]) + more)
    alone = texts.keys() - captions - left_out.keys()
    return PictureFolder(taken, left_out | dict.fromkeys(alone, NO_CAPTION_OF))


def _looked_at(path: Path, text: Path) -> str:
    """The caption of a picture, which can be opened."""
    with opened("first", path):
        pass
    return " ".join(caption_of(path, text).split()) if text.is_file() else ""


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES


def _unfit(path: Path) -> str:
    """Why an entry is neither a picture nor a caption; empty if it is."""
    if path.name.startswith("."):
        return HIDDEN
    if path.is_dir():
        return FOLDER
    if not path.is_file():
        return NO_FILE
    return "" if _is_picture(path) or path.suffix.lower() == ".txt" else NO_PICTURE


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{counted(len(names), 'file')} left out, {'; '.join(names[:SHOWN])}{more}"
