"""Pictures of heads for reports: small, in the page itself, the same bytes every time.

Planes are shown as radiologists see them: the right of a head is on the left, and a letter says
what is there.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medical.anatomy.filters import Floats

COLORS = {1: (64, 150, 255), 2: (255, 170, 60), 3: (240, 240, 240)}
LESION = (255, 64, 64)
HEIGHT = 240
RIGHT, FRONT = "R", "A"
LETTERS = {
    RIGHT: ("####.", "#...#", "#...#", "####.", "#.#..", "#..#.", "#...#"),
    FRONT: (".###.", "#...#", "#...#", "#####", "#...#", "#...#", "#...#"),
}
"""Drawn here, as fonts differ from machine to machine."""
LETTER_AT, LETTER_SIZE, LETTER_GRAY = 8, 2, 220
MIDDLE = RIGHT + RIGHT + FRONT
Box = tuple[slice, slice, slice]


def box_of(labels: NDArray[np.uint8], margin: int = 3) -> Box:
    """Where a head lies in its grid."""
    found = np.argwhere(labels > 0)
    if not len(found):
        x, y, z = (slice(0, n) for n in labels.shape)
        return x, y, z
    low, high = found.min(0), found.max(0) + 1
    x, y, z = (
        slice(max(0, int(a) - margin), min(n, int(b) + margin))
        for a, b, n in zip(low, high, labels.shape, strict=True)
    )
    return x, y, z


def cuts(
    volume: NDArray[np.generic], box: Box, places: Sequence[float]
) -> list[NDArray[np.generic]]:
    """Axial planes of a head at shares of its height, the nose up and its right on the left."""
    inside = volume[box]
    last = inside.shape[2] - 1
    return [inside[::-1, ::-1, round(share * last)].T for share in places]


def middle(volume: NDArray[np.generic], box: Box) -> list[NDArray[np.generic]]:
    """An axial, a coronal and a sagittal plane near the middle: ``MIDDLE`` is on their left."""
    inside = volume[box]
    x, y, z = (n // 2 for n in inside.shape)
    x = min(x + 4, inside.shape[0] - 1)  # beside the gap between the halves
    return [inside[::-1, ::-1, z].T, inside[::-1, y, ::-1].T, inside[x, ::-1, ::-1].T]


def shown(planes: Sequence[Floats], top: float, sides: str = "") -> NDArray[np.uint8]:
    """Planes side by side in gray, (H, W, 3).

    Args:
        planes: Of one head.
        top: The intensity that is shown white.
        sides: A letter for each plane that says what is on its left; right where there is none.
    """
    return _row([np.repeat(_gray(plane, top)[..., None], 3, 2) for plane in planes], sides)


def colored(
    planes: Sequence[Floats],
    labels: Sequence[NDArray[np.uint8]],
    lesions: Sequence[NDArray[np.uint8]],
    top: float,
    *,
    tissues: bool,
    sides: str = "",
) -> NDArray[np.uint8]:
    """The same with lesions in red and, if asked, tissues in their colors."""
    painted = []
    for plane, label, lesion in zip(planes, labels, lesions, strict=True):
        image = np.repeat(_gray(plane, top)[..., None], 3, 2).astype(np.float32)
        if tissues:
            for tissue, color in COLORS.items():
                image[label == tissue] = 0.55 * image[label == tissue] + 0.45 * np.array(color)
        image[lesion > 0] = 0.25 * image[lesion > 0] + 0.75 * np.array(LESION)
        painted.append(image.astype(np.uint8))
    return _row(painted, sides)


def address(picture: NDArray[np.uint8] | bytes) -> str:
    """A picture as the address of itself."""
    data = picture if isinstance(picture, bytes) else kept(picture)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def figure(pixels: NDArray[np.uint8], words: str) -> str:
    """A picture with words below it."""
    return (
        f'<figure><img src="{address(pixels)}" alt="{escape(words)}">'
        f"<figcaption>{escape(words)}</figcaption></figure>"
    )


def kept(pixels: NDArray[np.uint8]) -> bytes:
    """A picture as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=82)
    return buffer.getvalue()


def slider(
    before: NDArray[np.uint8] | bytes,
    after: NDArray[np.uint8],
    words: str,
    ends: tuple[str, str],
) -> str:
    """Two pictures, the first perhaps from a file, on each other and a slider between them."""
    left, right = map(escape, ends)
    return (
        f'<figure><div class="pair"><img src="{address(before)}" alt="{left}">'
        f'<img class="over" src="{address(after)}" alt="{right}"></div>'
        f'<input class="slide" type="range" value="50" aria-label="{escape(words)}">'
        f'<div class="ends note"><span>{left}</span><span>{right}</span></div>'
        f"<figcaption>{escape(words)}</figcaption></figure>"
    )


def _gray(plane: Floats, top: float) -> NDArray[np.uint8]:
    return (np.clip(plane / max(top, 1e-6), 0, 1) * 255).astype(np.uint8)


def _row(images: Sequence[NDArray[np.uint8]], sides: str) -> NDArray[np.uint8]:
    """Images side by side, each as high as the others, and with the letter of its left."""
    scaled = []
    for image, side in zip(images, sides or RIGHT * len(images), strict=True):
        width = max(1, round(image.shape[1] * HEIGHT / image.shape[0]))
        size = (width, HEIGHT)
        large = np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        letter = np.array([[dot == "#" for dot in row] for row in LETTERS[side]])
        drawn = letter.repeat(LETTER_SIZE, 0).repeat(LETTER_SIZE, 1)
        corner = large[LETTER_AT : LETTER_AT + len(drawn), LETTER_AT : LETTER_AT + drawn.shape[1]]
        corner[drawn[:, : corner.shape[1]]] = LETTER_GRAY
        scaled.append(large)
    return np.concatenate(scaled, axis=1)
