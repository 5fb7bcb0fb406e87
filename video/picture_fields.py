"""The fields of clip requests that name pictures which a clip is given."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from core.refusal import Refusal
from core.request import DiskPath, OnDisk

FirstPicture = Annotated[
    DiskPath,
    Field(
        max_length=400,
        description="Picture that the clip begins with, for our own model and engines that can; "
        "it is scaled to fill the clip and is its first frame bit for bit.",
    ),
]
LastPicture = Annotated[
    DiskPath,
    Field(
        max_length=400,
        description="Picture that the clip ends with, likewise; empty for none.",
    ),
]


def _keyed(said: Any) -> Any:
    """Texts FRAME=PICTURE in the order of frames; a single text has semicolons between them."""
    texts = [part.strip() for part in said.split(";")] if isinstance(said, str) else said
    if not isinstance(texts, list | tuple) or not all(isinstance(t, str) for t in texts):
        return said
    told: dict[int, str] = {}
    for text in filter(None, texts):
        found = KEY_FRAME.fullmatch(text)
        if not found:
            raise Refusal(
                f"key={text[:60]}: a picture of a frame is written FRAME=PICTURE, frames counted "
                "from 0; such as 8=middle.png."
            )
        frame = int(found[1])
        if frame in told:
            raise Refusal(
                f"key={frame}= is named twice: a frame is one picture; leave one of them out."
            )
        told[frame] = found[2]
    return tuple(f"{frame}={told[frame]}" for frame in sorted(told))


KEY_FRAME = re.compile(r"(\d{1,4})=(\S.*)")
KeyPictures = Annotated[
    tuple[str, ...],
    OnDisk(keyed=True),
    BeforeValidator(_keyed),
    Field(
        max_length=64,
        description="Pictures of other frames, FRAME=PICTURE with frames counted from 0, such as "
        "8=middle.png; for our own model. Several in a prompt file have semicolons between them.",
    ),
]
