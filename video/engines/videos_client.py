"""A server of clips spoken to over HTTP: create a job, ask how far it is, fetch it, remove it.

The interface is OpenAI's ``/v1/videos``, as vLLM-Omni, SGLang and others serve it. What comes back
is a stranger's: answers are bounded, and held against what was asked.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from core.refusal import Refusal
from core.trouble import Trouble

CONNECT_S, ANSWER_S, DOWNLOAD_S = 5.0, 60.0, 1800.0
TRIES, WAIT_S, LONGEST_WAIT_S = 4, 0.5, 30.0
BUSY = (429, 502, 503, 504)
UNREAD = (400, 415, 422)  # of a server that takes JSON alone
LARGEST_ANSWER, SHOWN = 1_000_000, 300
JOB = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
HERE = ("localhost", "127.0.0.1", "::1")


class VideosClient:
    """One server; see above."""

    def __init__(self, address: str, key: str = "") -> None:
        """Remember where it is; nothing is sent yet.

        Args:
            address: Such as ``http://host:8091``.
            key: Sent as a bearer token; empty for none.
        """
        self.address = address
        self._http = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            trust_env=urlsplit(address).hostname not in HERE,
        )

    def create(self, fields: Mapping[str, Any], image: bytes | None, name: str) -> dict[str, Any]:
        """Ask for a clip; what the server says of the job.

        Args:
            fields: Of the request.
            image: A PNG to begin from.
            name: By which a request that is sent twice is known.

        Raises:
            Refusal: The server does not take it; with its words.
        """
        told: dict[str, Any] = {"headers": {"Idempotency-Key": name}}
        files: list[tuple[str, Any]] = [(k, (None, str(v))) for k, v in fields.items()]
        if image is not None:
            files.append(("input_reference", ("first.png", image, "image/png")))
        first = self._answer("POST", "/v1/videos", files=files, **told)
        found = first
        if first[0] in UNREAD and image is None:
            found = self._answer("POST", "/v1/videos", json=dict(fields), **told)
        status, said = found if found[0] < 300 else first
        if status >= 300:
            raise Refusal(
                f"{self.address} answered {status} ({words(said)}): a server takes what its "
                "model can; ask for what it says."
            )
        return self._job(said)

    def read(self, job: str) -> dict[str, Any] | None:
        """What the server says of a job; None where it knows none."""
        status, said = self._answer("GET", f"/v1/videos/{job}")
        if status in (404, 410):
            return None
        self._check(status, said)
        return self._job(said)

    def remove(self, job: str) -> None:
        """End a job and remove what it made; a server that cannot is left as it is."""
        try:
            self._answer("DELETE", f"/v1/videos/{job}", tries=1)
        except (Trouble, Refusal):
            return

    def content(self, job: str, most: int) -> bytes:
        """The file of a job that is done.

        Args:
            job: Its name.
            most: Bytes it may have.

        Raises:
            Refusal: It is no mp4, or larger.
        """
        with self._sent("GET", f"/v1/videos/{job}/content") as answer:
            kind = answer.headers.get("content-type", "").partition(";")[0].strip()
            if answer.status_code != 200:
                self._check(answer.status_code, _content(_bounded(answer, LARGEST_ANSWER)))
            if kind not in ("video/mp4", "application/octet-stream"):
                raise self._lie(f"sent {kind or 'something unnamed'} where video/mp4 was due")
            found = _bounded(answer, most)
        if found is None:
            raise self._lie(f"sent more than {most:,} bytes, the size of all pixels")
        return found

    def check(self) -> None:
        """Refuse an address where no ``/v1/videos`` is, or that asks for another key."""
        status, said = self._answer("GET", "/v1/videos", params={"limit": 1})
        if status in (404, 405):
            raise Refusal(
                f"{self.address}: there is no /v1/videos ({status}): an engine that is a server "
                "offers it; name one that does."
            )
        self._check(status, said)

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def _job(self, said: Any) -> dict[str, Any]:
        named = isinstance(said, dict) and isinstance(said.get("id"), str)
        if not (named and JOB.fullmatch(said["id"]) and isinstance(said.get("status"), str)):
            raise self._lie(f"spoke of a job as {words(said)}, without id and status")
        return said

    def _lie(self, what: str) -> Refusal:
        return Refusal(
            f"{self.address} {what}: what comes from a server is held against the request; see "
            "to the server, or name another engine."
        )

    def _check(self, status: int, said: Any) -> None:
        if status in (401, 403):
            raise Refusal(
                f"{self.address} answered {status}: it asks for a key; set LAMINA_ENGINE_KEY to "
                "the one that it knows, and name the server in LAMINA_ENGINE_SERVERS, whose "
                "servers alone are sent it."
            )
        if status >= 300:
            raise Trouble(
                f"{self.address} answered {status} ({words(said)}): the job stands as it was; "
                "see to the server, then try again."
            )

    def _answer(
        self, method: str, path: str, *, tries: int = TRIES, **told: Any
    ) -> tuple[int, Any]:
        with self._sent(method, path, tries=tries, **told) as answer:
            found = _bounded(answer, LARGEST_ANSWER)
            if found is None:
                raise self._lie(f"answered {path} with more than {LARGEST_ANSWER:,} bytes")
            if answer.status_code in (401, 403):
                self._check(answer.status_code, None)
            return answer.status_code, _content(found)

    @contextmanager
    def _sent(
        self, method: str, path: str, *, tries: int = TRIES, **told: Any
    ) -> Iterator[httpx.Response]:
        """The answer, asked for again while the server is away or busy."""
        for left in reversed(range(tries)):
            wait = WAIT_S * 2 ** (tries - left - 1)
            request = self._http.build_request(method, path, **told)
            try:
                answer = self._http.send(request, stream=True)
            except httpx.TransportError as error:
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if not left or not (unsent or method != "POST"):
                    raise Trouble(
                        f"{self.address} does not answer ({_why(error)}): an engine that is a "
                        "server must be up; start it, or name another, and try again."
                    ) from error
                time.sleep(wait)
                continue
            if answer.status_code in BUSY and left:
                answer.close()
                time.sleep(_said_wait(answer, wait))
                continue
            try:
                yield answer
            except httpx.TransportError as error:
                raise Trouble(
                    f"{self.address} broke off ({_why(error)}): what it sent is not whole; try "
                    "again."
                ) from error
            finally:
                answer.close()
            return


def _bounded(answer: httpx.Response, most: int) -> bytes | None:
    """All that is sent; None where it is more than so many bytes, or takes too long."""
    parts, size, end = [], 0, time.monotonic() + DOWNLOAD_S
    for part in answer.iter_bytes():
        size += len(part)
        if size > most or time.monotonic() > end:
            return None
        parts.append(part)
    return b"".join(parts)


def _content(found: bytes | None) -> Any:
    try:
        return json.loads(found or b"null")
    except (ValueError, RecursionError):
        return (found or b"").decode(errors="replace")


def words(said: Any) -> str:
    """What an error says, in brief and on one line."""
    if isinstance(said, dict):
        inner = said.get("error") or said.get("detail") or said.get("message") or said
        said = inner.get("message", inner) if isinstance(inner, dict) else inner
    text = " ".join(str(said).split())
    text = "".join(sign for sign in text if sign.isprintable())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _said_wait(answer: httpx.Response, usual: float) -> float:
    said = answer.headers.get("retry-after", "")
    return min(float(said), LONGEST_WAIT_S) if said.isdecimal() else usual


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
