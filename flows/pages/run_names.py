"""What a run is called in Prefect's pages: after its prompt, its scan, its batch or its model.

Prefect gives a run two random words until it starts. A name that a person or a batch gave stays.
"""

import logging
import re
from collections.abc import Callable
from typing import Any

from prefect.runtime import flow_run

from core.operations.operation import AnyOperation
from core.request import Request
from core.wording import LONGEST_NAME, shortened
from flows.requests.uploads import PREFIX

logger = logging.getLogger(__name__)

RANDOM_WORDS = re.compile(r"[A-Za-z]+(-[A-Za-z]+){1,3}")
Words = Callable[[Any], str]
"""A request in words."""


def named(words: Words) -> Callable[[], str]:
    """What gives a flow's run its name; Prefect asks it when the run starts.

    Args:
        words: What a run of a request is called.
    """

    def run_name() -> str:
        name = flow_run.name or ""
        if name and not RANDOM_WORDS.fullmatch(name):
            return name
        try:
            asked = flow_run.parameters.get("request")
            return shortened(words(asked), LONGEST_NAME) if isinstance(asked, Request) else name
        except Exception as error:  # a name is worth no run
            logger.warning("the run keeps the name %s: %s", name, error)
            return name

    return run_name


def title_by(operation: AnyOperation) -> Words:
    """The prompt or the scan's name; what is made instead, where pages must not tell of scans."""

    def title(request: Any) -> str:
        from flows.settings.settings import read_settings

        if operation.private and read_settings().private:
            return f"A {operation.noun}, {str(flow_run.id)[:8]}"
        return operation.title(request).removeprefix(PREFIX)

    return title


def own_name(request: Any) -> str:
    """The name that a request has."""
    return request.name
