"""What the domain says while it works, brought into the flow run's log.

Prefect sends only its own loggers to the server; those of every floor, and of the two
libraries that speak while sampling and loading, are attached here at INFO.
"""

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

LOGGERS = ("flows", "core", "video", "medical", "diffusers", "monai")


class RunLog(APILogHandler):
    """Prefect's handler, silent outside of a run: the process may go on when its run is over."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send what is said within a run."""
        if FlowRunContext.get() or TaskRunContext.get():
            super().emit(record)


def join_run_log() -> None:
    """Send the loggers in ``LOGGERS`` to the server as part of the present run; idempotent."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        if not any(isinstance(handler, APILogHandler) for handler in logger.handlers):
            logger.addHandler(RunLog())
