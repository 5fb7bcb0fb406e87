"""Between the network and the pages: hosts, users, headers, and the log of who opened what."""

import json
import os
from collections.abc import MutableMapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.gallery.access import Access
from flows.settings.environment import is_loopback

OPEN_TO_ALL = ("/login", "/static/")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self'; connect-src 'self'; font-src 'self' data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
FOREIGN_HOST = (
    "This gallery is open to everybody who reaches it, so it answers only under this machine's "
    "own names (127.0.0.1, localhost). To serve it under another name, set LAMINA_GALLERY_TOKENS."
)


class AuditLog:
    """Lines of JSON, one per request, in one file per day.

    A search is logged by the results it showed and not by its words: these may name people, and
    what was shown for them tomorrow need not be what was shown today.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder; it is made with the first line."""
        self._folder = folder

    def write(
        self, *, user: str, method: str, path: str, status: int, shown: Sequence[str] = ()
    ) -> None:
        """Append one line; what cannot be logged is not shown, so errors are not caught.

        Args:
            user: Who asked; empty for nobody known.
            method: Of the request.
            path: Without the words of a search.
            status: Of the answer.
            shown: Pages of the results that a search found and showed.
        """
        now = datetime.now(UTC)
        line = {
            "time": now.isoformat(timespec="milliseconds"),
            "user": user,
            "method": method,
            "path": path,
            "status": status,
            **({"shown": list(shown)} if shown else {}),
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        file = os.open(
            self._folder / f"gallery-{now:%Y-%m-%d}.jsonl",
            os.O_WRONLY | os.O_APPEND | os.O_CREAT,
            0o600,
        )
        try:
            os.write(file, json.dumps(line).encode() + b"\n")
        finally:
            os.close(file)


class Guard:
    """Lets in who may come, and says on each answer how browsers must treat it."""

    def __init__(self, app: ASGIApp, access: Access, log: AuditLog) -> None:
        """Wrap the pages."""
        self._app = app
        self._access = access
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        user = self._access.user(request)
        scope.setdefault("state", {})["user"] = user

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _dress(message)
                self._note(scope, path, message["status"])
            await send(message)

        await self._answer(request, path)(scope, receive, send_guarded)

    def _answer(self, request: Request, path: str) -> ASGIApp:
        if self._access.open and not is_loopback(request.url.hostname or ""):
            return PlainTextResponse(FOREIGN_HOST, status_code=403)
        if request.state.user is None and not path.startswith(OPEN_TO_ALL):
            return _login_first(request, path)
        return self._app

    def _note(self, scope: Scope, path: str, status: int) -> None:
        if path.startswith("/static/"):
            return
        user = scope["state"].get("user")
        self._log.write(
            user=user.name if user else "",
            method=scope["method"],
            path=path,
            status=status,
            shown=scope["state"].get("shown", ()),
        )


def _login_first(request: Request, path: str) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(f"{request.scope['root_path']}/login?next={quote(path)}", 303)
    return PlainTextResponse(
        "A token is needed: send it as 'Authorization: Bearer TOKEN'.\n",
        status_code=401,
        headers={"WWW-Authenticate": "Bearer"},
    )


def _dress(message: MutableMapping[str, Any]) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "private, no-store")


def from_here(request: Request) -> bool:
    """Whether a form was sent by a page of ours, as far as the browser says."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")
