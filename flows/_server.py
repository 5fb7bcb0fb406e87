"""The embedded Prefect server as a child process: ``python -m flows._server DESCRIPTOR``.

Prefect's own command does the same after importing its whole command line; here the app is
served directly, on a socket that the parent bound, and the process ends with its parent.
"""

import socket
import sys

import uvicorn
from prefect.server.api.server import create_app

from flows._lifeline import end_with_parent


def main(descriptor: int) -> None:
    """Serve the API and the user interface until told to stop."""
    end_with_parent()
    config = uvicorn.Config(create_app(final=True), log_level="warning")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main(int(sys.argv[1]))
