"""Whether an error refuses what someone asked for, or is a fault of ours."""

from collections.abc import Iterator

from pydantic import ValidationError

from core.refusal import Refusal
from core.request import Request

REFUSAL = "Refused"  # the name of the failed state of a run whose input was refused


def is_refusal(error: BaseException) -> bool:
    """Whether our own code, or a request's model, refused something.

    Any other ``ValueError``, of a library or of what Python does itself (``int("x")``), is a
    fault: whoever asked could not know its rule.
    """
    if isinstance(error, ValidationError):
        return error.title in {model.__name__ for model in _requests(Request)}
    return isinstance(error, Refusal)


def _requests(model: type[Request]) -> Iterator[type[Request]]:
    """The model and all that derive from it."""
    yield model
    for derived in model.__subclasses__():
        yield from _requests(derived)
