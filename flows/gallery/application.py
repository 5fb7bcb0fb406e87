"""The gallery as one ASGI application, beside another on the same origin or alone.

It stands outside Prefect's own application, whose answers any website may read: what the
gallery shows may be medical.
"""

import asyncio
import gzip
import hashlib
import re
from pathlib import Path
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.gallery.access import COOKIE, SESSION_S, Access
from flows.gallery.guard import AuditLog, Guard, from_here
from flows.gallery.pages import Pages
from flows.gallery.uploads import Uploads
from flows.requests.roots import roots
from flows.settings.environment import is_loopback, server_password
from flows.settings.settings import Settings
from flows.videos_api.application import PREFIX as VIDEOS
from flows.videos_api.application import create_videos, videos_elsewhere

PREFIX = "/gallery"
STATIC = Path(__file__).parent / "static"
STATIC_KINDS = {
    "style.css": "text/css",
    "gallery.js": "text/javascript",
    "upload.js": "text/javascript",
    "viewer.js": "text/javascript",
    "niivue.umd.js": "text/javascript",
    "mark.svg": "image/svg+xml",
}
LARGEST_FORM = 4096
FORBIDDEN_SOCKET = 1008
FOREIGN_NAME = (
    "This server asks nobody who they are, so it answers only under this machine's own names "
    "(127.0.0.1, localhost). To serve it under another name, set PREFECT_SERVER_API_AUTH_STRING."
)
SECOND_THOUGHT_S = 0.5  # a wrong token waits this long for its answer


def create_gallery(settings: Settings) -> ASGIApp:
    """The gallery over the outputs root, to be mounted at ``PREFIX``.

    Raises:
        Refusal: The file of users is not of the form it should have.
    """
    access = Access(settings.gallery_tokens, settings.gallery_user_header, server_password())
    pages = Pages(settings.outputs, access, _stamp(), roots(settings))
    doors = _Doors(access, pages)
    application = Starlette(
        routes=[
            Route("/", pages.home),
            Route("/search", pages.search),
            Route("/login", doors.login, methods=["GET", "POST"]),
            Route("/logout", doors.logout, methods=["POST"]),
            Route("/static/{name}", _static),
            Route("/p/{project}/", pages.project),
            Route("/p/{project}/batches/{batch}/", pages.batch),
            Route("/p/{project}/r/{path:path}", pages.result),
            Route("/p/{project}/f/{path:path}", pages.file),
            Route("/p/{project}/scans/", pages.scans),
            Route("/p/{project}/scans/{name}", Uploads(settings).receive, methods=["POST"]),
            Route("/p/{project}/i/{path:path}", pages.scan),
        ],
        exception_handlers={404: pages.error, 405: pages.error, 500: pages.error},
    )
    seen = _watching(application, settings)
    return Guard(seen, access, AuditLog(settings.home / "audit"))


def _watching(application: ASGIApp, settings: Settings) -> ASGIApp:
    """The pages with an eye on the store, where one is named."""
    if not settings.store:
        return application
    from core.storage.store import open_store
    from flows.gallery.elsewhere import PATIENCE_S, Elsewhere, Watching

    store = open_store(settings, PATIENCE_S)
    assert store is not None
    return Watching(application, Elsewhere(store))


def alone(settings: Settings) -> Starlette:
    """The gallery on an origin of its own, at the same addresses as beside Prefect.

    ``/v1/videos`` answers there, too, where it knows the server and who asks.
    """

    def home(_: Request) -> Response:
        return RedirectResponse(f"{PREFIX}/")

    routes = [Route("/", home), Mount(PREFIX, create_gallery(settings))]
    if videos := videos_elsewhere(settings):
        routes.extend(videos.routes)
    return Starlette(routes=routes)


class Beside:
    """The gallery at ``PREFIX``, ``/v1/videos``, and another application everywhere else."""

    def __init__(self, other: ASGIApp, settings: Settings) -> None:
        """Take the other application; it alone sees the server start and stop."""
        self._other = other
        # the gallery's own tokens keep nobody from the other
        self._asks = bool(server_password() or settings.gallery_user_header)
        self._gallery = Starlette(routes=[Mount(PREFIX, create_gallery(settings))])
        self._videos = create_videos(other, settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the one it is for."""
        ours = scope["type"] == "http" and _below(scope, PREFIX)
        application = self._gallery if ours else self._other
        if scope["type"] == "http" and _below(scope, VIDEOS):
            application = self._videos
        if not (ours or self._asks or _asked_here(scope)):
            application = _foreign
        await application(scope, receive, send)


def _below(scope: Scope, prefix: str) -> bool:
    path = scope.get("path", "")
    return path == prefix or path.startswith(f"{prefix}/")


def _asked_here(scope: Scope) -> bool:
    """Whether a request means this machine by its own name, as no page of another site can."""
    hosts = [
        value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"host"
    ]
    return all(is_loopback(re.sub(r":\d+$", "", host)) for host in hosts)


async def _foreign(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse: a name that another site made to mean this machine opens its API to that site."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": FORBIDDEN_SOCKET})
    else:
        await PlainTextResponse(FOREIGN_NAME, status_code=403)(scope, receive, send)


class _Doors:
    """Coming in with a token and going out again."""

    def __init__(self, access: Access, pages: Pages) -> None:
        self._access = access
        self._pages = pages

    async def login(self, request: Request) -> Response:
        if request.method == "POST":
            return await self._enter(request)
        return await run_in_threadpool(self._pages.login, request)

    async def _enter(self, request: Request) -> Response:
        user = None
        if from_here(request):
            user = self._access.login(await _field(request, "token"))
        if user is None:
            await asyncio.sleep(SECOND_THOUGHT_S)
            return self._pages.login(request, refused=True)
        request.state.user = user
        answer = RedirectResponse(_next(request), 303)
        answer.set_cookie(
            COOKIE,
            self._access.session(user),
            max_age=SESSION_S,
            path=request.scope["root_path"] or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return answer

    async def logout(self, request: Request) -> Response:
        answer = RedirectResponse(f"{request.scope['root_path']}/login", 303)
        answer.delete_cookie(COOKIE, path=request.scope["root_path"] or "/")
        return answer


async def _field(request: Request, name: str) -> str:
    """A field of the form that was sent; empty if the form is too large to be ours."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM:
            return ""
    return parse_qs(body.decode("utf-8", errors="replace")).get(name, [""])[0]


def _next(request: Request) -> str:
    """Where a person wanted to go: a page of the gallery, never another site."""
    path = request.query_params.get("next", "/")
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return request.scope["root_path"] + (path if plain and path.isprintable() else "/")


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC_KINDS:
        return Response(status_code=404)
    headers = {"Cache-Control": "public, max-age=86400"}
    file = STATIC / name
    if file.is_file():
        return FileResponse(file, media_type=STATIC_KINDS[name], headers=headers)
    packed, headers["Vary"] = STATIC / f"{name}.gz", "Accept-Encoding"
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return FileResponse(packed, media_type=STATIC_KINDS[name], headers=headers)
    content = gzip.decompress(packed.read_bytes())
    return Response(content, media_type=STATIC_KINDS[name], headers=headers)


def _stamp() -> str:
    """A sign that changes with the static files, so that browsers may keep them."""
    digest = hashlib.sha256()
    for file in sorted(STATIC.iterdir()):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
