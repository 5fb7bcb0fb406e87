"""The embedded Prefect server as a child process: ``python -m flows._server HOST PORT``.

Prefect's own command does the same after importing its whole command line; here the app is
served directly, and the process ends with the one that started it.
"""

import sys

import uvicorn
from prefect.server.api.server import create_app

from flows._lifeline import end_with_parent


def main(host: str, port: str) -> None:
    """Serve the API and the user interface until told to stop."""
    end_with_parent()
    uvicorn.run(create_app(final=True), host=host, port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
