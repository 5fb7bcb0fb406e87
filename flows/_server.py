"""The embedded Prefect server as a child process: ``python -m flows._server DESCRIPTOR``.

Prefect's own command does the same after importing its whole command line; here the app is
served directly, on a socket that the parent bound, and the process ends with its parent. The
gallery answers on the same origin.
"""

import socket
import sys

import uvicorn
from prefect.server.api.server import create_app

from flows._lifeline import end_with_parent
from flows._settings import read_settings
from flows.gallery.application import Beside


def main(descriptor: int) -> None:
    """Serve the API, the user interface and the gallery until told to stop."""
    end_with_parent()
    application = Beside(create_app(final=True), read_settings())
    config = uvicorn.Config(application, log_level="warning")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main(int(sys.argv[1]))
