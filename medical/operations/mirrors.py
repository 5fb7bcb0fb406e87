"""The mirrors in which the network is shown a scan: another for each sample, in turn.

A network that was taught with flips errs a little otherwise on a mirrored head, and a mean over
mirrors errs less: the geometric self-ensemble of Lim et al. 2017. It costs nothing here, as a
scan is restored several times anyway. The scan, its operator and the noise stay as they are; only
what the network sees is turned, and what it answers turned back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.arrays import Tensor, namespace

if TYPE_CHECKING:
    from medical.request import SuperResolutionRequest

Mirror = tuple[int, ...]

MIRRORS: tuple[Mirror, ...] = (
    (), (0, 1, 2), (0,), (1, 2), (1,), (0, 2), (2,), (0, 1),
)  # fmt: skip
"""Which of the axes D, H, W are reversed for samples 0, 1, 2, ..., and from the start again.
Neighbors, whose noise is opposite, share no direction."""


def mirrors(request: SuperResolutionRequest) -> tuple[Mirror, ...]:
    """Those of a request's samples; before edition 4 the scan was shown as it lies alone."""
    return MIRRORS if request.edition > 3 else MIRRORS[:1]


def mirrored(x: Tensor, mirror: Sequence[int]) -> Tensor:
    """An array (..., D, H, W) with the axes of a mirror reversed; itself where there are none.

    >>> import numpy as np
    >>> mirrored(np.arange(3).reshape(1, 1, 3), (0, 2)).ravel().tolist()
    [2, 1, 0]
    """
    if not mirror:
        return x
    return namespace(x).flip(x, tuple(axis - 3 for axis in mirror))
