"""Seam energy: whether a volume shows where its windows met."""

from __future__ import annotations

from collections.abc import Sequence

from core.arrays import Tensor, as_type

Window = tuple[slice, slice, slice]
Periods = tuple[float, float, float]
NO_PERIODS: Periods = (1.0, 1.0, 1.0)


def seam_energy(
    x: Tensor,
    windows: Sequence[Window],
    periods: Periods = NO_PERIODS,
    *,
    reference: Tensor | None = None,
) -> float:
    """The energy of jumps at window borders over that elsewhere; 1 is seamless.

    A jump is the step across a border beyond the mean of the steps before and after it. Each
    border is compared with places nearby on the same axis, a whole number of slice periods
    away, so that the rhythm of the slices is not taken for a seam; and with the same comparison
    in a reference that never saw a window, so that anatomy is not either.

    Args:
        x: (D, H, W).
        windows: Slices along D, H, W that were blended.
        periods: Slice distance in voxels along D, H, W; 1 where the grid is the scan's own.
        reference: The same anatomy without windows, the back-projection; None for none.
    """
    at_border, elsewhere = 0.0, 0.0
    for axis in range(3):
        ends = {w[axis].start for w in windows} | {w[axis].stop for w in windows}
        borders = {int(e) for e in ends if 2 <= e <= x.shape[axis] - 2}
        for border in sorted(borders):
            steps = (round(k * max(2.0, periods[axis])) for k in (-2, -1, 1, 2))
            near = [border + s for s in steps if 2 <= border + s <= x.shape[axis] - 2]
            near = [place for place in near if place not in borders]
            if not near:
                continue
            expected = 1.0
            if reference is not None:
                expected = _contrast(reference, axis, border, near)
            at_border += _jump(x, axis, border)
            elsewhere += expected * sum(_jump(x, axis, place) for place in near) / len(near)
    return at_border / elsewhere if elsewhere > 0 else 1.0


def _contrast(x: Tensor, axis: int, border: int, near: list[int]) -> float:
    around = sum(_jump(x, axis, place) for place in near) / len(near)
    return _jump(x, axis, border) / around if around > 0 else 1.0


def _jump(x: Tensor, axis: int, place: int) -> float:
    """The mean squared jump between the planes ``place - 1`` and ``place``."""
    aside = (slice(None),) * axis
    before, last, first, after = (x[(*aside, place + k)] for k in (-2, -1, 0, 1))  # planes
    beyond = (first - last) - ((last - before) + (after - first)) / 2
    return float((as_type(beyond, "float64") ** 2).mean())
