"""What the network sees and answers: the part of a head that back-projection leaves out.

Training and restoration must agree on these lines, so they stand alone.
"""

from __future__ import annotations

from core.arrays import Tensor, namespace

RESIDUAL_SCALE = 0.05
"""Standard deviation of truth - back-projection in the foreground at 4 mm (measured: 0.048)."""

LEFT_OUT = 0.01
"""Standard deviation of what the network misses of a scan that it was shown.

By the weights of noisy scans at which three heads of training came out best: about 1, 0.5, 0.2 and
0.1 at 0.5, 1, 2 and 3 % of noise.
"""


def condition(back_projection: Tensor, evidence: Tensor) -> Tensor:
    """The network's condition channels (..., 2, D, H, W).

    Args:
        back_projection: (..., D, H, W), intensities in [0, 1]; sent as about [-1, 1].
        evidence: (..., D, H, W), the mask channel: 1 where the scan was measured (slice
            centers), falling to 0 half-way between slices.
    """
    return namespace(evidence).stack([2.0 * back_projection - 1.0, evidence], -4)
