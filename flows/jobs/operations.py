"""Every operation that flows, batches and commands may be asked for, by name and by request."""

from core.operations.operation import AnyOperation
from core.refusal import Refusal
from core.request import Request
from medical.operations.table import OPERATIONS as MEDICAL
from video.operations.table import OPERATIONS as VIDEO

OPERATIONS: dict[str, AnyOperation] = {**VIDEO, **MEDICAL}


def operation_named(name: str) -> AnyOperation:
    """The operation of that name.

    Raises:
        Refusal: There is none.
    """
    if name not in OPERATIONS:
        raise Refusal(
            f"{name}: there is no such operation; choose one of {', '.join(OPERATIONS)}."
        )
    return OPERATIONS[name]


def operation_of(request: Request) -> AnyOperation:
    """The operation that a request asks for."""
    return next(each for each in OPERATIONS.values() if each.request is type(request))
