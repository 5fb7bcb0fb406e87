"""A server behind ``/v1/videos`` as an engine: the fast ones on GPUs are driven, not rewritten.

It draws elsewhere and with weights that nobody here sees, so its name is all that a record can
say of it, and what it sends is held against the request. A job goes on at the server when this
process dies; the same request finds it again.
"""

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from core.operations.operation import Cost, Model, OnStep
from core.progress import RESUMED, counted
from core.refusal import Refusal
from core.trouble import Trouble
from video.engines.engine import Abilities, Ability, Latents, Stop, StoppedError, refuse_inability
from video.engines.kept_jobs import KeptJob
from video.engines.places import servers
from video.engines.rules import Rules
from video.engines.videos_client import VideosClient, words
from video.fields import EMPTY
from video.request import VideoRequest

if TYPE_CHECKING:
    from video.engines.canvas import Canvas
    from video.files.clip import Clip

USUAL_FPS = 24.0
UNKNOWN_S = 120.0  # nobody here knows how fast it is
ASK_EVERY_S, PATIENCE_S = 2.0, 7200.0
WAITING, MADE = ("queued", "pending", "in_progress", "processing", "running"), "completed"
SMALLEST_BYTES = 1_000_000
NEEDED = {"num_frames": "81", "height": "480", "width": "832"}


@dataclass(frozen=True)
class VideoServer:
    """See ``video.engines.engine.Engine``.

    Attributes:
        address: ``http://host:port``.
        model: That is asked for; empty for the one that it serves.
    """

    address: str
    model: str = ""
    kind = "server"
    delivered = False
    slow = True
    rules = Rules(side=1)
    abilities: Abilities = frozenset({"text", "image", "guidance", "negative", "decode_apart"})

    @classmethod
    def named(cls, text: str) -> "VideoServer":
        """The server that an address with or without a model means.

        Raises:
            Refusal: It is no such address.
        """
        try:
            parts = urlsplit(text)
            _ = parts.port  # raises where it is none
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
                raise ValueError("no server")
        except ValueError as error:
            raise Refusal(
                f"engine={text[:100]}: a server is named as http://host:port or "
                "http://host:port/model, its key in LAMINA_ENGINE_KEY; write it so."
            ) from error
        model = re.sub(r"^v1(/|$)", "", parts.path.strip("/"))
        return cls(f"{parts.scheme}://{parts.netloc}", model)

    @property
    def name(self) -> str:
        """Its address, and the model where one is asked for."""
        return f"{self.address}/{self.model}".rstrip("/")

    def settled(self, request: VideoRequest) -> VideoRequest:
        """The request with a rate; steps and guidance of 0 are the server's own."""
        return request.model_copy(update={"fps": request.fps or USUAL_FPS})

    def check(self, request: VideoRequest) -> None:
        """Refuse what cannot be held against what comes back."""
        fields: tuple[Ability, ...] = ("last", "key", "lora")
        wanted: dict[str, Ability] = {one: one for one in fields if getattr(request, one)}
        refuse_inability(self.name, self.abilities, wanted)
        for field, usual in NEEDED.items():
            if getattr(request, field) == EMPTY:
                raise Refusal(
                    f"{field}=0 with engine={self.name}: a server does not say what it usually "
                    f"makes, and what it sends is held against {field}; give it, such as {usual}."
                )
        if request.first:
            from video.engines.pictures import check_pictures

            check_pictures(request)

    def check_change(self, request: VideoRequest) -> None:
        """As any clip."""
        self.check(request)

    def needs(self, request: VideoRequest) -> Cost:
        """What reading and writing the clip takes here."""
        billions = request.num_frames * request.height * request.width / 1e9
        return Cost(UNKNOWN_S, 0.5 + 12 * billions, 16 * billions, 2 * billions)

    def record(self) -> dict[str, Any]:
        """Its name, which stands for weights that nobody here sees."""
        from core.models.files import WEIGHTS

        digest = hashlib.sha256(self.name.encode()).hexdigest()
        told = {"name": self.name, "kind": "video", "engine": self.kind}
        return told | {"objective": "/v1/videos", "sha256": {WEIGHTS: digest}}

    def encode(self, request: VideoRequest) -> None:
        """Nothing: the server reads the prompt."""

    def load(self, device: Any) -> Model:
        """Nothing is loaded here."""
        return Model(LoadedServer(self), self.record())

    def ready(self, model: Model) -> "LoadedServer":
        """The connection."""
        return model.network

    def key(self, request: VideoRequest, canvas: "Canvas | None" = None) -> dict[str, Any]:
        """The request, and who is asked."""
        return {"asked": request.model_dump(mode="json"), "engine": self.name}

    def goes_on(self, request: VideoRequest) -> bool:
        """None: a server shows a clip that is whole."""
        return False

    def forget(self, request: VideoRequest, canvas: "Canvas | None" = None) -> None:
        """Remove the job of a clip that stands, here and at the server."""
        if job := (kept := KeptJob(self.name, self.settled(request))).read():
            with closing(self.client()) as client:
                client.remove(job)
        kept.forget()

    def look(self) -> None:
        """Refuse an address where no such server answers."""
        with closing(self.client()) as client:
            client.check()

    def client(self) -> VideosClient:
        """What speaks to it; the key goes to servers that are named on this machine alone."""
        ours = (f"{address}/" for address in servers().values())
        known = any(address.startswith(f"{self.address}/") for address in ours)
        return VideosClient(self.address, os.environ.get("LAMINA_ENGINE_KEY", "") if known else "")


class LoadedServer:
    """See ``video.engines.engine.Loaded``."""

    def __init__(self, engine: VideoServer) -> None:
        """Take the engine; nothing is sent yet."""
        self.engine = engine
        self.client = engine.client()

    def denoise(
        self, request: VideoRequest, prepared: None, on_step: OnStep, stop: Stop
    ) -> Latents:
        """Have the server make the clip; its file."""
        from video.engines.pictures import given

        kept, pictures = KeptJob(self.engine.name, request), given(request)
        first = pictures["first"].png if pictures else None
        said, resumed = self._begun(request, kept, first)
        job = str(said["id"])
        try:
            self._wait(said, on_step, stop, resumed=resumed)
        except (KeyboardInterrupt, SystemExit, StoppedError, Refusal):
            self.client.remove(job)
            kept.forget()
            raise
        most = SMALLEST_BYTES + 3 * request.num_frames * request.height * request.width
        content = self.client.content(job, most)
        facts = {"server": self.engine.name, "job": job, "bytes": len(content)}
        facts["sha256"] = hashlib.sha256(content).hexdigest()
        return Latents(content, facts, pictures)

    def decode(self, request: VideoRequest, latents: Latents) -> "Clip":
        """The frames of its file, which must be those that were asked for."""
        from video.engines.pictures import paste
        from video.files.filters import told_lifeless

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "clip.mp4")
            path.write_bytes(latents.values)
            clip = self._read(path, request, latents.facts)
        latents.facts.update(paste(clip.frames, latents.pictures))
        latents.facts.update(told_lifeless(clip.frames, clip.fps, self.engine.name))
        return clip

    def complete(self, request: VideoRequest, canvas: "Canvas", on_step: OnStep) -> "Clip":
        """All frames of a canvas, window after window."""
        from video.engines.chained import chained

        return chained(self, self.engine, request, canvas, on_step)

    def close(self) -> None:
        """Let the connection go."""
        self.client.close()

    def _begun(
        self, request: VideoRequest, kept: KeptJob, first: bytes | None
    ) -> tuple[dict[str, Any], bool]:
        """The job, and whether it had been begun before."""
        if (job := kept.read()) and (said := self.client.read(job)) is not None:
            if said["status"] in (*WAITING, MADE):
                return said, True
            self.client.remove(job)
            kept.forget()
        said = self.client.create(self._fields(request), first, kept.name)
        kept.keep(said["id"])
        return said, False

    def _fields(self, request: VideoRequest) -> dict[str, Any]:
        told = {
            "prompt": request.prompt,
            "model": self.engine.model,
            "size": f"{request.width}x{request.height}",
            "width": request.width,
            "height": request.height,
            "num_frames": request.num_frames,
            "fps": int(request.fps) if request.fps == int(request.fps) else request.fps,
            "num_inference_steps": request.steps,
            "guidance_scale": request.guidance,
            "negative_prompt": request.negative,
        }
        return {k: v for k, v in told.items() if v not in ("", EMPTY)} | {"seed": request.seed}

    def _wait(
        self, said: Mapping[str, Any], on_step: OnStep, stop: Stop, *, resumed: bool
    ) -> None:
        """Ask until the job is made, telling how far it is in per cent."""
        job, told, end = str(said["id"]), -1, time.monotonic() + PATIENCE_S
        while said["status"] != MADE:
            if said["status"] not in WAITING:
                raise self._failed(said)
            done = _percent(said)
            if done != told:
                on_step(done, 100, RESUMED if resumed and told < 0 else None)
                told, end = done, time.monotonic() + PATIENCE_S
            if stop():
                raise StoppedError
            if time.monotonic() > end:
                raise Trouble(
                    f"{self.engine.name}: job {job} has stood at {told} % for "
                    f"{PATIENCE_S / 3600:g} hours; see to the server, then try again."
                )
            time.sleep(ASK_EVERY_S)
            found = self.client.read(job)
            if found is None:
                raise Trouble(
                    f"{self.engine.name} knows job {job} no more: it was removed, or the server "
                    "began anew and keeps none; try again."
                )
            said = found
        on_step(100, 100, None)

    def _failed(self, said: Mapping[str, Any]) -> Refusal:
        return Refusal(
            f"{self.engine.name}: its job ended as {said['status'][:40]} ({words(said)}): the "
            "server could not make it; ask for less, or see its log."
        )

    def _read(self, path: Path, request: VideoRequest, facts: dict[str, Any]) -> "Clip":
        import numpy as np

        from video.files.clip import Clip
        from video.files.footage import look

        footage = look(path)
        asked = request.num_frames, request.height, request.width
        found = footage.count, *footage.stored
        if found != asked:
            frames, height, width = found
            raise Refusal(
                f"{self.engine.name} made {counted(frames, 'frame')} of {width} x {height} where "
                f"{request.num_frames} of {request.width} x {request.height} were asked for: a "
                "server that rounds a request is not believed; ask for what it makes."
            )
        if abs(footage.fps - request.fps) > 0.01 * request.fps:
            facts["sent_at_fps"] = footage.fps
        return Clip(np.stack(list(footage.frames())), request.fps, facts)


def _percent(said: Mapping[str, Any]) -> int:
    progress = said.get("progress")
    return max(0, min(99, int(progress))) if isinstance(progress, int | float) else 0
