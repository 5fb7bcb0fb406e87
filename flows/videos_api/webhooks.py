"""Tells others when a clip of ``/v1/videos`` or a batch has ended, by signed webhooks.

The signature is that of Standard Webhooks, which OpenAI's clients check. What ended is read from
the server's own database, and what is still to be told stands in a file, so that a restart of
either side loses nothing; an event that comes twice has one id. No prompt, name or message of a
person is sent: whoever may know more asks for it by the job's id.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.records import atomic_path
from flows.settings.settings import Settings
from flows.settings.webhooks import Webhooks
from flows.videos_api.runs import BATCH_FLOW, ENDED, FLOW, TAG, Runs
from flows.videos_api.wire import JOB

logger = logging.getLogger(__name__)

Event = dict[str, Any]
KINDS = {FLOW: "video", BATCH_FLOW: "video.batch", "restore_scans": "scan.batch"}
OUTBOX = "webhooks.json"
EVERY_S, AGAIN_S, LATEST_S, MOST_TRIES, TIMEOUT_S = 3.0, 5.0, 3600.0, 14, 10.0
LONGEST_S = (
    7 * 24 * 3600.0
)  # after an end it is tried once at most, so that no file grows for ever
OVERLAP = timedelta(minutes=10)  # an end may be written down a little after it was


def signature_of(secret: bytes, name: str, seconds: int, body: bytes) -> str:
    """The header ``webhook-signature`` of Standard Webhooks.

    >>> signature_of(b"s" * 24, "evt_1", 1, b"{}")[:3]
    'v1,'
    """
    signed = b".".join((name.encode(), str(seconds).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def event_of(run: dict[str, Any], flow: str) -> Event:
    """What is told of a run that ended, as OpenAI's webhooks are written.

    Args:
        run: As the server tells of it.
        flow: Its name.
    """
    state = str((run.get("state") or {}).get("name") or run["state_type"]).lower()
    done = run["state_type"] == "COMPLETED"
    ours = TAG in run["tags"]
    data: dict[str, Any] = {"id": JOB + run["id"].replace("-", "") if ours else run["id"]}
    if not done:
        data["error"] = {"code": state}
    ended = datetime.fromisoformat(run["end_time"])
    name = uuid5(NAMESPACE_URL, f"{run['id']} {run['end_time']} {run['state_type']}")
    return {
        "id": f"evt_{name.hex}",
        "object": "event",
        "created_at": int(ended.timestamp()),
        "type": f"{KINDS[flow]}.{'completed' if done else 'failed'}",
        "data": data,
    }


class Herald:
    """Looks for runs that ended, and tells of each until it is heard or given up."""

    def __init__(self, runs: Runs, settings: Settings, webhooks: Webhooks) -> None:
        """Take up what was left to tell."""
        self._runs, self._webhooks = runs, webhooks
        self._path = settings.home / OUTBOX
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S)
        kept = _kept(self._path)
        self._since = kept.get("since") or datetime.now(UTC).isoformat()
        self._begun = datetime.fromisoformat(kept.get("begun") or self._since)
        self._told: dict[str, str] = kept.get("told", {})
        self._waiting = _of_these(kept.get("waiting", {}), webhooks.urls)
        if self._waiting != kept.get("waiting", {}):
            self._keep()

    async def forever(self) -> None:
        """Look and tell until cancelled."""
        while True:
            try:
                await self.look()
                await self.tell()
            except (httpx.HTTPError, OSError) as error:
                logger.warning("webhooks: %s: %s", type(error).__name__, error)
            except Exception:
                logger.exception("webhooks: it is tried again")
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Put what ended since the last look with what is to be told, and write that down."""
        before, now = datetime.fromisoformat(self._since) - OVERLAP, datetime.now(UTC)
        ended = {"end_time": {"after_": before.isoformat()}, "state": {"type": {"any_": ENDED}}}
        found: list[tuple[str, Event]] = []
        for flow in KINDS:
            only = {"tags": {"all_": [TAG]}} if flow == FLOW else {}
            wanted = {"flow_runs": ended | only, "flows": {"name": {"any_": [flow]}}}
            runs = [run for run in await self._runs.found(wanted) if run.get("end_time")]
            found += [(run["end_time"], event_of(run, flow)) for run in runs]
        found.sort(key=lambda one: datetime.fromisoformat(one[0]))
        news = sum(self._take(event, end) for end, event in found)
        oldest = (before - OVERLAP).isoformat()
        self._told = {name: end for name, end in self._told.items() if end > oldest}
        self._since = now.isoformat()
        if news or not self._path.exists():
            self._keep()

    def _take(self, event: Event, end: str) -> int:
        if event["id"] in self._told or datetime.fromisoformat(end) < self._begun:
            return 0
        self._told[event["id"]] = end
        for url in self._webhooks.urls:
            self._waiting[f"{event['id']} {_place(url)}"] = {
                "event": event,
                "tries": 0,
                "next": 0.0,
            }
        return 1

    async def tell(self) -> None:
        """Send what is due, to all addresses at once, and write down what became of it."""
        before = json.dumps(self._waiting)
        await asyncio.gather(*map(self._tell_one, self._webhooks.urls))
        if json.dumps(self._waiting) != before:
            self._keep()

    async def _tell_one(self, url: str) -> None:
        """Send what is due to an address, each only after all that ended before it."""
        keys = [key for key in self._waiting if key.partition(" ")[2] == _place(url)]
        for key in keys:
            load = self._waiting[key]
            if load["next"] > time.time():
                return
            if not await self._heard(url, load["event"]):
                self._put_off(url, keys[keys.index(key) :])
                return
            del self._waiting[key]

    def _put_off(self, url: str, keys: list[str]) -> None:
        """Have the first that was not heard, and all behind it, wait for another try of it.

        A try counts for the first alone; when that is given up, the next is sent at once.
        """
        first = self._waiting[keys[0]]
        first["tries"] += 1
        due = time.time() + min(LATEST_S, AGAIN_S * 2 ** first["tries"])
        ended = first["event"].get("created_at", time.time())
        if first["tries"] >= MOST_TRIES or time.time() - ended > LONGEST_S:
            logger.error("webhook %s is told no more of %s", _host(url), first["event"]["id"])
            del self._waiting[keys.pop(0)]
            due = 0.0
        for key in keys:
            self._waiting[key]["next"] = due

    async def _heard(self, url: str, event: Event) -> bool:
        body, seconds = json.dumps(event).encode(), int(time.time())
        headers = {
            "content-type": "application/json",
            "webhook-id": event["id"],
            "webhook-timestamp": str(seconds),
            "webhook-signature": signature_of(self._webhooks.secret, event["id"], seconds, body),
        }
        try:
            async with self._client.stream("POST", url, content=body, headers=headers) as answer:
                if answer.is_success:
                    return True
                said = f"answers {answer.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            said = type(error).__name__
        logger.warning("webhook %s: %s; it is told of %s later", _host(url), said, event["id"])
        return False

    def _keep(self) -> None:
        said = {"since": self._since, "told": self._told, "waiting": self._waiting}
        said["begun"] = self._begun.isoformat()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self._path, overwrite=True) as temporary:
            temporary.touch(0o600)
            temporary.write_text(json.dumps(said))


class Telling:
    """An application beside which a herald works while it is up."""

    def __init__(self, application: ASGIApp, herald: Herald) -> None:
        """Take both."""
        self._application, self._herald = application, herald

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; the herald begins when the server has, and ends with it."""
        if scope["type"] != "lifespan":
            await self._application(scope, receive, send)
            return
        tasks: list[asyncio.Task[None]] = []

        async def sent(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                tasks.append(asyncio.create_task(self._herald.forever()))
            await send(message)

        try:
            await self._application(scope, receive, sent)
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


def telling(
    application: ASGIApp, prefect: ASGIApp, settings: Settings, webhooks: Webhooks
) -> ASGIApp:
    """The application, with a herald beside it where anybody is to be told.

    Args:
        application: All that the server answers with.
        prefect: Of it, the server whose runs are told of.
        settings: Places.
        webhooks: Whom to tell.
    """
    if not webhooks.urls:
        return application
    return Telling(application, Herald(Runs(prefect, settings), settings, webhooks))


def _kept(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        found = None
    if isinstance(found, dict):
        return found
    aside = path.with_suffix(".unreadable")
    logger.error("webhooks: %s cannot be read: what it held is told no more; see %s", path, aside)
    with contextlib.suppress(OSError):
        path.replace(aside)
    return {}


def _of_these(waiting: dict[str, Any], urls: tuple[str, ...]) -> dict[str, Any]:
    """What waits for these addresses, without those that are named no more."""
    places = {name: _place(url) for url in urls for name in (url, _place(url))}  # once whole
    found = ((*key.partition(" "), load) for key, load in waiting.items())
    return {f"{name} {places[to]}": load for name, _, to, load in found if to in places}


def _place(url: str) -> str:
    """An address as the file names it: paths and queries of webhooks are often secrets."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
