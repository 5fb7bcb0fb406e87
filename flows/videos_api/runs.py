"""Jobs as runs of the flow ``text_to_video``: they stand in Prefect's database and outlive it."""

import asyncio
import base64
import hashlib
import json
import os
import shutil
import ssl
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from starlette.types import ASGIApp

from core.refusal import Refusal
from core.wording import LONGEST_NAME, shortened
from flows.settings.environment import client_password, server_password
from flows.settings.settings import Settings
from video.operations.text_to_video import TextToVideo

FLOW, TAG, BATCH_FLOW = "text_to_video", "v1-videos", "generate_clips"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
UNENDED = ("SCHEDULED", "PENDING", "PAUSED", "RUNNING", "CANCELLING")
MISSING = 404
ENDS_WITHIN_S, LOOK_EVERY_S = 40.0, 0.5
PICTURES, KINDS, MOST_PIXELS = "pictures", ("PNG", "JPEG", "WEBP"), 64_000_000


def keep_picture(project: Path, content: object) -> Path:
    """Where a picture that came with a request is kept, by its digest; equal ones once.

    Args:
        project: The project's folder.
        content: As it came.

    Raises:
        Refusal: It is no picture.
    """
    from core.records import atomic_path

    path = place_of(project, content)
    if isinstance(content, bytes) and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, overwrite=True) as temporary:
            temporary.write_bytes(content)
    return path


def place_of(project: Path, content: object) -> Path:
    """Where such a picture goes; nothing is written.

    Raises:
        Refusal: It is no picture.
    """
    try:
        if not isinstance(content, bytes):
            raise ValueError("no file")
        with Image.open(BytesIO(content), formats=KINDS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels")
            image.verify()
            ending = f".{str(image.format).lower()}"
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:
        raise Refusal(
            f"input_reference: it is no picture that can be read ({type(error).__name__}): one is "
            f"sent as a file, {' or '.join(KINDS)}; save it again as PNG."
        ) from error
    name = f"{hashlib.sha256(content).hexdigest()[:32]}{ending}"
    return (project / PICTURES / name).resolve()


def _trusted() -> ssl.SSLContext | bool:
    """Who signs for the server's name: the file that Prefect's own client is told, if any."""
    file = os.environ.get("PREFECT_API_SSL_CERT_FILE")
    return ssl.create_default_context(cafile=file) if file else True


class NotServedError(Exception):
    """The server knows no such flow yet: whoever serves the flows has not begun."""


class Runs:
    """The server's own API, asked in its own process, or at its address."""

    def __init__(self, prefect: ASGIApp | None, settings: Settings) -> None:
        """Take the application beside which this one stands; None for ``PREFECT_API_URL``."""
        secret = server_password() if prefect else client_password()
        token = base64.b64encode(secret.encode()).decode()
        self._settings = settings
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(prefect) if prefect else None,
            base_url="http://127.0.0.1/api" if prefect else os.environ["PREFECT_API_URL"],
            headers={"Authorization": f"Basic {token}"} if secret else {},
            timeout=60,
            verify=_trusted(),
        )
        self.pictures = asyncio.Lock()
        """Held from keeping a picture until its run stands, and while one is removed."""

    async def start(self, flow: str, parameters: dict[str, Any], key: str) -> dict[str, Any]:
        """A run, or that which the same key began before.

        Raises:
            Refusal: The key began another one.
            NotServedError: The server does not know the flow.
        """
        deployment = await self._ask("GET", f"/deployments/name/{flow}/{flow}")
        if deployment is None:
            raise NotServedError
        body: dict[str, Any] = {"parameters": parameters, "tags": [TAG]}
        body |= {"idempotency_key": f"{TAG}-{key}"} if key else {}
        if prompt := parameters.get("request", {}).get("prompt"):
            body["name"] = shortened(prompt, LONGEST_NAME)  # while it waits
        path = f"/deployments/{deployment['id']}/create_flow_run"
        run = await self._ask("POST", path, body)
        while key and TAG not in run["tags"]:  # removed, and the server keeps its key for good
            body["idempotency_key"] += "-again"
            run = await self._ask("POST", path, body)
        if run["parameters"] != parameters:
            raise Refusal(
                f"Idempotency-Key={key[:60]}: it began another request before: a key stands for "
                "one request; choose another."
            )
        return run

    async def read(self, run: str) -> dict[str, Any] | None:
        """A run of this interface; None where it has none of that name."""
        found = await self._ask("GET", f"/flow_runs/{run}")
        return found if found and TAG in found["tags"] else None

    async def all(self, flow: str) -> list[dict[str, Any]]:
        """All jobs, newest first."""
        of_ours = {"flow_runs": {"tags": {"all_": [TAG]}}, "flows": {"name": {"any_": [flow]}}}
        return await self.found(of_ours)

    async def found(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        """Runs by a filter of the server's, newest first."""
        found: list[dict[str, Any]] = []
        while True:
            query = wanted | {"sort": "EXPECTED_START_TIME_DESC", "offset": len(found)}
            some = await self._ask("POST", "/flow_runs/filter", query | {"limit": 200})
            found += some
            if len(some) < 200:
                return found

    async def progress(self, run: str) -> float:
        """Per cent done, by the run's newest progress artifact."""
        wanted = {"flow_run_id": {"any_": [run]}, "type": {"any_": ["progress"]}}
        query = {"artifacts": wanted, "sort": "CREATED_DESC", "limit": 1}
        found = await self._ask("POST", "/artifacts/filter", query)
        return float(found[0]["data"]) if found else 0.0

    async def remove(self, run: dict[str, Any]) -> None:
        """End a run that is under way, remove what it was made from and made, list it no more.

        A run that is under way is waited for, as long as a client waits: else it would write into
        a folder that is gone. A picture stays while another job names it.
        """
        if run["state_type"] not in ENDED:
            kind = "CANCELLING" if run["state_type"] in ("RUNNING", "CANCELLING") else "CANCELLED"
            state = {"state": {"type": kind, "name": kind.capitalize()}}
            await self._ask("POST", f"/flow_runs/{run['id']}/set_state", state)
            await self._ended(run["id"])
        tags = [tag for tag in run["tags"] if tag != TAG]
        await self._ask("PATCH", f"/flow_runs/{run['id']}", {"tags": tags})
        if folder := self.folder(run):
            shutil.rmtree(folder)
        await self._remove_picture(run)

    async def _ended(self, run: str) -> None:
        for _ in range(int(ENDS_WITHIN_S / LOOK_EVERY_S)):
            found = await self._ask("GET", f"/flow_runs/{run}")
            if found is None or found["state_type"] in ENDED:
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def _remove_picture(self, run: dict[str, Any]) -> None:
        """Remove the picture that came with a run, unless another may still read it.

        That is a clip or a batch of this interface, or a run of any flow that has not ended.
        """
        named = run["parameters"].get("request", {}).get("first")
        if not named:
            return
        project = run["parameters"].get("project") or "default"
        kept = (self._settings.outputs / project / PICTURES).resolve()
        path = Path(named).resolve()
        if path.parent != kept:
            return
        async with self.pictures:
            under_way = {"flow_runs": {"state": {"type": {"any_": UNENDED}}}}
            others = [one for flow in (FLOW, BATCH_FLOW) for one in await self.all(flow)]
            others += await self.found(under_way)
            if not any(path.name in json.dumps(one["parameters"]) for one in others):
                path.unlink(missing_ok=True)

    def folder(self, run: dict[str, Any]) -> Path | None:
        """Where a run's results stand; None before they do."""
        project = run["parameters"].get("project") or "default"
        home = self._settings.outputs / project / FLOW
        return next(home.glob(f"*-{run['id'][:8]}"), None)

    def file(self, run: dict[str, Any], variant: str) -> Path | None:
        """The clip of a run that is done, or a picture of it."""
        folder = self.folder(run)
        if folder is None:
            return None
        pictures: dict[str, tuple[str, ...]] = {"thumbnail": (".webp",), "spritesheet": (".png",)}
        kinds = pictures.get(variant, TextToVideo.endings)
        found = (path for kind in kinds for path in sorted(folder.glob(f"*{kind}")))
        return next(found, None)

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = await self._client.request(method, path, json=body)
        if answer.status_code == MISSING:
            return None
        if answer.status_code in (409, 422):
            raise Refusal(f"the request was refused: {answer.text[:500]}; correct it.")
        answer.raise_for_status()
        return json.loads(answer.content) if answer.content else None
