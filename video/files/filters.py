"""Clips changed by filters of ffmpeg: finer by Lanczos, smoother in time along the motion.

Frames go in one by one and come out one by one, in RGB; what a filter cannot take is converted to
4:4:4, so that no color is thinned out. Sound is copied as it is. A second door to PyAV, beside
``video.files.footage``, which reads.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import av.filter
import numpy as np
from av.error import BlockingIOError as NotYet
from numpy.typing import NDArray

from core.records import atomic_path
from video.files.animations import is_animation
from video.files.footage import OPEN, refusing_damage

logger = logging.getLogger(__name__)

Frames = Iterable[NDArray[np.uint8]]
CONTAINERS = {".mp4": ("mp4", {"movflags": "+faststart", "fflags": "+bitexact"}),
              ".webm": ("webm", {"fflags": "+bitexact"})}  # fmt: skip
SOUND = {".mp4": ("aac", "mp3", "opus", "alac", "ac3", "flac"), ".webm": ("opus", "vorbis")}
"""Ending to the kinds of sound that such a file may hold."""
LANCZOS = "lanczos+accurate_rnd+full_chroma_int+full_chroma_inp"
BLACK, FROZEN, LONG_S = "d=0.01:pix_th=0.1", "n=0.001:d=0.01", 1.0
LEAST_SIDE = 32  # of frames whose motion is followed: two blocks of 16
HELD_BEFORE, HELD_AFTER = 2, 4
"""Frames that the motion filter wants before the first and after the last."""


def enlarged(frames: Frames, height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """The frames at another size, by Lanczos' kernel."""
    yield from _filtered(frames, Fraction(1), [("scale", f"{width}:{height}:flags={LANCZOS}")])


def interpolated(
    frames: NDArray[np.uint8],
    factor: int,
    on_step: Callable[[int, int, Any], None] = lambda done, total, estimate: None,
) -> NDArray[np.uint8]:
    """So many times as many frames, moved along the motion between two; those given as they are.

    After the last frame it is held, as nothing is known of what follows.

    Args:
        frames: (T, H, W, 3).
        factor: How many times.
        on_step: Told of frames that are made, and how many will be.
    """
    held = [frames[:1]] * HELD_BEFORE, [frames[-1:]] * HELD_AFTER
    padded = np.concatenate([*held[0], frames, *held[1]])
    chain = [
        ("format", "yuv444p"),
        ("minterpolate", f"fps={factor}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1:scd=none"),
        ("format", "rgb24"),
    ]
    found, total = [], factor * len(padded)
    for frame in _filtered(padded, Fraction(1), chain):
        found.append(frame)
        on_step(len(found), max(total, len(found)), None)
    first = HELD_BEFORE * factor
    made = np.stack(found[first : first + factor * (len(frames) - 1) + 1])
    made = np.concatenate([made, np.repeat(frames[-1:], factor - 1, axis=0)])
    made[::factor] = frames
    return made


def lifeless(frames: NDArray[np.uint8], fps: float) -> dict[str, list[list[float]]]:
    """Where a clip is black, and where it stands still, from second to second; empty where not.

    Spans count from half of the clip on, or from a second. A network in too short numbers, or one
    that is asked for what it cannot, draws such clips and says nothing.

    Args:
        frames: (T, H, W, 3).
        fps: How many pass in a second.
    """
    rate = Fraction(fps).limit_denominator(1001)
    end, said = (
        float(len(frames) / rate),
        ("black_start", "black_end", "freeze_start", "freeze_end"),
    )
    least = min(LONG_S, end / 2)
    height, width = frames.shape[1:3]
    graph = _graph(height, width, rate, [("blackdetect", BLACK), ("freezedetect", FROZEN)])
    told: dict[str, list[float]] = {name: [] for name in said}
    for number, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base = number, 1 / rate
        graph.push(frame)
        for found in _pulled(graph):
            for name, value in found.metadata.items():
                if (word := name.rpartition(".")[2]) in told:
                    told[word].append(float(value))
    spans = {
        "black_s": _spans(told["black_start"], told["black_end"], end),
        "frozen_s": _spans(told["freeze_start"], told["freeze_end"], end),
    }
    long = {name: [s for s in found if s[1] - s[0] >= least] for name, found in spans.items()}
    return {name: found for name, found in long.items() if found}


def told_lifeless(frames: NDArray[np.uint8], fps: float, name: str) -> dict[str, Any]:
    """The same for the record of an engine's clip, and said in the log."""
    found = lifeless(frames, fps)
    for kind, spans in found.items():
        logger.warning(
            "the clip of %s is %s at %s s", name, kind.removesuffix("_s"),
            ", ".join(f"{start:g} to {end:g}" for start, end in spans),
        )  # fmt: skip
    return found


def _spans(starts: list[float], ends: list[float], end: float) -> list[list[float]]:
    return [
        [round(start, 3), round(min((e for e in ends if e > start), default=end), 3)]
        for start in starts
    ]


def _filtered(
    frames: Frames, fps: Fraction, chain: list[tuple[str, str]]
) -> Iterator[NDArray[np.uint8]]:
    graph: av.filter.Graph | None = None
    for number, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base = number, 1 / fps
        if graph is None:
            graph = _graph(pixels.shape[0], pixels.shape[1], fps, chain)
        graph.push(frame)
        yield from _ready(graph)
    if graph is not None:
        graph.push(None)
        yield from _ready(graph)


def _graph(
    height: int, width: int, fps: Fraction, chain: list[tuple[str, str]]
) -> av.filter.Graph:
    graph = av.filter.Graph()
    nodes = [
        graph.add_buffer(
            width=width, height=height, format=av.VideoFormat("rgb24"), time_base=1 / fps
        )
    ]
    nodes += [graph.add(name, said) for name, said in chain]
    nodes.append(graph.add("buffersink"))
    for one, other in pairwise(nodes):
        one.link_to(other)
    graph.configure()
    return graph


def _ready(graph: av.filter.Graph) -> Iterator[NDArray[np.uint8]]:
    for frame in _pulled(graph):
        yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def _pulled(graph: av.filter.Graph) -> Iterator[Any]:
    while True:
        try:
            yield graph.pull()
        except (NotYet, EOFError):
            return


def sounds(path: Path) -> bool:
    """Whether a file has sound; pictures that move have none."""
    if path.suffix.lower() not in CONTAINERS:
        return False
    with refusing_damage(path), av.open(str(path.resolve()), options=OPEN) as file:
        return bool(file.streams.audio)


def add_sound(path: Path, source: Path) -> None:
    """Put the sound of one file beside the pictures of another, both copied as they are.

    Nothing is done where there is none, or where a file of this kind cannot hold it.

    Args:
        path: A clip that was just written; replaced.
        source: What it was made from.
    """
    ending = path.suffix.lower()
    if ending not in CONTAINERS or not _holds(source, SOUND[ending]):
        return
    kind, options = CONTAINERS[ending]
    with (
        atomic_path(path, overwrite=True) as temporary,
        refusing_damage(source),
        av.open(str(path)) as seen,
        av.open(str(source.resolve()), options=OPEN) as heard,
        av.open(str(temporary), "w", format=kind, options=options) as out,
    ):
        out.metadata.update(seen.metadata)
        pairs: list[tuple[Any, Any]] = [
            (seen, seen.streams.video[0]),
            (heard, heard.streams.audio[0]),
        ]
        places = [out.add_stream_from_template(stream) for _, stream in pairs]
        for (file, stream), place in zip(pairs, places, strict=True):
            for packet in file.demux(stream):
                if packet.dts is not None:
                    packet.stream = place
                    out.mux(packet)


def _holds(source: Path, kinds: tuple[str, ...]) -> bool:
    if is_animation(source):
        return False
    with refusing_damage(source), av.open(str(source.resolve()), options=OPEN) as file:
        found = file.streams.audio
        return bool(found) and found[0].codec_context.name in kinds
