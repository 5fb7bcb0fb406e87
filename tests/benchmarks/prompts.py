"""Text to video judged by the oracle: how often clips show what the prompt says."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from core.conditioning import Conditioning
from core.seeds import generator, noise_batch
from tests.benchmarks.results import Figure, Row
from video.generate import VideoModel, sample_from, to_frames
from video.oracle import AXES, is_frozen, read_clip, score
from video.prompts import Claims, parse_caption
from video.request import VideoRequest
from video.world import draw_batch

SINGLE = (1.0, 0.0, 0.0)
SPLITS = {"training combinations": "train", "held-out combinations": "held_out"}
JUDGED = ("color", "shape", "motion")
LEAST = 0.8
BATCH = 8
STEPS = (1, 2, 8)
SEED = 1

PROTOCOL = (
    "Prompts are captions of scenes drawn from the procedural world with a fixed seed, sampled "
    "with the request's defaults (4 steps unless said) at 16 frames of 64 x 64, noise of prompt i "
    "from (seed, i), in batches of 8. The oracle reads the frames (before the codec) without "
    "knowing the prompt; a prompt counts on an axis only if it states it. Brackets: 95 % Wilson "
    "interval and the number of prompts. Frozen: share of clips in which nothing changes, among "
    "prompts that state a motion. Held-out combinations are those of the fixed rule in "
    "`video/splits.py`, which training never draws."
)


def run(*, quick: bool = False, full: bool = False) -> Row:
    """Score single objects on both splits, then several objects, then other step counts."""
    number = 16 if quick else 400 if full else 200
    model = VideoModel.load("scenes-64")
    figures, motions = [], defaultdict(list)
    for name, split in SPLITS.items():
        asked = _captions(number, split, SINGLE)
        verdicts, frozen = _judge(model, asked, motions=motions)
        figures += _figures(f"{name}, one object", verdicts, frozen, judged=True)
    for count, shares in {"two": (0.0, 1.0, 0.0), "three": (0.0, 0.0, 1.0)}.items():
        asked = _captions(max(8, number // 4), "train", shares)
        figures += _figures(f"training combinations, {count} objects", *_judge(model, asked))
    curve = _captions(max(8, number // 4), "held_out", SINGLE)
    for steps in STEPS:
        name = f"held-out combinations, one object, {steps} steps"
        verdicts, frozen = _judge(model, curve, steps=steps)
        figures += _figures(name, {axis: verdicts.get(axis, []) for axis in JUDGED}, frozen)
    native = model.network.dtype
    alone, twice = _batched_against_alone(model, curve[:BATCH])
    shares = ", ".join(f"{name} {sum(hits)} of {len(hits)}" for name, hits in motions.items())
    notes = [
        f"One object, both splits, by the motion asked for: {shares}.",
        f"A clip sampled in a batch differs from the same clip alone by {alone:.1e} on average "
        f"(pixels in [-1, 1]) in {native}, and by {twice:.1e} in float32: the noise "
        "is the same bit for bit, what remains is the rounding of other kernels.",
    ]
    return Row(
        title="Text to video, oracle accuracy", protocol=PROTOCOL, figures=figures, notes=notes
    )


def wilson(hits: int, number: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share. Wilson 1927."""
    if number == 0:
        return 0.0, 1.0
    share, weight = hits / number, z * z / number
    middle = (share + weight / 2) / (1 + weight)
    reach = z * math.sqrt(share * (1 - share) / number + weight / (4 * number)) / (1 + weight)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _captions(number: int, split: str, shares: Sequence[float]) -> list[str]:
    _, captions, _ = draw_batch(number, generator(SEED), split=split, count_shares=shares)
    return captions


def draw_clips(
    model: VideoModel, captions: Sequence[str], samples: range, *, steps: int | None = None
) -> Tensor:
    """Clips of several prompts at once, (N, 3, D, H, W), each from its own noise."""
    request = VideoRequest(prompt=captions[0], **({} if steps is None else {"steps": steps}))
    tokens, mask = model.encoder.encode(list(captions))
    cond = Conditioning(
        tokens=tokens,
        token_mask=mask,
        spacing=torch.tensor([[1 / request.fps, 1.0, 1.0]]),
        guidance=torch.full((len(captions),), request.guidance),
    )
    start = noise_batch((3, request.num_frames, request.height, request.width), SEED, samples)
    return sample_from(start, request, cond, model.network, record=model.record)


def _judge(
    model: VideoModel,
    captions: Sequence[str],
    *,
    steps: int | None = None,
    motions: dict[str, list[bool]] | None = None,
) -> tuple[dict[str, list[bool]], list[bool]]:
    """Verdicts per axis over all prompts, and which clips are frozen that should move.

    Into ``motions`` go the verdicts on motion by the motion that was asked for.
    """
    verdicts, frozen = defaultdict(list), []
    for frames, claims in _clips(model, captions, steps):
        found = score(read_clip(frames), claims)
        for axis, hit in found.items():
            verdicts[axis].append(hit)
        if motions is not None and "motion" in found:
            motions[str(claims.things[0].motion)].append(found["motion"])
        if any(thing.motion not in (None, "stay") for thing in claims.things):
            frozen.append(is_frozen(frames))
    return verdicts, frozen


def _clips(
    model: VideoModel, captions: Sequence[str], steps: int | None
) -> Iterator[tuple[object, Claims]]:
    for first in range(0, len(captions), BATCH):
        part = captions[first : first + BATCH]
        clips = draw_clips(model, part, range(first, first + len(part)), steps=steps)
        for clip, caption in zip(clips, part, strict=True):
            yield to_frames(clip[None]).numpy(), parse_caption(caption)


def _figures(
    name: str, verdicts: dict[str, list[bool]], frozen: list[bool], *, judged: bool = False
) -> list[Figure]:
    figures = []
    for axis in AXES:
        if not verdicts.get(axis):
            continue
        low = LEAST if judged and axis in JUDGED else None
        figures.append(_share(f"{name}: {axis}", verdicts[axis], low=low))
    figures.append(_share(f"{name}: frozen", frozen, high=0.0 if judged else None))
    return figures


def _share(
    name: str, hits: list[bool], *, low: float | None = None, high: float | None = None
) -> Figure:
    share = sum(hits) / max(1, len(hits))
    least, most = wilson(sum(hits), len(hits))
    return Figure(
        name=name,
        value=share,
        low=low,
        high=high,
        note=f"{least:.2f} to {most:.2f}, n = {len(hits)}",
    )


def _batched_against_alone(model: VideoModel, captions: Sequence[str]) -> tuple[float, float]:
    """Mean absolute difference of clips in a batch from the same clips alone, in two dtypes."""
    last = len(captions) - 1
    differences = []
    for dtype in (model.network.dtype, torch.float32):
        for parameter in model.network.parameters():
            parameter.data = parameter.data.to(dtype)
        batch = draw_clips(model, captions, range(len(captions)))[last:]
        alone = draw_clips(model, captions[last:], range(last, last + 1))
        differences.append(float((batch - alone).abs().mean()))
    return differences[0], differences[1]
