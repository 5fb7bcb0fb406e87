"""What can go wrong in training, in words for the log, the record and the person."""

from __future__ import annotations

import logging
from typing import Any

from core.trouble import Trouble

logger = logging.getLogger(__name__)

MOST_SKIPPED = 10
"""Steps in a row whose gradient is not finite, after which a run goes back."""
RATE_AFTERWARDS = 0.5
"""Share of the learning rate with which it then goes on."""


def out_of_memory(step: int, rows: int, pieces: int) -> dict[str, Any]:
    """The record of memory that ran out; the log says it too.

    Args:
        step: In which it did.
        rows: Samples that were to be computed at a time.
        pieces: In how many they are computed from now on.
    """
    fewer = -(-rows // pieces)
    logger.warning(
        "step %d: out of memory; from here on the same batch is computed %d at a time, not %d",
        step,
        fewer,
        rows,
    )
    return {"step": step, "what": "out of memory", "samples_at_a_time": fewer}


def went_back(steps: range, now: int) -> dict[str, Any]:
    """The record of gradients that were not finite for too long; the log says it too.

    Args:
        steps: In which they were not.
        now: Step of the checkpoint that training goes on from.
    """
    logger.warning(
        "steps %d to %d: gradients were not finite; training goes on from step %d at %g of the "
        "learning rate",
        steps[0],
        steps[-1],
        now,
        RATE_AFTERWARDS,
    )
    facts = {"went_back_to": now, "rate_share": RATE_AFTERWARDS}
    return {"step": steps[0], "what": "gradients not finite", **facts}


def never_finite(steps: range, share: float) -> Trouble:
    """The error that ends a run whose gradients were not finite for too long a second time."""
    return Trouble(
        f"steps {steps[0]} to {steps[-1]}: gradients were not finite, again after going back "
        f"to a checkpoint and to {share:g} of the learning rate: training needs finite ones; look "
        "for broken data, or train under a new name with a much lower learning_rate."
    )
