"""What a run that failed says in its page: what came, and what a person can do about it."""

import errno
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, ParamSpec, TypeVar

from prefect import Flow, flow
from prefect.states import Failed
from pydantic.fields import FieldInfo

from core.refusal import Refusal
from core.request import Request
from core.storage.faults import StoreAwayError, StoreRefusedError
from core.trouble import Trouble
from flows.pages.artifacts import show_facts
from flows.pages.run_names import Words, named
from flows.requests.endings import ending
from flows.requests.forms import Unfit, without
from flows.requests.refusals import REFUSAL, is_refusal
from flows.requests.roots import check_paths
from flows.requests.uploads import with_uploads
from flows.settings.folders import FORBIDDEN
from flows.settings.settings import read_settings
from flows.storage.files import DEFAULT_PROJECT

logger = logging.getLogger(__name__)

REFUSED = "Change what is named here and start a new run; the same input would be refused again."
FULL = "Free some space where results and state stand, then press Retry: what is done is kept."
OVER_QUOTA = (
    "Remove results that nobody needs, or have the operator raise the quota, then press Retry: "
    "what is done is kept."
)
TOO_BIG = "Ask for fewer frames, samples or pixels, or retry when others have left the GPU."
STORE = "See to the store as it says, then press Retry: what is done is kept."
AWAY = "The server did not answer. See that it is up, then press Retry: what is done is kept."
FAULT = (
    "This is a fault and not the request's. Press Retry: what is done is kept. If it fails again, "
    "give the operator this page and the end of the log."
)
MEND = "See to what is named here, then press Retry: what is done is kept."
LONGEST = 2000
REQUEST = "request"
LEFT_OUT = FieldInfo()
"""Stands for a request that was not sent at all."""
UNEXPECTED = "exited with unexpected exception"
PREFECTS_LOGS = ("prefect.flow_runs", "prefect.task_runs")
P = ParamSpec("P")
R = TypeVar("R")


def explained_flow(
    words: Words, on_cancellation: Sequence[Callable[..., None]] = ()
) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """What makes a function the flow of its name, whose failures say what a person can do.

    Args:
        words: What a run of a request is called.
        on_cancellation: What Prefect calls when a run is cancelled.
    """

    def made(function: Callable[P, R]) -> Flow[P, R]:
        return flow(
            name=function.__name__,
            flow_run_name=named(words),
            log_prints=True,
            on_cancellation=[*on_cancellation],  # pyright: ignore[reportArgumentType]
        )(explained(function))

    return made


def explained(function: Callable[..., Any]) -> Callable[..., Any]:
    """The flow's function, of which a failure says in the run's page what a person can do.

    A request that names a file outside the operator's folders is refused before anything else.
    Input that was refused ends the run in a failed state of its own name, ``Refused``, whose
    message is the refusal itself; so a person, a program or an automation tells it from a fault.
    Where it was raised stands in the run's log only for who asks for its details.
    """
    for name in PREFECTS_LOGS:
        logging.getLogger(name).addFilter(_without_trace)

    own = signature(function)

    @wraps(function)
    def with_explanation(*arguments: Any, **options: Any) -> Any:
        try:
            with failure_shown():
                given = own.bind(*arguments, **options)
                _resolve(given.arguments, own)
                return function(*given.args, **given.kwargs)
        except ValueError as error:
            if not is_refusal(error):
                raise
            logger.info("refused: %s", error)
            logger.debug("where it was refused:", exc_info=True)
            return Failed(name=REFUSAL, message=str(error), data=error)

    shown = [each.replace(default=_otherwise(each)) for each in own.parameters.values()]
    with_explanation.__dict__["__signature__"] = own.replace(parameters=shown)
    return with_explanation


def _otherwise(parameter: Parameter) -> Any:
    """What Prefect is told that a parameter is where it is left out.

    A request has no default: the form asks for it. But Prefect would end a run without one before
    the flow, with a stack trace; a default that it cannot show lets the flow be called.
    """
    return LEFT_OUT if parameter.name == REQUEST else parameter.default


def _resolve(given: dict[str, Any], own: Signature) -> None:
    """Refuse what no request can be made of; find uploads; refuse files that may not be named."""
    settings = read_settings()
    if given.get(REQUEST) in (LEFT_OUT, LEFT_OUT.default):
        given[REQUEST] = without(own.parameters[REQUEST].annotation)
    for name, asked in given.items():
        if isinstance(asked, Unfit):
            raise Refusal(asked.why)
        if isinstance(asked, Request):
            project = given.get("project", DEFAULT_PROJECT)
            given[name] = with_uploads(asked, project, settings)
            check_paths(given[name], settings)


def _without_trace(record: logging.LogRecord) -> bool:
    """Let the line pass, without a stack trace where a person's input was refused.

    That a run ended unexpectedly, which Prefect says last, is not so then: it does not pass.
    """
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if error is not None and is_refusal(error) and record.levelno > logging.DEBUG:
        record.exc_info = record.exc_text = None
        return UNEXPECTED not in record.getMessage()
    return True


@contextmanager
def failure_shown() -> Iterator[None]:
    """Show in the run's page what a person can do if the block fails; the error goes on.

    Suspension and cancellation are no failures and pass untouched.
    """
    try:
        yield
    except Exception as error:
        refused, told = is_refusal(error), ending(error)
        words = told[1] if told and refused else f"{type(error).__name__}: {error}"
        words = " ".join(words.split())[:LONGEST]
        title = "This run was refused" if refused else "This run failed"
        try:
            show_facts(title, {"what happened": words, "what to do": advice(error)})
        except Exception as unsaid:
            logger.warning("the failure could not be shown: %s", unsaid)
        raise


def advice(error: BaseException) -> str:
    """What a person can do about an error."""
    if is_refusal(error):
        return REFUSED
    if (number := getattr(error, "errno", None)) in (errno.ENOSPC, errno.EDQUOT):
        return FULL if number == errno.ENOSPC else OVER_QUOTA
    if isinstance(error, StoreAwayError | StoreRefusedError):
        return STORE
    if isinstance(error, Trouble) or number in FORBIDDEN:
        return MEND
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "OutOfMemoryError" in kinds or isinstance(error, MemoryError):
        return TOO_BIG
    return AWAY if "TransportError" in kinds else FAULT
