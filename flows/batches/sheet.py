"""A contact sheet: some results of a batch in one small picture for a page."""

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flows.batches.ledger import Batch
from flows.pages.artifacts import data_uri, webp_uri
from flows.settings.settings import read_settings

MOST = 12
COLUMNS = 4
SIDE = 96  # pixels of one clip
SCAN_SIDE = 320
MOST_FRAMES = 16
LARGEST_KB = 120


def contact_sheet(batch: Batch) -> str:
    """A data URI under 200 KB with the first results, playing if they are clips; else empty."""
    made = (outcome for outcome in batch.outcomes().values() if outcome["state"] == "made")
    return picture_of(batch, [outcome["files"] for outcome in itertools.islice(made, MOST)])


def picture_of(batch: Batch, results: list[dict[str, Any]], numbers: Sequence[int] = ()) -> str:
    """A data URI under 200 KB of these results, playing if they are clips; empty for none.

    Args:
        batch: Whose.
        results: The files of each by role, as outcomes name them.
        numbers: One for each result, written into its corner; none for none.
    """
    batch.fetch(
        {
            found[role]["path"]: found[role]["sha256"]
            for found in results
            for role in ("video", "picture")
            if role in found
        }
    )
    clips = [batch.root / found["video"]["path"] for found in results if "video" in found]
    pictures = [batch.root / found["picture"]["path"] for found in results if "picture" in found]
    if clips:
        return data_uri(_playing(clips, numbers), "webp")
    return webp_uri(_pasted(pictures, numbers)) if pictures else ""


def _playing(paths: list[Path], numbers: Sequence[int]) -> bytes:
    from PIL import Image

    from video.files.clip import Clip, webp_preview
    from video.files.formats import read_clip

    clips = [read_clip(path) for path in paths]
    length = min(MOST_FRAMES, *(len(clip.frames) for clip in clips), MOST_FRAMES)
    columns = min(COLUMNS, len(clips))
    rows = -(-len(clips) // columns)
    sheet = np.full((length, rows * SIDE, columns * SIDE, 3), 24, dtype=np.uint8)
    for place, clip in enumerate(clips):
        top, left = place // columns * SIDE, place % columns * SIDE
        for time in range(length):
            frame = Image.fromarray(clip.frames[time]).resize((SIDE - 2, SIDE - 2))
            _number(frame, place, numbers)
            sheet[time, top : top + SIDE - 2, left : left + SIDE - 2] = np.asarray(frame)
    return webp_preview(Clip(sheet, clips[0].fps), max_kb=LARGEST_KB)


def _pasted(paths: list[Path], numbers: Sequence[int]) -> bytes:
    from PIL import Image

    columns = min(COLUMNS, len(paths))
    rows = -(-len(paths) // columns)
    sheet = Image.new("RGB", (columns * SCAN_SIDE, rows * SCAN_SIDE))
    for place, path in enumerate(paths):
        image = Image.open(path).convert("RGB")
        image.thumbnail((SCAN_SIDE, SCAN_SIDE))
        _number(image, place, numbers)
        sheet.paste(image, (place % columns * SCAN_SIDE, place // columns * SCAN_SIDE))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _number(image: Any, place: int, numbers: Sequence[int]) -> None:
    from PIL import ImageDraw

    if numbers:
        size = max(14, image.width // 10)
        draw = ImageDraw.Draw(image)
        white, black = (255, 255, 255), (0, 0, 0)
        text = str(numbers[place])
        draw.text((4, 1), text, white, font_size=size, stroke_width=2, stroke_fill=black)


def is_private(batch: Batch) -> bool:
    """Whether Prefect's pages show nothing of what a batch made."""
    return read_settings().private and batch.read()["kind"] == "mri"
