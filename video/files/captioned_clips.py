"""Your own clips as training batches: NAME.mp4 with its caption in NAME.txt beside it.

Everything drawn follows from one ``torch.Generator``: the same state gives the same batch, bit
for bit.
"""

import logging
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from core.progress import counted
from core.refusal import Refusal
from core.wording import NO_INK
from video.files.footage import look, refuse_if_large
from video.files.oddities import oddities

logger = logging.getLogger(__name__)
BLANK = ("C", "Z", "Mn", "Me")


@dataclass(frozen=True)
class CaptionedClip:
    """A clip at the size it is trained at.

    Attributes:
        frames: (3, T, H, W) uint8.
        fps: Frames per second.
        caption: What it shows.
    """

    frames: Tensor
    fps: float
    caption: str


def load_clips(
    folder: Path | str,
    *,
    size: int = 64,
    num_frames: int = 16,
    check: Callable[[str], None] | None = None,
) -> list[CaptionedClip]:
    """Every captioned clip of a folder, cut to a centered square and scaled to ``size``.

    Endings may be in capitals. What ``folder`` holds besides clips and captions is logged.

    Args:
        folder: Holds NAME.mp4 with NAME.txt beside it.
        size: Pixels on a side.
        num_frames: The fewest frames of a clip.
        check: Refuses a caption that cannot be used.

    Raises:
        Refusal: There is no clip, a caption is missing or no text, or a clip is too short.
    """
    there = sorted(Path(folder).glob("*"))
    files = [path for path in there if path.is_file()]
    texts = {path.name: path for path in files if path.suffix.lower() == ".txt"}
    paths = [path for path in files if path.suffix.lower() == ".mp4" and path.name[:2] != "._"]
    if not paths:
        raise Refusal(
            f"{folder} holds no .mp4 file: training reads NAME.mp4 with NAME.txt beside it, the "
            "caption; point to a folder of such pairs."
        )
    beside = [text_beside(path, texts) for path in paths]
    captions = [caption_of(clip, text, check) for clip, text in zip(paths, beside, strict=True)]
    if rest := sorted(path.name for path in {*there} - {*paths} - {*beside}):
        shown = ", ".join(rest[:10]) + (f" and {len(rest) - 10} more" if len(rest) > 10 else "")
        logger.warning("left out, as they are neither a file NAME.mp4 nor its caption: %s", shown)
    return [
        _load(path, caption, size, num_frames)
        for path, caption in zip(paths, captions, strict=True)
    ]


def text_beside(clip: Path, texts: dict[str, Path]) -> Path:
    """NAME.txt, or else its ending in other letters: .TXT, .Txt."""
    usual = clip.with_suffix(".txt")
    others = (text for text in texts.values() if text.stem == clip.stem)
    return texts.get(usual.name) or next(others, usual)


def caption_of(clip: Path, text: Path, check: Callable[[str], None] | None = None) -> str:
    """What the file of a caption says.

    Args:
        clip: Whose it is: a clip or a picture.
        text: The file.
        check: Refuses a caption that cannot be used.

    Raises:
        Refusal: It is missing, empty, or no text.
    """
    try:
        read = text.read_text(encoding="utf-8-sig") if text.is_file() else ""
    except UnicodeDecodeError as error:
        raise Refusal(
            f"{text.name} is not UTF-8 text ({error.reason} at byte {error.start}): captions are; "
            "save it again as UTF-8."
        ) from error
    except OSError as error:
        raise Refusal(
            f"{text.name} cannot be read ({error.strerror}): it is the caption of {clip.name}; "
            "change its permissions."
        ) from error
    caption = _without_blank_ends(read)
    if not any(map(_shows, caption)):
        raise Refusal(
            f"{text.name}: the caption of {clip.name} is missing or empty; write one sentence "
            "that says what the clip shows."
        )
    if any(unicodedata.category(sign) == "Cc" and not sign.isspace() for sign in caption):
        raise Refusal(
            f"{text.name}: the caption of {clip.name} holds control characters: it is text; "
            "write one sentence that says what the clip shows."
        )
    try:
        if check:
            check(caption)
    except Refusal as refusal:
        raise Refusal(f"{text.name}: {refusal}") from refusal
    return caption


def _without_blank_ends(text: str) -> str:
    places = [place for place, sign in enumerate(text) if not _blank_end(sign)]
    return text[places[0] : places[-1] + 1] if places else ""


def _blank_end(sign: str) -> bool:
    return sign in NO_INK or unicodedata.category(sign)[0] in "CZ"


def _shows(sign: str) -> bool:
    """Whether it leaves ink on paper by itself."""
    return sign not in NO_INK and not unicodedata.category(sign).startswith(BLANK)


def _load(path: Path, caption: str, size: int, num_frames: int) -> CaptionedClip:
    footage = look(path)
    for line in oddities(footage):
        logger.warning("%s", line)
    if footage.count < num_frames:
        raise Refusal(
            f"{path.name} has {counted(footage.count, 'frame')}: training cuts pieces of "
            f"{num_frames}; "
            "leave it out or take a longer one."
        )
    refuse_if_large(footage, size, size)
    frames = torch.empty((3, footage.count, size, size), dtype=torch.uint8)
    for index, frame in enumerate(footage.frames()):
        frames[:, index] = _square(torch.from_numpy(frame), size)
    return CaptionedClip(frames, footage.fps, caption)


def _square(frame: Tensor, size: int) -> Tensor:
    """The middle of a frame (H, W, 3), as (3, size, size)."""
    image = frame.permute(2, 0, 1)[None]
    side = min(image.shape[2:])
    top, left = (image.shape[2] - side) // 2, (image.shape[3] - side) // 2
    middle = image[..., top : top + side, left : left + side].float()
    scaled = F.interpolate(middle, (size, size), mode="bilinear", antialias=True)
    return scaled[0].round().clamp(0, 255).to(torch.uint8)


def draw_pieces(
    clips: list[CaptionedClip], count: int, generator: torch.Generator, *, num_frames: int = 16
) -> tuple[Tensor, list[str], Tensor]:
    """Random pieces of random clips.

    Returns:
        clips (B, 3, num_frames, H, W) in [-1, 1], their captions, and frame spacings (B, 3) in
        seconds along D (1 along H and W).
    """
    pieces, captions, spacings = [], [], []
    for _ in range(count):
        clip = clips[int(torch.randint(len(clips), (), generator=generator))]
        last = clip.frames.shape[1] - num_frames
        start = int(torch.randint(last + 1, (), generator=generator))
        pieces.append(clip.frames[:, start : start + num_frames].float() / 127.5 - 1)
        captions.append(clip.caption)
        spacings.append([1 / clip.fps, 1.0, 1.0])
    return torch.stack(pieces), captions, torch.tensor(spacings)
