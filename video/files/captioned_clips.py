"""Your own clips as training batches: NAME.mp4 with its caption in NAME.txt beside it.

Everything drawn follows from one ``torch.Generator``: the same state gives the same batch, bit
for bit.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from core.refusal import Refusal
from video.files.clip import read_mp4


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


def load_clips(folder: Path | str, *, size: int = 64, num_frames: int = 16) -> list[CaptionedClip]:
    """Every captioned clip of a folder, cut to a centered square and scaled to ``size``.

    Raises:
        Refusal: There is no clip, a caption is missing, or a clip is too short.
    """
    paths = sorted(Path(folder).glob("*.mp4"))
    if not paths:
        raise Refusal(
            f"{folder} holds no .mp4 file: training reads NAME.mp4 with NAME.txt beside it, the "
            "caption; point to a folder of such pairs."
        )
    return [_load(path, size, num_frames) for path in paths]


def _load(path: Path, size: int, num_frames: int) -> CaptionedClip:
    text = path.with_suffix(".txt")
    caption = text.read_text(encoding="utf-8").strip() if text.is_file() else ""
    if not caption:
        raise Refusal(
            f"{text.name}: the caption of {path.name} is missing or empty; write one sentence "
            "that says what the clip shows."
        )
    clip = read_mp4(path)
    if len(clip.frames) < num_frames:
        raise Refusal(
            f"{path.name} has {len(clip.frames)} frames: training cuts pieces of {num_frames}; "
            "leave it out or take a longer one."
        )
    frames = torch.from_numpy(clip.frames).permute(0, 3, 1, 2)  # (T, 3, H, W)
    side = min(frames.shape[2:])
    top, left = (frames.shape[2] - side) // 2, (frames.shape[3] - side) // 2
    square = frames[..., top : top + side, left : left + side].float()
    scaled = F.interpolate(square, (size, size), mode="bilinear", antialias=True)
    small = scaled.round().clamp(0, 255).to(torch.uint8)
    return CaptionedClip(small.transpose(0, 1).contiguous(), float(clip.fps), caption)


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
