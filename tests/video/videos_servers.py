"""Servers of clips for tests: one that keeps to the protocol, and ways for it to lie.

Multipart or JSON is taken as vLLM-Omni and SGLang take it; frames are noise of prompt and seed.
"""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager
from email.parser import BytesParser
from email.policy import HTTP
from zlib import crc32

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from video.files.clip import Clip, write_mp4


def fields_of(content_type, body):
    """The fields of a form or of JSON, as text."""
    import json

    if content_type.startswith("application/json"):
        return {name: str(value) for name, value in json.loads(body).items()}
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    parts = BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
    return {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
        if part.get_filename()
        else part.get_payload(decode=True).decode()
        for part in parts
    }


class VideosServer:
    """Jobs in memory; each poll is a step of four.

    Args:
        folder: For files.
        json_only: Take JSON alone, as SGLang does without a picture.
        key: That it asks for.
        away: Answers of 503 before it works.
        lies: Name of a lie to content: to what it sends instead.
        until: Steps that no job goes beyond, until this is set to None.
        knows_names: Whether a request that comes twice under one name is one job.
    """

    def __init__(
        self, folder, *, json_only=False, key="", away=0, lies=None, until=None, knows_names=True
    ):
        self.folder, self.json_only, self.key, self.away = folder, json_only, key, away
        self.lies, self.until, self.knows_names = lies or {}, until, knows_names
        self.jobs, self.asked, self.removed, self.names = {}, [], [], {}
        self.application = Starlette(
            routes=[
                Route("/v1/videos", self.create, methods=["POST"]),
                Route("/v1/videos", self.all),
                Route("/v1/videos/{job}", self.read),
                Route("/v1/videos/{job}", self.remove, methods=["DELETE"]),
                Route("/v1/videos/{job}/content", self.content),
            ]
        )

    def refused(self, request):
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": {"message": "no such key"}}, status_code=401)
        if self.away > 0:
            self.away -= 1
            return JSONResponse({"detail": "busy"}, status_code=503)
        return None

    async def create(self, request):
        if refusal := self.refused(request):
            return refusal
        kind = request.headers["content-type"]
        if self.json_only and not kind.startswith("application/json"):
            return JSONResponse({"detail": "input_reference is required"}, status_code=400)
        asked = fields_of(kind, await request.body())
        self.asked.append(asked)
        if asked["width"] == "8":
            words = {"error": {"message": "width must be 16 or more", "type": "invalid"}}
            return JSONResponse(words, status_code=400)
        name = request.headers.get("idempotency-key") if self.knows_names else len(self.names)
        job = self.names.setdefault(name, f"video_{len(self.jobs)}")
        self.jobs[job] = {"asked": asked, "polls": 0}
        return JSONResponse(self.said(job))

    def said(self, job):
        if "job" in self.lies:
            return self.lies["job"]
        polls = self.jobs[job]["polls"]
        status = ("queued", "in_progress", "in_progress", "in_progress", "completed")[
            min(polls, 4)
        ]
        told = {"id": job, "object": "video", "status": status, "progress": 25 * min(polls, 4)}
        return told | self.lies.get("said", {})

    async def all(self, request):
        return self.refused(request) or JSONResponse({"data": [*map(self.said, self.jobs)]})

    async def read(self, request):
        if refusal := self.refused(request):
            return refusal
        job = request.path_params["job"]
        if job not in self.jobs:
            return JSONResponse({"error": {"message": "not found"}}, status_code=404)
        polls = self.jobs[job]["polls"] + 1
        self.jobs[job]["polls"] = polls if self.until is None else min(polls, self.until)
        return JSONResponse(self.said(job))

    async def remove(self, request):
        job = request.path_params["job"]
        self.removed.append(job)
        self.jobs.pop(job, None)
        return JSONResponse({"id": job, "deleted": True})

    async def content(self, request):
        if "content" in self.lies:
            return self.lies["content"]
        asked = self.jobs[request.path_params["job"]]["asked"] | self.lies.get("makes", {})
        shape = tuple(int(asked[name]) for name in ("num_frames", "height", "width"))
        seed = crc32(repr((asked["prompt"], asked["seed"])).encode())
        frames = np.random.default_rng(seed).integers(0, 256, (shape[0], 2, 2, 3), np.uint8)
        frames = frames.repeat(shape[1] // 2, 1).repeat(shape[2] // 2, 2)
        path = write_mp4(
            Clip(frames, float(asked["fps"])), self.folder / "made.mp4", overwrite=True
        )
        return Response(path.read_bytes(), media_type="video/mp4")


@contextmanager
def serving(application):
    """The application on a port of this machine; its address."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(application, log_level="error", lifespan="off"))
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[place])), daemon=True
        )
        thread.start()
        end = time.monotonic() + 20
        while not server.started and time.monotonic() < end:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{place.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
