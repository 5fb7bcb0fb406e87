"""How a process ends that cannot do what was asked: its exit code and its one sentence."""

import errno

from pydantic import ValidationError

from core.request import LONGEST_NAME
from core.storage.faults import StoreAwayError, StoreRefusedError
from core.trouble import Trouble
from flows.requests.complaints import sentence
from flows.requests.refusals import is_refusal
from flows.settings.folders import FORBIDDEN

FAULT = 1
BAD_INPUT = 2


def ending(error: BaseException) -> tuple[int, str] | None:
    """The exit code and what a person reads; None for a fault, which keeps its traceback."""
    if isinstance(error, ValueError) and is_refusal(error):
        return BAD_INPUT, sentence(error) if isinstance(error, ValidationError) else str(error)
    if isinstance(error, Trouble | StoreRefusedError):
        return FAULT, str(error)
    if isinstance(error, StoreAwayError):
        return FAULT, str(error.strerror)
    return _of_the_system(error) if isinstance(error, OSError) else None


def _of_the_system(error: OSError) -> tuple[int, str] | None:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FAULT, (
            f"{error.filename or 'The disk'}: {error.strerror}: results are written whole or not "
            "at all; free some space and run the same command again."
        )
    if error.errno in FORBIDDEN and error.filename:
        return BAD_INPUT, (
            f"{error.filename}: {error.strerror}: you may not read or write there; name another "
            "place, for state and results with LAMINA_HOME and LAMINA_OUTPUTS, or change its "
            "rights."
        )
    if error.errno == errno.ENAMETOOLONG and error.filename:
        return BAD_INPUT, (
            f"{str(error.filename)[:60]}...: {error.strerror}: a disk holds names of at most "
            f"{LONGEST_NAME} bytes; shorten it or check it."
        )
    return None
