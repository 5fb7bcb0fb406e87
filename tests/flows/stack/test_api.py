"""The calls the stack makes, against a server that answers what it is told to."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from core.trouble import Trouble
from flows.stack import api as api_module
from flows.stack.api import Server

signed = []


@pytest.fixture
def answers(monkeypatch):
    """Path to a list of (status, answer); the last one is repeated. Asked bodies are kept."""
    script, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("Content-Length") or 0)
            path = self.path.removeprefix("/api")
            signed.append(self.headers.get("Authorization"))
            asked.append((path, json.loads(self.rfile.read(length) or "null")))
            replies = script[path]
            status, answer = replies.pop(0) if len(replies) > 1 else replies[0]
            self.send_response(status)
            self.end_headers()
            text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.wfile.write(text)

        do_POST = do_GET  # noqa: N815  the name http.server wants

        def log_message(self, *args):
            pass

    monkeypatch.setattr(api_module.time, "sleep", lambda seconds: None)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Server(f"http://127.0.0.1:{server.server_address[1]}"), script, asked
        server.shutdown()
        thread.join()


RUN = {"id": "r1", "state_type": "SCHEDULED", "state": {"message": None}}


def test_a_busy_server_is_asked_again_for_the_same_run(answers):
    server, script, asked = answers
    script["/deployments/name/f/f"] = [(200, {"id": "d1"})]
    script["/deployments/d1/create_flow_run"] = [(503, None), (503, None), (201, RUN)]
    run = server.start("f", {"request": {"prompt": "x"}})
    assert (run.id, run.flow, run.state, run.ended) == ("r1", "f", "SCHEDULED", False)
    bodies = [body for path, body in asked if path.endswith("create_flow_run")]
    assert len(bodies) == 3
    assert bodies[0] == bodies[1] == bodies[2]
    assert bodies[0]["parameters"] == {"request": {"prompt": "x"}}
    assert bodies[0]["idempotency_key"]


def test_refused_parameters_are_bad_input(answers):
    server, script, _ = answers
    script["/deployments/name/f/f"] = [(200, {"id": "d1"})]
    script["/deployments/d1/create_flow_run"] = [(409, {"detail": "frames is too large"})]
    with pytest.raises(ValueError, match="f: the request was refused: frames is too large"):
        server.start("f", {})


def test_an_unknown_flow_is_bad_input_that_names_the_known(answers):
    server, script, _ = answers
    script["/deployments/name/f/f"] = [(404, {})]
    script["/deployments/filter"] = [(200, [{"name": "b"}, {"name": "a"}])]
    with pytest.raises(ValueError, match=r"f: .*; choose one of a, b\."):
        server.start("f", {})


def test_an_unexpected_answer_is_a_fault_that_says_what_came(answers):
    server, script, _ = answers
    script["/deployments/filter"] = [(500, {"exception_message": "broken"})]
    with pytest.raises(RuntimeError, match=r"answered 500: .*broken"):
        server.flows()


def test_progress_is_the_newest_artifacts(answers):
    server, script, _ = answers
    script["/flow_runs/r1"] = [(200, RUN | {"state_type": "RUNNING"})]
    script["/artifacts/filter"] = [
        (200, [{"data": 50.0, "description": "step 2"}, {"data": 9.0, "description": "old"}])
    ]
    run = api_module.Run("r1", "f", "SCHEDULED", "")
    assert server.read(run).state == "RUNNING"
    assert server.progress(run) == (50.0, "step 2")


def test_nobody_there_is_not_healthy():
    away = Server("http://127.0.0.1:9")
    assert away.healthy() is False
    with pytest.raises(Trouble, match=r"127.0.0.1:9 does not answer .*; see that it is up"):
        away.flows()


@pytest.mark.parametrize("status", [200, 502])
def test_another_program_at_the_address_is_no_server(answers, status):
    server, script, _ = answers
    script["/health"] = script["/deployments/filter"] = [(status, b"<html>hello</html>")]
    assert server.healthy() is False
    assert server._call("/deployments/filter", {}) == (status, "<html>hello</html>")


@pytest.mark.parametrize("name", ["PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"])
def test_a_server_that_asks_for_a_password_is_told_it(answers, monkeypatch, name):
    server, script, _ = answers
    script["/deployments/filter"] = [(200, [])]
    server.flows()
    monkeypatch.setenv(name, "ann:secret")
    server.flows()
    assert signed[-2:] == [None, f"Basic {base64.b64encode(b'ann:secret').decode()}"]


def test_a_stranger_is_told_how_to_sign_in(answers):
    server, script, _ = answers
    script["/deployments/name/f/f"] = [(401, {"exception_message": "Unauthorized"})]
    with pytest.raises(ValueError, match=r"asks for a name and a password: .*; set PREFECT_API_"):
        server.start("f", {})
