"""Another system starts runs and is told of their end, as ``docs/operations.md`` says."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]

AUTOMATION = Path(__file__).parents[3] / "infra" / "automations" / "tell-when-done.yaml"
NOWHERE = "00000000-0000-0000-0000-000000000000"
MAKE_BLOCK = """
import sys
from prefect.blocks.webhook import Webhook
print(Webhook(method="POST", url=sys.argv[1]).save("his"))
"""
PATIENCE_S = 400.0


class Hospital:
    """A system that takes what it is told over HTTP."""

    def __init__(self):
        self.told = told = []

        class Ear(BaseHTTPRequestHandler):
            def do_POST(self):
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Ear)
        self.address = f"http://127.0.0.1:{self.server.server_port}/lamina"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hospital():
    system = Hospital()
    yield system
    system.server.shutdown()
    system.server.server_close()


def prefect(running, *words):
    folder, server = running
    places = {"PREFECT_API_URL": f"{server.address}/api", "PREFECT_HOME": str(folder / "client")}
    done = subprocess.run(
        [sys.executable, *words], env=os.environ | places, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()[-1] if done.stdout.split() else ""


def test_a_request_that_is_sent_twice_is_one_run_and_its_end_is_told(running, hospital):
    folder, server = running
    block = prefect(running, "-c", MAKE_BLOCK, hospital.address)
    told = folder / "tell.yaml"
    told.write_text(AUTOMATION.read_text().replace(NOWHERE, block))
    prefect(running, "-m", "prefect", "automation", "create", "--from-file", str(told))

    deployment = server._answer("/deployments/name/text_to_video/text_to_video")["id"]
    request = {"prompt": "a red circle", "num_frames": 4, "model": "tiny-video"}
    body = {"parameters": {"request": request}, "idempotency_key": "order-4711"}
    path = f"/deployments/{deployment}/create_flow_run"
    first, second = (server._answer(path, body) for _ in range(2))
    assert first["id"] == second["id"]

    refused = server.start("text_to_video", {"request": request | {"model": "nowhere"}})

    deadline = time.monotonic() + PATIENCE_S
    while len(hospital.told) < 2:
        assert time.monotonic() < deadline, server._answer(f"/flow_runs/{first['id']}")["state"]
        time.sleep(0.2)
    states = {first["id"]: "Completed", refused.id: "Refused"}
    told = {said["run"]: said for said in hospital.told}
    assert told == {
        run: {"run": run, "flow": "text_to_video", "state": state} for run, state in states.items()
    }
    assert len(hospital.told) == 2


def test_what_is_scheduled_is_planned_by_the_server(running):
    _, server = running
    wanted = {"flows": {"name": {"any_": ["tidy_runs"]}}, "limit": 5}
    deadline = time.monotonic() + PATIENCE_S
    while not (runs := server._answer("/flow_runs/filter", wanted)):
        assert time.monotonic() < deadline, "nothing is scheduled"
        time.sleep(0.2)
    assert all(run["auto_scheduled"] for run in runs)
