"""Whether an error refuses what someone asked for, or is a fault of ours."""

import dis
from collections.abc import Iterator
from types import TracebackType

from pydantic import ValidationError

from core.request import Request

FLOORS = {"core", "video", "medical", "flows"}


def is_refusal(error: BaseException) -> bool:
    """Whether our own code, or a request's model, refused something.

    Only a ``raise`` of ours refuses. A ``ValueError`` from a library, or from what Python does
    itself (``int("x")``), is a fault: whoever asked could not know its rule.
    """
    if isinstance(error, ValidationError):
        return error.title in {model.__name__ for model in _requests(Request)}
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return isinstance(error, ValueError) and last is not None and _is_our_raise(last)


def _is_our_raise(entry: TracebackType) -> bool:
    """What is called in C has no frame of its own, so the frame alone does not tell."""
    module = entry.tb_frame.f_globals.get("__name__", "")
    return module.partition(".")[0] in FLOORS and any(
        step.offset == entry.tb_lasti and step.opname == "RAISE_VARARGS"
        for step in dis.get_instructions(entry.tb_frame.f_code)
    )


def _requests(model: type[Request]) -> Iterator[type[Request]]:
    """The model and all that derive from it."""
    yield model
    for derived in model.__subclasses__():
        yield from _requests(derived)
