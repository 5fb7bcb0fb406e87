"""Sheets of clips: the best, the first that come, and the worst."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tests.benchmarks.quality.cases import Setting
from tests.benchmarks.quality.clips import ONE, THREE, TWO, Asked, Outcome, frames_of, outcomes
from tests.benchmarks.results import Picture, Row

FRAMES = (0, 3, 6, 9, 12, 15)
SIDE, GAP, TEXT, EDGE = 64, 2, 44, 8
LINE = 13
COLUMNS = 2
RIGHT, WRONG, INK = (22, 120, 60), (178, 24, 43), (30, 30, 30)
SHOWN = {ONE: 8, TWO: 6, THREE: 6}


def sheets(setting: Setting) -> Row:
    """Sheets of all three sets of prompts."""
    found = {asked: outcomes(setting, asked) for asked in SHOWN}
    ranked = {asked: sorted(of, key=_quality) for asked, of in found.items()}
    chosen = {
        "video-best.webp": {asked: ranked[asked][-n:][::-1] for asked, n in SHOWN.items()},
        "video-typical.webp": {asked: found[asked][:n] for asked, n in SHOWN.items()},
        "video-failures.webp": {asked: ranked[asked][:n] for asked, n in SHOWN.items()},
    }
    captions = {
        "video-best.webp": "The best: the largest share of what is asked is right, then the most "
        "is asked.",
        "video-typical.webp": "Not chosen: the first prompts of each set, as they come.",
        "video-failures.webp": "Failures: the smallest share of what was asked is right.",
    }
    for name, sets in chosen.items():
        _draw(setting, name, sets)
    return Row(
        title="Video: clips",
        protocol="Frames 1, 4, 7, 10, 13 and 16 of 16, 4 steps, held-out combinations. Each "
        "sheet: one object, then two, then three. Green: what the oracle finds right; red: "
        "wrong.",
        pictures=[Picture(name=name, caption=captions[name]) for name in chosen],
    )


def _quality(outcome: Outcome) -> tuple[float, int, int]:
    """Share of what is right; at equal shares more claims count as better when all are right."""
    claims = len(outcome.verdict)
    return outcome.share, claims if outcome.share > 0.5 else -claims, -outcome.index


def _draw(setting: Setting, name: str, sets: dict[Asked, list[Outcome]]) -> None:
    width = len(FRAMES) * (SIDE + GAP) - GAP
    cell = SIDE + TEXT + EDGE
    places = [
        (asked, outcome, frames)
        for asked, chosen in sets.items()
        for outcome, frames in zip(chosen, frames_of(setting, asked, chosen), strict=True)
    ]
    lines = -(-len(places) // COLUMNS)
    size = (COLUMNS * (width + 2 * EDGE), lines * cell + EDGE)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for number, (_, outcome, frames) in enumerate(places):
        line, column = divmod(number, COLUMNS)
        left, top = EDGE + column * (width + 2 * EDGE), EDGE + line * cell
        sheet.paste(_strip(frames), (left, top + TEXT))
        _write(pen, outcome, (left, top), width)
    sheet.save(setting.pictures / name, "WEBP", quality=82, method=6)


def _strip(frames: NDArray[np.uint8]) -> Image.Image:
    row = Image.new("RGB", (len(FRAMES) * (SIDE + GAP) - GAP, SIDE), "white")
    for place, index in enumerate(FRAMES):
        row.paste(Image.fromarray(frames[index]), (place * (SIDE + GAP), 0))
    return row


def _write(
    pen: ImageDraw.ImageDraw, outcome: Outcome, corner: tuple[int, int], width: int
) -> None:
    """The prompt, and under it every axis in green or red."""
    left, top = corner
    font = ImageFont.load_default(size=11)
    for number, text in enumerate(_wrapped(pen, outcome.caption, font, width)):
        pen.text((left, top + number * LINE), text, fill=INK, font=font)
    for axis, hit in outcome.verdict.items():
        pen.text((left, top + 2 * LINE + 1), axis, fill=RIGHT if hit else WRONG, font=font)
        left += int(pen.textlength(axis, font=font)) + 7


def _wrapped(
    pen: ImageDraw.ImageDraw,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
) -> list[str]:
    """The text in two lines at the bottom of their room; what is too long ends in dots."""
    first, rest = text.split(" "), list[str]()
    while pen.textlength(" ".join(first), font=font) > width:
        rest.insert(0, first.pop())
    second = " ".join(rest)
    while pen.textlength(second, font=font) > width:
        second = second[:-2].rstrip(" .…") + "…"
    return [" ".join(first), second] if rest else ["", " ".join(first)]
