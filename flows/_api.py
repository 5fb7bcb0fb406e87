"""The server's API as the stack and the command line use it: plain JSON over HTTP.

Prefect's own client is complete and takes a second to import; these few calls are what the
user interface makes when a person presses Run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
NOT_FOUND = 404
UNPROCESSABLE = (409, 422)


@dataclass(frozen=True)
class Run:
    """A flow run as the server knows it."""

    id: str
    flow: str
    state: str
    message: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in ENDED


class Server:
    """A server at an address."""

    def __init__(self, address: str) -> None:
        """Remember the address, ``http://host:port``; nothing is sent yet."""
        self.address = address
        self._client = httpx.Client(base_url=f"{address}/api", timeout=30)

    def healthy(self) -> bool:
        """Whether a server answers there."""
        try:
            return self._client.get("/health", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def has_worker(self, pool: str, name: str) -> bool:
        """Whether the worker of that name polls the pool."""
        answer = self._client.post(f"/work_pools/{pool}/workers/filter", json={})
        return answer.is_success and any(worker["name"] == name for worker in answer.json())

    def start(self, flow: str, parameters: dict[str, Any]) -> Run:
        """Ask for a run of the deployment ``flow/flow``, as the Run button does.

        Raises:
            ValueError: There is no such deployment, or it does not accept the parameters.
        """
        found = self._client.get(f"/deployments/name/{flow}/{flow}")
        if found.status_code == NOT_FOUND:
            raise ValueError(
                f"{flow}: a flow is named by its deployment; choose one of "
                f"{', '.join(sorted(self.flows()))}."
            )
        found.raise_for_status()
        created = self._client.post(
            f"/deployments/{found.json()['id']}/create_flow_run", json={"parameters": parameters}
        )
        if created.status_code in UNPROCESSABLE:
            raise ValueError(
                f"{flow}: the request was refused: {created.json().get('detail')}; compare it "
                "with the form of that deployment."
            )
        created.raise_for_status()
        return _run(created.json(), flow)

    def read(self, run: Run) -> Run:
        """The same run as it is now."""
        answer = self._client.get(f"/flow_runs/{run.id}")
        answer.raise_for_status()
        return _run(answer.json(), run.flow)

    def progress(self, run: Run) -> tuple[float, str]:
        """Per cent done and words for it, from the run's newest progress artifact."""
        found = self.artifacts(run, kind="progress")
        if not found:
            return 0.0, ""
        return float(found[-1]["data"]), found[-1]["description"] or ""

    def artifacts(self, run: Run, kind: str) -> list[dict[str, Any]]:
        """The run's artifacts of one kind, oldest first."""
        query = {
            "artifacts": {"flow_run_id": {"any_": [run.id]}, "type": {"any_": [kind]}},
            "sort": "CREATED_DESC",
        }
        answer = self._client.post("/artifacts/filter", json=query)
        answer.raise_for_status()
        return answer.json()[::-1]

    def logs(self, run: Run, newest: int = 20) -> Iterator[str]:
        """The last lines of the run's log."""
        query = {
            "logs": {"flow_run_id": {"any_": [run.id]}},
            "sort": "TIMESTAMP_DESC",
            "limit": newest,
        }
        answer = self._client.post("/logs/filter", json=query)
        answer.raise_for_status()
        return (line["message"] for line in reversed(answer.json()))

    def flows(self) -> list[str]:
        """The names of all deployments."""
        answer = self._client.post("/deployments/filter", json={})
        answer.raise_for_status()
        return [deployment["name"] for deployment in answer.json()]

    def page(self, run: Run) -> str:
        """Where the user interface shows the run."""
        return f"{self.address}/v2/runs/flow-run/{run.id}"


def _run(answer: dict[str, Any], flow: str) -> Run:
    state = answer.get("state") or {}
    return Run(
        id=answer["id"],
        flow=flow,
        state=answer.get("state_type") or "SCHEDULED",
        message=state.get("message") or "",
    )
