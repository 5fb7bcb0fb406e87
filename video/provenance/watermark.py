"""A number of 32 bits in the pixels of a clip, which survives another encoding, size or cut.

Each frame's luma carries 64 bits in its lowest waves (those of a cosine transform, whatever the
frame's size): sums of waves are moved to points of a lattice, one for 0 and one for 1, after Chen
& Wornell 2001. The bits are two words of the Reed-Muller code RM(2, 5), read by likelihood. The
lattice's place is drawn for each bit, so that in pictures that carry none the bits are fair coins.
The draw stands here for all to see: anyone may read the number, and take it out or put one in.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
LEAST_SIDE = 192
BITS, BLOCK, CHECKED = 64, 32, 16
STEP, WAVES, LEAST_WAVE = 56.0, 15, 2.0
GRID = 64  # the size at which STEP is counted
LEAST_PSNR_DB = 42.55
ROUNDS, AT_ONCE = 3, 8
FALSE_ALARM = 5e-10
GAINS = np.concatenate([[1.0], np.linspace(0.85, 1.18, 34)])
LIGHT = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Mark:
    """A number that was found.

    >>> Mark(7, 1e-20).hex
    '00000007'

    Attributes:
        number: Of 32 bits.
        chance: At most how likely a clip without a mark looks so.
    """

    number: int
    chance: float

    @property
    def hex(self) -> str:
        """The number as records write it."""
        return f"{self.number:08x}"


def fits(height: int, width: int) -> bool:
    """Whether frames are large enough to carry a number.

    >>> fits(192, 192), fits(64, 832)
    (True, False)
    """
    return min(height, width) >= LEAST_SIDE


def marked(frames: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """The frames with a number in them, at most so far from what they were.

    Args:
        frames: (T, H, W, 3), large enough.
        number: Of 32 bits.
    """
    aims, least = _places() + _bits(number) / 2, 255.0**2 / 10 ** (LEAST_PSNR_DB / 10)
    before = np.concatenate([_sums(_light(part)) for part in _parts(frames)])
    found, share = np.empty_like(frames), 1.0
    while True:
        errors: list[float] = []
        for start in range(0, len(frames), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            errors += _moved(frames[part], before[part], aims, share, found[part])
        error = float(np.mean(errors))
        if error <= least or share < 0.3:
            return found
        share *= 0.99 * float(np.sqrt(least / error))


def read_mark(frames: NDArray[np.uint8], expected: int | None = None) -> Mark | None:
    """The number that frames carry; None where it may as well be chance.

    Where the likeliest is the one that is expected, chance had one number to hit and not all, so
    that fewer or worse frames do; half as many false alarms more are allowed that.

    For each gain (a clip may have become brighter) the likeliest number is taken; how likely any
    of all numbers at any gain would fit as well by chance is bounded after Chernoff, given how
    steady each bit is over the frames. Half of the false alarms are allowed the gain of 1.

    Args:
        frames: (T, H, W, 3), some or all of a clip.
        expected: The number that a record tells, if there is one.
    """
    if min(frames.shape[1:3]) < WAVES:
        return None
    sums = np.concatenate([_sums(_light(part)) for part in _parts(frames)])
    best: Mark | None = None
    for gain in GAINS:
        turns = np.exp(2j * np.pi * (sums / gain / STEP - _places())).mean(0)
        number, fit = _likeliest(turns.real)
        tries = 2.0 if gain == 1.0 else 2.0 * (len(GAINS) - 1)
        numbers = 2.0 if number == expected else 2.0**32
        chance = min(1.0, tries * numbers * _bound(fit, np.abs(turns)))
        if best is None or chance < best.chance:
            best = Mark(number, chance)
        if gain == 1.0 and chance < FALSE_ALARM:
            break
    return best if best and best.chance < FALSE_ALARM else None


def _bound(fit: float, steady: Floats) -> float:
    """At most how likely 64 turns in any direction, so long, fit a number that well."""
    rates = np.geomspace(0.05, 200, 120)
    each = np.log(np.i0(np.minimum(rates[:, None] * steady, 600.0))).sum(1)
    return float(np.exp(np.minimum(0.0, (each - rates * fit).min())))


def _likeliest(soft: Floats) -> tuple[int, float]:
    number, fit = 0, 0.0
    for block in range(BITS // BLOCK):
        likeness = _book() @ soft[block * BLOCK : (block + 1) * BLOCK].astype(np.float32)
        word = int(likeness.argmax())
        number |= word << (CHECKED * block)
        fit += float(likeness[word])
    return number, fit


def _bits(number: int) -> Floats:
    words = [(number >> (CHECKED * block)) & (2**CHECKED - 1) for block in range(BITS // BLOCK)]
    return np.concatenate([(1 - _book()[word]) / 2 for word in words]).astype(float)


@cache
def _book() -> NDArray[np.float32]:
    """All words of RM(2, 5) as signs, (65536, 32): sums of 1, x_i and x_i x_j."""
    points = np.array(list(itertools.product((0, 1), repeat=5)))
    rows = [np.ones(BLOCK, int), *points.T]
    rows += [points[:, i] * points[:, j] for i, j in itertools.combinations(range(5), 2)]
    words = (np.arange(2**CHECKED)[:, None] >> np.arange(CHECKED)) & 1
    return (1 - 2 * ((words @ np.array(rows)) % 2)).astype(np.float32)


@cache
def _weights() -> Floats:
    """Which waves each bit sums and with which signs, (64, WAVES * WAVES), of length 1."""
    draw = np.random.Generator(np.random.PCG64(1))
    down, across = np.meshgrid(np.arange(WAVES), np.arange(WAVES), indexing="ij")
    length = np.hypot(down, across)
    chosen = (length >= LEAST_WAVE) & (length < WAVES) & (down > 0) & (across > 0)
    order = draw.permutation(np.flatnonzero(chosen))
    each = len(order) // BITS
    weights = np.zeros((BITS, WAVES * WAVES))
    for bit in range(BITS):
        signs = draw.integers(0, 2, each) * 2 - 1
        weights[bit, order[bit * each : (bit + 1) * each]] = signs / np.sqrt(each)
    return weights


@cache
def _places() -> Floats:
    """Where each bit's lattice begins, in steps."""
    return np.random.Generator(np.random.PCG64(2)).random(BITS)


@cache
def _waves(size: int) -> Floats:
    """The lowest cosines over so many pixels, (size, WAVES), each of length 1."""
    turns = np.outer(np.arange(size) + 0.5, np.arange(WAVES))
    return np.cos(np.pi * turns / size) * np.sqrt(2 / size)


def _sums(light: Floats) -> Floats:
    """Each bit's sum of waves, (T, 64), of (T, H, W), as if it were GRID x GRID."""
    _, height, width = light.shape
    waves = np.einsum("thu,hd->tdu", light @ _waves(width), _waves(height), optimize=True)
    flat = waves.reshape(len(light), -1) * (GRID / np.sqrt(height * width))
    return flat @ _weights().T


def _light(frames: NDArray[np.uint8]) -> Floats:
    """Luma, (T, H, W), of (T, H, W, 3), a frame at a time."""
    found = np.empty(frames.shape[:3])
    for index, frame in enumerate(frames):
        np.multiply(frame[..., 0], LIGHT[0], out=found[index])
        found[index] += frame[..., 1] * LIGHT[1]
        found[index] += frame[..., 2] * LIGHT[2]
    return found


def _moved(
    frames: NDArray[np.uint8], before: Floats, aims: Floats, share: float, out: NDArray[np.uint8]
) -> list[float]:
    """Put frames into ``out`` whose sums are nearer to the lattice by a share of the way.

    All three colors of a pixel move by the same whole number, which comes of few waves.

    Returns:
        The mean square of what changed, for each frame.
    """
    _, height, width, _ = frames.shape
    nearest = (np.round(before / STEP - aims) + aims) * STEP
    goal, sums = before + share * (nearest - before), before
    waves = np.zeros((len(frames), WAVES, WAVES))
    for turn in range(ROUNDS):
        off = goal - sums
        waves += (off @ _weights()).reshape(waves.shape) * (np.sqrt(height * width) / GRID)
        for frame, wave, moved in zip(frames, waves, out, strict=True):
            change = np.rint(_waves(height) @ wave @ _waves(width).T).astype(np.int16)
            np.clip(frame + change[..., None], 0, 255, out=moved, casting="unsafe")
        if turn < ROUNDS - 1:
            sums = _sums(_light(out))
    return [
        float(np.square(a - b.astype(np.int32)).mean()) for a, b in zip(out, frames, strict=True)
    ]


def _parts(frames: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(frames), AT_ONCE):
        yield frames[start : start + AT_ONCE]
