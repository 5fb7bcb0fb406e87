"""The server's API as the stack and the command line use it: plain JSON over HTTP.

Prefect's own client is complete and takes a second to import; these few calls are what the
user interface makes when a person presses Run.
"""

import base64
import json
import time
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener
from uuid import uuid4

from core.refusal import Refusal
from core.trouble import Trouble
from flows.requests.refusals import REFUSAL
from flows.settings.environment import CLIENT_PASSWORD, client_password, is_loopback

ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
OK, NOT_FOUND, REFUSED = 200, 404, (409, 422)
STRANGER = 401
BUSY = 503  # SQLite is locked by another writer
PATIENCE_S = 60.0
HEALTH_PATIENCE_S = 2.0


@dataclass(frozen=True)
class Run:
    """A flow run as the server knows it: its state's type, and the name and message of that."""

    id: str
    flow: str
    state: str
    message: str
    name: str = ""

    @property
    def refused(self) -> bool:
        """Whether it failed because of its input, of which the message tells."""
        return self.name == REFUSAL

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in ENDED


class Server:
    """A server at an address, ``http://host:port``."""

    def __init__(self, address: str) -> None:
        """Remember the address; nothing is sent yet."""
        self.address = address

    def healthy(self) -> bool:
        """Whether a server answers there."""
        try:
            return self._call_once("/health", None, HEALTH_PATIENCE_S) == (OK, True)
        except OSError:
            return False

    def start(self, flow: str, parameters: dict[str, Any], name: str = "") -> Run:
        """Ask for a run of the deployment ``flow/flow``, as the Run button does.

        Args:
            flow: Its name.
            parameters: What it is given.
            name: What the run is called while it waits; two random words by default.

        Raises:
            Refusal: There is no such deployment, or it does not accept the parameters.
        """
        status, deployment = self._call(f"/deployments/name/{flow}/{flow}")
        if status == NOT_FOUND:
            raise Refusal(
                f"{flow}: a flow is named by its deployment; choose one of "
                f"{', '.join(sorted(self.flows()))}."
            )
        path = f"/deployments/{deployment['id']}/create_flow_run"
        body = {"parameters": parameters, "idempotency_key": str(uuid4())}
        if name:
            body["name"] = name
        status, created = self._call(path, body)
        if status in REFUSED:
            raise Refusal(
                f"{flow}: the request was refused: {created.get('detail')}; compare it with the "
                "form of that deployment."
            )
        return _run(self._checked(path, status, created), flow)

    def read(self, run: Run) -> Run:
        """The same run as it is now."""
        return _run(self._answer(f"/flow_runs/{run.id}"), run.flow)

    def progress(self, run: Run) -> tuple[float, str]:
        """Per cent done and words for it, from the run's newest progress artifact."""
        found = self.artifacts(run, "progress")
        if not found:
            return 0.0, ""
        return float(found[-1]["data"]), found[-1]["description"] or ""

    def artifacts(self, run: Run, kind: str) -> list[dict[str, Any]]:
        """The run's artifacts of one kind, oldest first."""
        wanted = {"flow_run_id": {"any_": [run.id]}, "type": {"any_": [kind]}}
        query = {"artifacts": wanted, "sort": "CREATED_DESC"}
        return self._answer("/artifacts/filter", query)[::-1]

    def logs(self, run: Run, newest: int = 20) -> list[str]:
        """The last lines of the run's log, oldest first."""
        wanted = {"flow_run_id": {"any_": [run.id]}}
        query = {"logs": wanted, "sort": "TIMESTAMP_DESC", "limit": newest}
        return [line["message"] for line in self._answer("/logs/filter", query)][::-1]

    def flows(self) -> list[str]:
        """The names of all deployments."""
        return [deployment["name"] for deployment in self._answer("/deployments/filter", {})]

    def page(self, run: Run) -> str:
        """Where the user interface shows the run."""
        return f"{self.address}/v2/runs/flow-run/{run.id}"

    def _answer(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._checked(path, *self._call(path, body))

    def _checked(self, path: str, status: int, answer: Any) -> Any:
        if status != OK:
            raise RuntimeError(
                f"{self.address}{path} answered {status}: the server should know this; see its "
                f"log: {answer}"
            )
        return answer

    def _call(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """The status and the answer, asked again for a while where the server is too busy."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                status, answer = self._call_once(path, body, PATIENCE_S)
            except (OSError, HTTPException) as error:
                raise Trouble(
                    f"{self.address} does not answer ({getattr(error, 'reason', error)}): what is "
                    "asked of the server waits for it; see that it is up and try again."
                ) from error
            if status == STRANGER:
                raise Refusal(
                    f"{self.address} asks for a name and a password: whoever started it set them; "
                    f"set {CLIENT_PASSWORD}=name:password to the same."
                )
            if status != BUSY or time.monotonic() > deadline:
                return status, answer
            time.sleep(0.5)

    def _call_once(
        self, path: str, body: dict[str, Any] | None, patience_s: float
    ) -> tuple[int, Any]:
        """GET without a body, POST with one; the status and the answer, whatever they are."""
        request = Request(
            f"{self.address}/api{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"} | _signed(),
        )
        try:
            with _opener(self.address).open(request, timeout=patience_s) as answer:
                status, text = answer.status, answer.read()
        except HTTPError as error:
            with error:
                status, text = error.code, error.read()
        return OK if status in range(200, 300) else status, _content(text)


def _content(text: bytes) -> Any:
    """What an answer says; its words where it is no JSON, as of a proxy or another program."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text.decode(errors="replace")


def _opener(address: str) -> OpenerDirector:
    """What asks: this machine directly, whatever proxy the environment names for others."""
    here = is_loopback(urlsplit(address).hostname or "")
    return build_opener(ProxyHandler({})) if here else build_opener()


def _signed() -> dict[str, str]:
    """The header that says who asks, where the server wants to know."""
    secret = client_password()
    token = base64.b64encode(secret.encode()).decode()
    return {"Authorization": f"Basic {token}"} if secret else {}


def _run(answer: dict[str, Any], flow: str) -> Run:
    state = answer.get("state") or {}
    return Run(
        id=answer["id"],
        flow=flow,
        state=answer.get("state_type") or "SCHEDULED",
        message=state.get("message") or "",
        name=state.get("name") or "",
    )
