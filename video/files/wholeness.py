"""Whether a video file holds all that it says, from its packets, before one is decoded.

A decoder passes over what it cannot read. What would be missing in silence is told here.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.progress import counted
from core.refusal import Refusal

SHORT_S, SHORT_STEPS = 0.2, 2.5  # a header may round so much
MOST_BOXES, SMALLEST_BOX = 100_000, 8  # looked through, and bytes
BACK_STEPS = 5  # B-frames come out of order by less
TIME = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
COPY = "copy or export it again."


def refuse_torn(path: Path, file: Any, stream: Any, packets: Sequence[Any]) -> None:
    """Refuse a file whose pictures begin anew, are damaged, or end before it says.

    Args:
        path: The file.
        file: Opened by PyAV.
        stream: Of its pictures.
        packets: All of the stream, those without content too.

    Raises:
        Refusal: With the file.
    """
    tick = float(stream.time_base or 0)
    _refuse_anew(path, [packet.dts * tick for packet in packets if packet.dts is not None])
    if broken := sum(bool(packet.is_corrupt) for packet in packets):
        raise Refusal(
            f"{path.name} is damaged in {counted(broken, 'place')}: a clip is whole; {COPY}"
        )
    kind = str(file.format.name)
    if "mp4" in kind and (clips := _indexes(path)) > 1:
        raise Refusal(
            f"{path.name} holds {clips} clips, one after another, of which readers show the first "
            "alone: a file is one clip; cut it into its parts, or join them with ffmpeg."
        )
    if "avi" in kind:
        places = [packet.dts for packet in packets if packet.dts is not None]
        _refuse_fewer(path, int(stream.frames), len(stream.index_entries), places)
    if "matroska" in kind:
        ends = [(p.pts + (p.duration or 0)) * tick for p in packets if p.pts is not None]
        _refuse_shorter(path, _said_seconds(file, stream), ends)


def _indexes(path: Path) -> int:
    """How many outer boxes of an mp4 say where its frames are; each clip has one of its own."""
    found = at = 0
    size = path.stat().st_size
    with path.open("rb") as file:
        for _ in range(MOST_BOXES):
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4])
            length = int.from_bytes(head[8:]) if length == 1 else length
            found += head[4:8] == b"moov"
            at += length
            if length < SMALLEST_BOX or at + SMALLEST_BOX > size:
                break
    return found


def _refuse_anew(path: Path, times: list[float]) -> None:
    steps = np.diff(times)
    forward = steps[steps > 0]
    if not len(forward):
        return
    worst = int(steps.argmin())
    if -steps[worst] > BACK_STEPS * float(np.median(forward)):
        raise Refusal(
            f"{path.name} begins anew after frame {worst + 1}: its times go back by "
            f"{-steps[worst]:.3g} s there, as where two clips stand in one file; cut it there "
            "into two, or write it again with times that go on."
        )


def _refuse_fewer(path: Path, said: int, listed: int, places: list[int]) -> None:
    """Refuse an AVI that lacks frames of its index, or ends early.

    A frame that was dropped is a place that holds nothing, and stands in no index.
    """
    if not places:
        return
    found, end = len(places), max(places) + 1
    step = max(1.0, (end - min(places)) / found)
    if found < listed or said - end > SHORT_STEPS * step:
        raise Refusal(
            f"{path.name} holds {counted(found, 'frame')} where its header says {said}: a clip "
            f"is whole, and this one is damaged or cut short; {COPY}"
        )


def _refuse_shorter(path: Path, said: float, ends: list[float]) -> None:
    if not ends or not said:
        return
    step = (max(ends) - min(ends)) / max(1, len(ends) - 1)
    if said - max(ends) > max(SHORT_S, SHORT_STEPS * step):
        raise Refusal(
            f"{path.name} ends after {max(ends):.3g} s where its header says {said:.3g} s: a clip "
            f"is whole, and this one is damaged or cut short; {COPY}"
        )


def _said_seconds(file: Any, stream: Any) -> float:
    """How long the pictures last, by the header; 0 where it does not tell, or sound may last."""
    told = TIME.match(stream.metadata.get("DURATION", ""))
    if told:
        hours, minutes, seconds = told.groups()
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    return float(file.duration or 0) / 1e6 if len(file.streams) == 1 else 0.0
