"""How wide slices are, from the scan alone: detail across the slices against detail in plane.

In plane a scan is sharp, so slices of any width can be cut from it along an axis of the plane. A
head is about as detailed one way as another: where the real slices show less detail than such
slices as wide as they are far apart, they are wider, and where more, thinner (after
Han et al. 2021). Detail is measured by differences of differences of neighboring
slices; what a head holds more of one way than another was learned from the heads of training.

Axes: S slices, H and W in plane; intensities in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

from core.arrays import Tensor, like, namespace
from core.operations.linear_operators import along_axis
from medical.acquisition.sampling import AxisGrid, SliceSampling, degradation

ORDERS = (2, 3, 4)  # of differences
FEWEST_SLICES = 16
SHARPER = 1.8  # the distance of slices over the spacing of the plane, at least
MOST_NOISE = 0.5  # of what differs between slices
WIDTHS = (0.5, 1.7)  # of the distance of slices, that scanners make
LEARNED = (-1.0, 0.7)  # middle log ratio of the scans of training
PITCHES_MM = (2.0, 6.0)  # learned from
DOUBTFUL = 0.15  # standard deviation of a width of which nothing is known
UNUSUAL = 2.5  # times that, of other contrasts and with a skull
LEAST_OFF, OFF_MM = 0.05, 0.18  # standard deviation, as found in heads of training
# The width of a box over that of the Gaussian it is taken for, chosen before it was measured and
# kept, as results of edition 3 rest on it. 80 scans of 4 heads (2 unseen) in boxes 2 to 5 mm apart
# and 0.8 to 1.6 times as wide ask for 1.33 (standard deviation 0.13, least 0.91, most 1.59)
BOX = 1.24
BOX_OFF, BOX_STD = 0.07, 0.09  # so boxes are taken for thinner than they are by this share
# Fitted by `python -m tests.benchmarks.slice_widths`: weights of 1, of the three log ratios of
# energies and of the middle one squared, each times 1, l and l * l, with l the logarithm of the
# distance over 4 mm; then of sagittal and coronal slices, each times 1 and l
WEIGHTS = (
    0.0672, 0.0826, -0.0448, -0.0801, 0.3687, -0.1534, -0.2805, 0.161,
    -0.042, -0.3461, -0.2619, 0.1941, -0.3037, -0.0407, 0.0129, -0.0354,
    -0.1713, -0.1386, -0.1194,
)  # fmt: skip


@dataclass(frozen=True)
class WidthEstimate:
    """The width of slices as the scan shows it.

    Attributes:
        share: full width at half maximum over the distance of slices; 1 where nothing is shown.
        std: its standard deviation, as a share of it.
        doubt: why it is not to be used; empty where it is.
    """

    share: float
    std: float
    doubt: str = ""

    def record(self) -> dict[str, object]:
        """For the record beside the files."""
        return asdict(self)


def estimate_width(
    scan: Tensor,
    pitch_mm: float,
    plane_mm: tuple[float, float],
    *,
    noise_std: float,
    across: int = 2,
    usual: bool = True,
) -> WidthEstimate:
    """The width of Gaussian slices that explains how much less detail lies across them.

    Args:
        scan: (S, H, W) as acquired.
        pitch_mm: distance of slices.
        plane_mm: spacing of H and W.
        noise_std: of the scan, intensities in [0, 1].
        across: the axis of the body across which the slices lie: 0 left to right, 1 back to
            front, 2 foot to head.
        usual: whether contrast and surroundings are those of the heads of training; others are
            estimated less well.
    """
    if scan.shape[0] < FEWEST_SLICES:
        return _unknown("few slices")
    ratios = detail_ratios(scan, pitch_mm, plane_mm, noise_std)
    if not ratios:
        return _unknown("the plane hardly sharper, noise, or too little detail")
    weighed = zip(WEIGHTS, terms(ratios, pitch_mm, across), strict=True)
    share = math.exp(sum(weight * term for weight, term in weighed))
    if not (LEARNED[0] <= ratios[1] <= LEARNED[1] and WIDTHS[0] <= share <= WIDTHS[1]):
        return _unknown("detail that slices of a usual width do not leave")
    std = max(LEAST_OFF, OFF_MM / pitch_mm) * (1.0 if usual else UNUSUAL)
    if std > DOUBTFUL:
        close = "slices so close that heads differ more than widths do"
        return _unknown(close if usual else "it is unlike the heads that this was learned from")
    return WidthEstimate(round(share, 3), round(std, 3))


def detail_ratios(
    scan: Tensor, pitch_mm: float, plane_mm: tuple[float, float], noise_std: float
) -> list[float]:
    """Logarithms of detail across slices over that in plane, for each of ``ORDERS``.

    Empty where the scan does not show them; see ``estimate_width``.
    """
    sharp = [axis for axis in (1, 2) if SHARPER * plane_mm[axis - 1] <= pitch_mm]
    rows = [_ratios(scan, axis, pitch_mm, plane_mm[axis - 1], noise_std) for axis in sharp]
    return [sum(column) / len(column) for column in zip(*filter(None, rows), strict=True)]


def terms(ratios: list[float], pitch_mm: float, across: int) -> list[float]:
    """What ``WEIGHTS`` weigh."""
    pitch_mm = min(max(pitch_mm, PITCHES_MM[0]), PITCHES_MM[1])
    far = math.log(pitch_mm / 4.0)
    base = [1.0, *ratios, ratios[1] ** 2]
    sides = [float(across == side) for side in (0, 1)]
    return [b * f for b in base for f in (1.0, far, far * far)] + [
        *sides,
        *(side * far for side in sides),
    ]


def _ratios(
    scan: Tensor, axis: int, pitch_mm: float, spacing_mm: float, noise_std: float
) -> list[float]:
    """Logarithms of detail across slices over that across slices cut along an axis of the plane.

    Both are measured in the scan after that cut, so that both see the same blur. What noise adds
    is known and taken off; empty where it is most of it.
    """
    size = scan.shape[axis]
    cut = AxisGrid(size, spacing_mm, int(size * spacing_mm / pitch_mm), SliceSampling(pitch_mm))
    if cut.num_slices < FEWEST_SLICES:
        return []
    matrix, library = degradation(cut), namespace(scan)
    x = along_axis(scan, like(matrix.astype(np.float32), scan), axis)
    kept = float((matrix**2).sum(1).mean())  # of the noise's variance
    ratios = []
    for order in ORDERS:
        noise_across = noise_std**2 * kept * math.comb(2 * order, order)
        differences = np.diff(matrix, order, 0)
        noise_along = noise_std**2 * float((differences**2).sum(1).mean())
        across = float((library.diff(x, order, 0) ** 2).mean())
        along = float((library.diff(x, order, axis) ** 2).mean())
        if not (noise_across < MOST_NOISE * across and noise_along < MOST_NOISE * along):
            return []
        ratios.append(math.log((across - noise_across) / (along - noise_along)))
    return ratios


def _unknown(doubt: str) -> WidthEstimate:
    return WidthEstimate(1.0, DOUBTFUL, doubt)
