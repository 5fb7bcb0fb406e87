"""What a run that failed says in its page: what came, and what a person can do about it."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from flows._artifacts import show_facts

logger = logging.getLogger(__name__)

REFUSED = "Change what is named here and start a new run; the same input would be refused again."
FULL = "Free some space where results and state stand, then press Retry: what is done is kept."
TOO_BIG = "Ask for fewer frames, samples or pixels, or retry when others have left the GPU."
AWAY = "The server did not answer. See that it is up, then press Retry: what is done is kept."
FAULT = (
    "This is a fault and not the request's. Press Retry: what is done is kept. If it fails again, "
    "give the operator this page and the end of the log."
)
LONGEST = 2000


@contextmanager
def explained() -> Iterator[None]:
    """Show in the run's page what a person can do if the block fails; the error goes on.

    Suspension and cancellation are no failures and pass untouched.
    """
    try:
        yield
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())
        try:
            facts = {"what happened": words[:LONGEST], "what to do": advice(error)}
            show_facts("This run failed", facts)
        except Exception as unsaid:
            logger.warning("the failure could not be shown: %s", unsaid)
        raise


def advice(error: BaseException) -> str:
    """What a person can do about an error."""
    if isinstance(error, ValueError):
        return REFUSED
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return FULL
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "OutOfMemoryError" in kinds or isinstance(error, MemoryError):
        return TOO_BIG
    return AWAY if "TransportError" in kinds else FAULT
