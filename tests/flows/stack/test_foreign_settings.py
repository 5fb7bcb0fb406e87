"""The stack and the commands among what other people's projects say to Prefect."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import uuid4

import pytest

from flows.batches.ledger import Batch
from flows.settings.environment import child_environment
from flows.settings.own_prefect import past_proxies
from flows.settings.settings import read_settings
from flows.stack.api import Server

PATIENCE_S = 120.0
SHOW = (
    "from prefect.settings import get_current_settings as s;"
    "from pathlib import Path;"
    "print(s().api.url, s().server.database.connection_url.get_secret_value(), Path.cwd())"
)


@pytest.fixture
def foreign(places):
    """A working folder whose files lead Prefect elsewhere; nothing may come to stand there."""
    lost = places / "lost"
    lost.mkdir()
    url = f"sqlite+aiosqlite:///{lost / 'other.db'}"
    table = f'url = "http://127.0.0.1:9/api"\n[{{0}}server.database]\nconnection_url = "{url}"\n'
    (places / "prefect.toml").write_text("[api]\n" + table.format(""))
    (places / "pyproject.toml").write_text("[tool.prefect.api]\n" + table.format("tool.prefect."))
    (places / ".env").write_text(
        f"PREFECT_API_DATABASE_CONNECTION_URL={url}\nPREFECT_API_URL=http://127.0.0.1:9/api\n"
    )
    yield places
    assert list(lost.iterdir()) == []


def environment(home, **more):
    """This process's, with a home folder of its own, and nothing said about Prefect."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    proxies = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    return {**kept, "HOME": str(home), **proxies, **more}


def command(places, words, **more):
    home = places / "person"
    home.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "flows.commands.command_line", *words],
        env=environment(home, **more),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize("broken", [False, True])
def test_files_of_the_working_folder_say_nothing_to_prefect(foreign, broken):
    if broken:
        (foreign / "prefect.toml").write_text("[[[")
    (foreign / "show_it.py").write_text(SHOW)
    home = {"PREFECT_HOME": str(foreign / "state"), "PYTHONPATH": str(foreign)}
    words = [sys.executable, "-m", "flows.settings.own_prefect", "show_it"]
    options = {"env": environment(foreign, **home), "capture_output": True, "text": True}
    done = subprocess.run(words, **options, check=True, timeout=PATIENCE_S)
    url = f"sqlite+aiosqlite:///{foreign / 'state' / 'prefect.db'}"
    assert done.stdout.split() == ["None", url, str(foreign)]


def test_loopback_goes_past_every_proxy(places, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in [n for n in os.environ if n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    assert past_proxies() == {}
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "hospital.example, localhost")
    wanted = "hospital.example,localhost,127.0.0.1,::1"
    assert past_proxies() == {"NO_PROXY": wanted, "no_proxy": wanted}
    assert child_environment(read_settings(), {})["no_proxy"] == wanted
    monkeypatch.setenv("NO_PROXY", "*")
    assert past_proxies() == {}


@pytest.fixture
def asked():
    """A server that knows no run: its address, and the paths that it was asked for."""
    paths = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"detail": "not found"}')

        do_POST = do_GET  # noqa: N815  the name http.server wants

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/api", paths
        server.shutdown()
        thread.join()


def begun(places):
    """A batch with one shard under way on some server."""
    prompts = places / "prompts.txt"
    prompts.write_text("a red circle\n")
    batch = Batch.named(read_settings(), "default", "night")
    batch.root.mkdir(parents=True)
    said = {"kind": "video", "state": "running", "name": "night", "project": "default"}
    said |= {"items": 1, "reason": "", "request": {}, "format_version": 1}
    (batch.root / "batch.json").write_text(json.dumps(said))
    line = {"shard": 0, "try": 1, "run": str(uuid4()), "time": "2026-01-01T00:00:00+00:00"}
    (batch.root / "submissions.jsonl").write_text(json.dumps(line) + "\n")
    return batch


def test_a_batch_is_cancelled_without_a_server_and_none_is_started(foreign):
    begun(foreign)
    done = command(foreign, ["batch", "cancel", "night"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("night: cancelled (cancelled on the command line)")
    assert "Traceback" not in done.stderr
    assert "9/api" not in done.stderr
    assert not (foreign / "person" / ".prefect").exists()
    assert not (foreign / "state" / "prefect" / "prefect.db").exists()


def test_the_server_that_is_set_is_asked_where_no_stack_runs(foreign, asked):
    address, paths = asked
    begun(foreign)
    done = command(foreign, ["batch", "cancel", "night"], PREFECT_API_URL=address)
    assert done.returncode == 0, done.stderr
    assert any("/flow_runs/" in path for path in paths)


@pytest.mark.slow
@pytest.mark.integration
def test_a_stack_among_foreign_settings_keeps_to_its_own(foreign, asked):
    address, paths = asked
    home = foreign / "person"
    home.mkdir()
    log = foreign / "up.log"
    words = [sys.executable, "-m", "flows.commands.command_line", "up"]
    key = {"PREFECT_API_URL": address, "PREFECT_API_KEY": "pnu_secret"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            words, env=environment(home, **key), stdout=file, stderr=file, cwd=foreign
        )
    state, deadline = foreign / "state" / "stack.json", time.monotonic() + PATIENCE_S
    try:
        while not state.exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        begun(foreign)
        done = command(foreign, ["batch", "cancel", "night"], **key)
        assert done.returncode == 0, done.stderr
        request = foreign / "request.json"
        request.write_text('{"prompt": "a red circle", "steps": 1, "model": "tiny-video"}')
        done = command(foreign, ["run", "text_to_video", "--request", str(request)], **key)
        assert done.returncode == 0, done.stderr
        assert len(Server(json.loads(state.read_text())["address"]).flows()) > 1
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)
    assert paths == []
    assert (foreign / "state" / "prefect" / "prefect.db").exists()
    assert not (home / ".prefect").exists()
