"""Which motion a track makes, and how fast.

Each motion of the world is fitted to the whole track; a motion is read only where its fit leaves
little over. Shuffled, jerky or mixed motion fits nothing and is read as None.
"""

import math
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

import numpy as np

from video.world.scenes import DIRECTIONS, RATES, SPEEDS

LEAST_TRAVEL: Final = 4.5
"""Pixels over the clip below which a thing does not travel."""
LEAST_TURN: Final = 0.5
"""Radians over the clip below which a thing does not spin."""
LEAST_GROWTH: Final = 1.4
"""Ratio of radii, end over start, below which a thing does not grow."""


@dataclass(frozen=True)
class MotionReading:
    """A motion and its speed; None where no motion of the world fits, or where it has no speed."""

    motion: str | None
    speed: str | None = None


@dataclass(frozen=True)
class _Line:
    """A straight line through a series: change over the whole clip and what it leaves over."""

    change: np.ndarray
    residual: float

    @classmethod
    def through(cls, values: np.ndarray) -> "_Line":
        rows = values.reshape(len(values), -1)
        time = np.linspace(-0.5, 0.5, len(rows))
        slope = time @ rows / (time @ time)
        rest = rows - rows.mean(axis=0) - time[:, None] * slope
        return cls(slope, float(np.sqrt((rest**2).sum(axis=1).mean())))


def read_motion(
    positions: np.ndarray, radii: np.ndarray, angles: np.ndarray, *, unit: float = 1.0
) -> MotionReading:
    """The motion of one thing.

    Args:
        positions: centers (T, 2) in pixels.
        radii: radii (T,) in pixels.
        angles: turn (T,) in radians, continuous; zero where it cannot be seen.
        unit: pixels of the frame per pixel of the 64 x 64 world.
    """
    positions = positions / unit
    swell = _Line.through(np.log(np.maximum(radii, 0.1)))
    turn = _Line.through(angles)
    growing = abs(swell.change[0]) > math.log(LEAST_GROWTH)
    turning = abs(turn.change[0]) > LEAST_TURN
    roam = float(np.ptp(positions, axis=0).max())
    if roam > LEAST_TRAVEL * 0.7:
        return MotionReading(None) if growing else _travel(positions)
    if growing:
        even = swell.residual < 0.13 and not turning
        return MotionReading(("grow" if swell.change[0] > 0 else "shrink") if even else None)
    if turning:
        if turn.residual > 0.06 + 0.035 * abs(turn.change[0]):
            return MotionReading(None)
        rate = abs(turn.change[0]) / (len(angles) - 1)
        return MotionReading("spin", _pace("spin", rate))
    calm = turn.residual < 0.12 and swell.residual < 0.12
    return MotionReading("stay" if calm else None)


def _travel(positions: np.ndarray) -> MotionReading:
    """A direction, a bounce or an orbit, whichever leaves least over; None where none fits."""
    steps = len(positions) - 1
    line = _Line.through(positions)
    length = float(np.hypot(*line.change))
    if length > LEAST_TRAVEL and line.residual < 0.7 + 0.035 * length:
        return MotionReading(_direction(line.change), _pace("direction", length / steps))
    readings = [(*_bounce(positions), "bounce"), (*_orbit(positions), "orbit")]
    residual, rate, motion = min(readings)
    if residual > 1.1:
        return MotionReading(None)
    return MotionReading(motion, _pace(motion, rate))


def _direction(change: np.ndarray) -> str:
    """The one of eight directions nearest to a change of place."""
    way = change / np.hypot(*change)
    fits = {name: way @ ahead / math.hypot(*ahead) for name, ahead in DIRECTIONS.items()}
    return max(fits, key=fits.__getitem__)


def _pace(row: str, rate: float) -> str:
    """The speed a rate stands for: ranges are parted half way between them."""
    ranges = [RATES[row][speed] for speed in SPEEDS]
    limits = [(low[1] + high[0]) / 2 for low, high in pairwise(ranges)]
    return SPEEDS[sum(rate > limit for limit in limits)]


@cache
def _bounces(num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Centered triangle waves (N, T) over rates, heights and starts, and the rate of each (N,)."""
    frame = np.arange(num_frames)
    waves, rates = [], []
    for rate in np.arange(0.7, 3.7, 0.1):
        for span in np.arange(6.0, 19.0, 0.75):
            for start in (-0.1, 0.0, 0.1, 0.9, 1.0, 1.1):
                wave = np.abs((frame * rate + start * span) % (2 * span) - span)
                if rate * (num_frames - 1) > 1.4 * span:
                    waves.append(wave - wave.mean())
                    rates.append(rate)
    return np.array(waves), np.array(rates)


def _bounce(positions: np.ndarray) -> tuple[float, float]:
    """What the best up-and-down triangle wave leaves over (pixels, rms), and its rate."""
    rest = positions - positions.mean(axis=0)
    waves, rates = _bounces(len(rest))
    gaps = (waves**2).sum(axis=1) - 2 * waves @ rest[:, 1]
    best = int(gaps.argmin())
    power = max(0.0, float(gaps[best]) + float((rest**2).sum()))
    return math.sqrt(power / len(rest)), float(rates[best])


def _orbit(positions: np.ndarray) -> tuple[float, float]:
    """What the best even round leaves over (pixels, rms), and its radians per frame."""
    x, y = positions.T
    table = np.column_stack([x, y, np.ones_like(x)])
    (a, b, c), *_ = np.linalg.lstsq(table, x * x + y * y, rcond=None)
    middle = np.array([a / 2, b / 2])
    radius = math.sqrt(max(0.0, c + middle @ middle))
    away = positions - middle
    angle = np.unwrap(np.arctan2(away[:, 1], away[:, 0]))
    turn = _Line.through(angle)
    if not 5.0 < radius < 18.0 or abs(turn.change[0]) < 2.2:
        return math.inf, 0.0
    uneven = radius * turn.residual
    rough = float(np.sqrt(((np.hypot(*away.T) - radius) ** 2).mean()))
    return math.hypot(uneven, rough) * 0.8, abs(turn.change[0]) / (len(positions) - 1)
