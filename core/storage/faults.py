"""What can be wrong with a store: it is away for a while, or it is not set up as it should be."""

import errno
import logging
import time
from collections.abc import Callable
from typing import TypeVar

logger = logging.getLogger(__name__)

DELAY_S, LONGEST_DELAY_S = 0.5, 15.0
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # of a disk, ours or the store's
UNSIGNED = {"NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError"}
Answer = TypeVar("Answer")


class StoreAwayError(OSError):
    """The store does not answer; what is on the disk is kept, and a later try may succeed."""


class LostLeaseError(RuntimeError):
    """Another host took over while the store was away; what is to be done now is that host's."""


class StoreRefusedError(RuntimeError):
    """The store cannot be used as it is set up; only an operator can mend that."""


def patiently(
    act: Callable[[], Answer],
    what: str,
    url: str,
    patience_s: float,
    is_missing: Callable[[], bool],
) -> Answer:
    """The answer of a store that may be away for a while.

    Args:
        act: Asks it.
        what: In a word: list, read, write, delete.
        url: Of the store.
        patience_s: How long to ask.
        is_missing: Whether the whole place is not there.

    Raises:
        StoreAwayError: It stayed away for longer.
        StoreRefusedError: It does not let us, or is not there at all.
    """
    began, delay = time.monotonic(), DELAY_S
    while True:
        try:
            answer = act()
        except (StoreRefusedError, StoreAwayError, ValueError):
            raise
        except Exception as error:
            if getattr(error, "errno", None) in FULL:
                raise
            _refuse(error, what, url, is_missing)
            if time.monotonic() - began + delay > patience_s:
                raise StoreAwayError(
                    errno.EIO,
                    f"{url} does not answer ({_words(error)}): hosts meet in the store; what is "
                    "on this disk is kept, so bring the store back and start again",
                ) from error
            if delay == DELAY_S:
                logger.warning("%s does not answer (%s); asking again", url, _words(error))
        else:
            if delay > DELAY_S:
                logger.warning("%s answers again", url)
            return answer
        time.sleep(delay)
        delay = min(2 * delay, LONGEST_DELAY_S)


def _refuse(error: Exception, what: str, url: str, is_missing: Callable[[], bool]) -> None:
    """Raise, if asking again cannot help."""
    if isinstance(error, FileNotFoundError) and is_missing():
        raise StoreRefusedError(
            f"LAMINA_STORE={url}: {_words(error)}: the bucket or folder must exist before it is "
            "used; make it or name another one."
        ) from error
    unsigned = UNSIGNED & {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, PermissionError) or unsigned:
        raise StoreRefusedError(
            f"LAMINA_STORE={url}: {_words(error)}: this host may not {what} there; give it the "
            "rights to list, read, write and delete (for S3 by AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, a profile, or the role of the machine)."
        ) from error


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
