"""What a run is called in Prefect's pages: after its prompt, its scan, its batch or its model.

Prefect gives a run two random words until it starts. A name that a person or a batch gave stays.
"""

import logging
import re
from collections.abc import Callable
from typing import Any

from prefect.runtime import flow_run

from core.request import Request
from core.wording import shortened
from flows.requests.batch_requests import (
    ApprovalRequest,
    BatchRequest,
    NightsRequest,
    ShardRequest,
)
from flows.requests.flow_requests import TidyRequest
from flows.requests.uploads import PREFIX

logger = logging.getLogger(__name__)

LONGEST = 80
RANDOM_WORDS = re.compile(r"[A-Za-z]+(-[A-Za-z]+){1,3}")

OTHERS: dict[type[Request], Callable[[Any], str]] = {
    ShardRequest: lambda asked: f"{asked.batch}, shard {asked.shard}",
    ApprovalRequest: lambda asked: f"Approve {asked.batch}",
    NightsRequest: lambda asked: f"Missed nights of {asked.flow}",
    TidyRequest: lambda _: "Tidy runs",
}


def run_name() -> str:
    """The name of the present flow run; Prefect asks for it when the run starts."""
    name = flow_run.name or ""
    if name and not RANDOM_WORDS.fullmatch(name):
        return name
    try:
        asked = flow_run.parameters.get("request")
        return words_of(asked) if isinstance(asked, Request) else name
    except Exception as error:  # a name is worth no run
        logger.warning("the run keeps the name %s: %s", name, error)
        return name


def words_of(request: Request) -> str:
    """What a run of a request is called, on one line."""
    if told := OTHERS.get(type(request)):
        return told(request)
    if name := getattr(request, "name", ""):
        return _dated(request, name) if isinstance(request, BatchRequest) else name
    return shortened(_title(request), LONGEST)


def _title(request: Request) -> str:
    """The prompt or the scan's name; what is made instead, where pages must not tell of scans."""
    from flows.jobs.operations import operation_of
    from flows.settings.settings import read_settings

    operation = operation_of(request)
    if operation.private and read_settings().private:
        return f"A {operation.noun}, {str(flow_run.id)[:8]}"
    return operation.title(request).removeprefix(PREFIX)


def _dated(request: BatchRequest, name: str) -> str:
    from prefect.context import get_run_context

    from flows.batches.nights import DATE, night_of, of_night

    if DATE not in name:
        return name
    run: Any = get_run_context()
    return of_night(request, night_of(run.flow_run)).name
