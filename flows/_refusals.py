"""Whether an error refuses what someone asked for, or is a fault of ours."""

from traceback import walk_tb

from pydantic import ValidationError

FLOORS = {"core", "video", "medical", "flows"}


def is_refusal(error: BaseException) -> bool:
    """Whether our own code, or a request's model, refused something.

    A ``ValueError`` from inside a library is a fault: whoever asked could not know its rule.
    """
    if isinstance(error, ValidationError):
        return True
    frames = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    return isinstance(error, ValueError) and frames[-1].partition(".")[0] in FLOORS
