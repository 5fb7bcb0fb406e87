"""The embedded Prefect server as a child process: ``python -m flows.stack.server DESCRIPTOR``.

Prefect's own command does the same after importing its whole command line; here the app is
served directly, on a socket that the parent bound, and the process ends with its parent. The
gallery answers on the same origin.
"""

import socket
import sys
from typing import Any

import uvicorn
from prefect.server.api.server import create_app
from prefect.server.database import configurations

from flows.gallery.application import Beside
from flows.machines.lifeline import end_with_parent
from flows.settings.settings import read_settings
from flows.settings.webhooks import read_webhooks
from flows.videos_api.webhooks import telling


def main(descriptor: int) -> None:
    """Serve the API, the user interface and the gallery until told to stop."""
    end_with_parent()
    let_writers_wait()
    prefect, settings = create_app(final=True), read_settings()
    application = telling(Beside(prefect, settings), prefect, settings, read_webhooks())
    config = uvicorn.Config(application, log_level="warning")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


def let_writers_wait() -> None:
    """Have SQLite's writers wait for each other.

    Prefect's transactions begin by reading: where another writes before they do, SQLite refuses
    them at once, whatever the timeout, and a person who pressed Submit sees an unknown error.
    """

    def begin(self: Any, conn: Any) -> None:
        if configurations.SQLITE_BEGIN_MODE.get() is not None:
            conn.exec_driver_sql("BEGIN IMMEDIATE")

    configurations.AioSqliteConfiguration.begin_sqlite_stmt = begin


if __name__ == "__main__":
    main(int(sys.argv[1]))
