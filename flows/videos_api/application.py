"""``/v1/videos`` beside the server, behind the same password, which is the client's key.

Create, poll, list, fetch and remove clips, and whole batches of them. Jobs are runs: they survive
a restart of the server, are watched, retried and shown as all others are.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from core.refusal import Refusal
from flows.gallery.access import Access
from flows.gallery.places import KINDS
from flows.requests.batch_requests import ClipBatchRequest
from flows.requests.installed import NotInstalledRefusal, check_installed
from flows.requests.policy import check_policy
from flows.requests.roots import check_paths
from flows.settings.environment import client_password, server_password
from flows.settings.settings import Settings
from flows.storage.files import DEFAULT_PROJECT, checked_project
from flows.storage.quota import Quota
from flows.videos_api.runs import (
    BATCH_FLOW,
    FLOW,
    NotServedError,
    Runs,
    keep_picture,
    place_of,
)
from flows.videos_api.wire import PICTURE, complaint_of, fields_of, job_of, request_of, run_of
from video.engines.places import is_engine

PREFIX = "/v1/videos"
LARGEST_BODY, LONGEST_LIST = 20_000_000, 100
Answer = Callable[[Request], Awaitable[Response]]


def create_videos(prefect: ASGIApp, settings: Settings) -> Starlette:
    """The interface, over the flows of the server that it stands beside."""
    return _interface(Runs(prefect, settings), Access(None, "", server_password()), settings)


def videos_elsewhere(settings: Settings) -> Starlette | None:
    """The interface, over the flows of the server at ``PREFECT_API_URL``.

    Whoever asks is named an operator by the proxy, or knows the server's password; None where
    there is neither, or no such address. Whom the gallery knows otherwise has no say here.
    """
    header, password = settings.gallery_operator_header, client_password()
    if not (os.environ.get("PREFECT_API_URL") and (header or password)):
        return None
    return _interface(Runs(None, settings), Access(None, header, password), settings)


def _interface(runs: Runs, access: Access, settings: Settings) -> Starlette:
    jobs = _Jobs(runs, settings)
    routes = [
        (PREFIX, jobs.create, "POST"),
        (PREFIX, jobs.all, "GET"),
        (f"{PREFIX}/batches", jobs.create_batch, "POST"),
        (f"{PREFIX}/batches/{{job}}", jobs.batch, "GET"),
        (f"{PREFIX}/{{job}}", jobs.read, "GET"),
        (f"{PREFIX}/{{job}}", jobs.remove, "DELETE"),
        (f"{PREFIX}/{{job}}/content", jobs.content, "GET"),
    ]
    return Starlette(
        routes=[Route(path, _guarded(do, access), methods=[kind]) for path, do, kind in routes]
    )


def _guarded(answer: Answer, access: Access) -> Answer:
    """Let in who knows the password, keep out pages of other sites, and tell what was wrong."""

    async def asked(request: Request) -> Response:
        if access.user(request) is None:
            return _wrong(401, "the key is the server's name:password; send it as a bearer token.")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return _wrong(403, f"origin={origin}: pages of other sites ask nothing here.")
        try:
            return await answer(request)
        except NotInstalledRefusal as error:
            return JSONResponse(complaint_of(error), status_code=404)
        except (Refusal, ValidationError) as error:
            return JSONResponse(complaint_of(error), status_code=400)
        except (httpx.HTTPError, NotServedError) as error:
            return _wrong(503, f"the server does not answer ({type(error).__name__}): ask again.")

    return asked


def _wrong(status: int, words: str) -> Response:
    return JSONResponse(complaint_of(ValueError(words)), status_code=status)


def _unknown(request: Request) -> Response:
    return _wrong(404, f"{request.path_params['job']}: there is no such job; see the list.")


class _Jobs:
    def __init__(self, runs: Runs, settings: Settings) -> None:
        self._runs, self._settings = runs, settings

    async def create(self, request: Request) -> Response:
        said = await _fields(request)
        project = checked_project(str(said.get("project") or DEFAULT_PROJECT))
        folder, picture = self._settings.outputs / project, said.get(PICTURE)
        if PICTURE in said:
            said[PICTURE] = str(place_of(folder, picture))
        asked = request_of(said, is_engine)
        check_paths(asked, self._settings)
        check_installed(asked.model, asked.engine)
        check_policy(asked, "/v1/videos")
        parameters = {"request": asked.model_dump(mode="json"), "project": project}
        key = request.headers.get("idempotency-key", "")
        async with self._runs.pictures:
            if isinstance(picture, bytes):
                Quota(self._settings, project).check(len(picture))
                keep_picture(folder, picture)
            run = await self._runs.start(FLOW, parameters, key)
        return JSONResponse(await self._told(run))

    async def all(self, request: Request) -> Response:
        asked = request.query_params
        runs = await self._runs.all(FLOW)
        if asked.get("order") == "asc":
            runs.reverse()
        jobs = [job_of(run, 0) for run in runs]
        names = [job["id"] for job in jobs]
        start = names.index(asked["after"]) + 1 if asked.get("after") in names else 0
        limit = asked.get("limit", "20")
        count = min(int(limit) if limit.isdecimal() else 20, LONGEST_LIST)
        shown = jobs[start : start + count]
        ends = {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {}
        more = start + count < len(jobs)
        return JSONResponse({"object": "list", "data": shown, "has_more": more, **ends})

    async def read(self, request: Request) -> Response:
        run = await self._run(request)
        return JSONResponse(await self._told(run)) if run else _unknown(request)

    async def content(self, request: Request) -> Response:
        run = await self._run(request)
        if run is None:
            return _unknown(request)
        path = self._runs.file(run, request.query_params.get("variant", "video"))
        if run["state_type"] == "COMPLETED" and path is None:
            return _wrong(
                404,
                f"{request.path_params['job']} is made, but not on this server's disk: another "
                "host made it, or it was removed; look in the gallery or in LAMINA_STORE.",
            )
        if run["state_type"] != "COMPLETED" or path is None:
            return _wrong(404, f"{request.path_params['job']} is not made yet; ask again later.")
        return FileResponse(path, media_type=KINDS[path.suffix], filename=path.name)

    async def remove(self, request: Request) -> Response:
        run = await self._run(request)
        if run is None:
            return _unknown(request)
        await self._runs.remove(run)
        name = request.path_params["job"]
        return JSONResponse({"id": name, "object": "video.deleted", "deleted": True})

    async def create_batch(self, request: Request) -> Response:
        from flows.batches.ledger import Batch

        said = await _fields(request)
        prompts = said.pop("prompts", [])
        if not isinstance(prompts, list) or not all(isinstance(text, str) for text in prompts):
            raise Refusal("prompts: a batch has a list of them; send them as JSON.")
        name, project = str(said.pop("name", "")), str(said.pop("project", DEFAULT_PROJECT))
        shared = request_of(said | {"prompt": "x"}, is_engine)
        told = shared.model_dump(mode="json", exclude={"prompt", "seed"})
        told |= {"seed": shared.seed} if "seed" in said else {}
        lines = "\n".join(" ".join(text.split()) for text in prompts)
        asked = ClipBatchRequest(name=name, prompts=lines, **told)
        check_paths(asked, self._settings)
        check_installed(asked.model, asked.engine)
        Batch.named(self._settings, checked_project(project), asked.name)  # refuses, reads nothing
        for text in prompts:
            check_policy(shared.model_copy(update={"prompt": text}), "/v1/videos/batches")
        parameters = {"request": asked.model_dump(mode="json"), "project": project}
        key = request.headers.get("idempotency-key", "")
        run = await self._runs.start(BATCH_FLOW, parameters, key)
        return JSONResponse(self._batch_told(run))

    async def batch(self, request: Request) -> Response:
        run = await self._run(request)
        whole = run is not None and "name" in run["parameters"]["request"]  # a clip has none
        return JSONResponse(self._batch_told(run)) if run and whole else _unknown(request)

    def _batch_told(self, run: dict[str, Any]) -> dict[str, Any]:
        """The batch's run, with what its ledger says."""
        from flows.batches.ledger import Batch

        told = {**job_of(run, 0), "object": "video.batch"}
        kept = ("id", "object", "status", "created_at", "completed_at", "error", "model")
        name, project = run["parameters"]["request"]["name"], run["parameters"]["project"]
        batch = Batch.named(self._settings, project, name)
        made = list(batch.outcomes().values()) if batch.root.is_dir() else []
        states = ("made", "failed", "rejected")
        counts = {state: sum(one["state"] == state for one in made) for state in states}
        return {key: told[key] for key in kept} | {"name": name, "request_counts": counts}

    async def _run(self, request: Request) -> dict[str, Any] | None:
        run = run_of(request.path_params["job"])
        return await self._runs.read(run) if run else None

    async def _told(self, run: dict[str, Any]) -> dict[str, Any]:
        progress = await self._runs.progress(run["id"]) if run["state_type"] == "RUNNING" else 0.0
        return job_of(run, progress)


async def _fields(request: Request) -> dict[str, Any]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise Refusal(
                f"the request has more than {LARGEST_BODY:,} bytes: a sentence and a picture "
                "are all; send less."
            )
    return fields_of(request.headers.get("content-type", ""), body)
