"""A contact sheet: some results of a batch in one small picture for a page."""

import io
import itertools
from pathlib import Path

import numpy as np

from flows._artifacts import data_uri, webp_uri
from flows._manifest import Batch

MOST = 12
COLUMNS = 4
SIDE = 96  # pixels of one clip
MOST_FRAMES = 16
LARGEST_KB = 120


def contact_sheet(batch: Batch) -> str:
    """A data URI under 200 KB with the first results, playing if they are clips; else empty."""
    made = (outcome for outcome in batch.outcomes().values() if outcome["state"] == "made")
    files = [outcome["files"] for outcome in itertools.islice(made, MOST)]
    clips = [batch.root / found["video"]["path"] for found in files if "video" in found]
    pictures = [batch.root / found["picture"]["path"] for found in files if "picture" in found]
    if clips:
        return data_uri(_playing(clips), "webp")
    return webp_uri(_pasted(pictures)) if pictures else ""


def _playing(paths: list[Path]) -> bytes:
    from PIL import Image

    from video.clip import Clip, read_mp4, webp_preview

    clips = [read_mp4(path) for path in paths]
    length = min(MOST_FRAMES, *(len(clip.frames) for clip in clips), MOST_FRAMES)
    columns = min(COLUMNS, len(clips))
    rows = -(-len(clips) // columns)
    sheet = np.full((length, rows * SIDE, columns * SIDE, 3), 24, dtype=np.uint8)
    for place, clip in enumerate(clips):
        top, left = place // columns * SIDE, place % columns * SIDE
        for time in range(length):
            frame = Image.fromarray(clip.frames[time]).resize((SIDE - 2, SIDE - 2))
            sheet[time, top : top + SIDE - 2, left : left + SIDE - 2] = np.asarray(frame)
    return webp_preview(Clip(sheet, clips[0].fps), max_kb=LARGEST_KB)


def _pasted(paths: list[Path]) -> bytes:
    from PIL import Image

    columns = min(COLUMNS, len(paths))
    side = 320
    sheet = Image.new("RGB", (columns * side, -(-len(paths) // columns) * side))
    for place, path in enumerate(paths):
        image = Image.open(path).convert("RGB")
        image.thumbnail((side, side))
        sheet.paste(image, (place % columns * side, place // columns * side))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()
