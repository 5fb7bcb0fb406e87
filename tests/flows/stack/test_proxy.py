"""A host that joins through the proxy of the compose file: its Caddyfile, by Caddy itself."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from clips import SMALL
from stores import answers, free_port, open_s3, rights
from waiting import until

from core.storage.store import open_store
from flows.settings.settings import read_settings

INFRA = Path(__file__).parents[3] / "infra"
USER, PASSWORD = "operator", "correct horse"
BUSY = 503  # what a Prefect server on SQLite says under load; one asks again


@pytest.fixture(scope="module")
def caddy():
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("no Caddy on this machine: apt-get install caddy")
    return program


def adapted(program, **places):
    """The Caddyfile for services of this machine, in the words of the Caddy that is here."""
    text = (INFRA / "Caddyfile").read_text()
    for name, port in places.items():
        text, count = re.subn(rf"\b{name}:\d+", f"127.0.0.1:{port}", text)
        assert count, name
    version = subprocess.run([program, "version"], capture_output=True, text=True, check=True)
    major, minor = map(int, re.findall(r"\d+", version.stdout)[:2])
    if (major, minor) < (2, 8):
        text = text.replace("basic_auth", "basicauth")
    return "{\n\tadmin off\n}\n" + text


@contextmanager
def process(words, log, **environment):
    with log.open("wb") as file:
        started = subprocess.Popen(
            words, env={**os.environ, **environment}, stdout=file, stderr=file, cwd=log.parent
        )
        try:
            yield started
        finally:
            started.send_signal(signal.SIGINT)
            try:
                started.wait(60)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def hashed(caddy, password):
    words = [caddy, "hash-password", "--plaintext", password]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def ask(address, path, body=None, password=PASSWORD):
    word = base64.b64encode(f"{USER}:{password}".encode()).decode()
    headers = {"Content-Type": "application/json"} | (
        {"Authorization": f"Basic {word}"} if password else {}
    )
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}{path}", data, headers)
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != BUSY:
                raise
            error.close()
            time.sleep(1.0)


@pytest.fixture
def door(caddy, tmp_path):
    """The proxy's address, with a Prefect server behind it that asks nobody."""
    behind, port = free_port(), free_port()
    file = tmp_path / "Caddyfile"
    file.write_text(adapted(caddy, server=behind, gallery=free_port()))
    words = [str(Path(sys.executable).with_name("prefect")), "server", "start"]
    server = process(
        [*words, "--host", "127.0.0.1", "--port", str(behind)],
        tmp_path / "server.log",
        PREFECT_HOME=str(tmp_path / "prefect"),
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
    )
    proxy = process(
        [caddy, "run", "--config", str(file), "--adapter", "caddyfile"],
        tmp_path / "caddy.log",
        LAMINA_HOSTNAME=f"http://127.0.0.1:{port}",
        PROXY_USER=USER,
        PROXY_PASSWORD_HASH=hashed(caddy, PASSWORD),
        PEOPLE=str(tmp_path / "people"),
        XDG_DATA_HOME=str(tmp_path / "caddy"),
    )
    with server, proxy as running:
        until(lambda: answers(behind), "no server", 0.5)
        until(lambda: answers(port) or running.poll() is not None, "no proxy", 0.1)
        assert running.poll() is None, (tmp_path / "caddy.log").read_text()
        yield f"http://127.0.0.1:{port}"


def done(door, flow, request):
    """Ask for a run and see it completed."""
    deployment = ask(door, f"/api/deployments/name/{flow}/{flow}")
    run = ask(
        door, f"/api/deployments/{deployment['id']}/create_flow_run",
        {"parameters": {"request": request}, "state": {"type": "SCHEDULED"}},
    )  # fmt: skip

    def state():
        return ask(door, f"/api/flow_runs/{run['id']}")["state"]

    until(lambda: state()["type"] in ("COMPLETED", "FAILED", "CRASHED"), flow, 1.0)
    assert state()["type"] == "COMPLETED", state()


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(900)
def test_hosts_join_through_the_proxy_by_name_and_password_and_meet_in_s3(
    door, places, cable, monkeypatch
):
    for password in ("", "wrong"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(door, "/api/health", password=password)
        assert refused.value.code == 401
        refused.value.close()
    assert ask(door, "/api/health") is True

    open_s3(monkeypatch, cable.port)

    def joins(name, *words):
        """A host with nothing of the others but the server's address and the store's."""
        joined = {
            "PREFECT_API_URL": f"{door}/api",
            "PREFECT_API_AUTH_STRING": f"{USER}:{PASSWORD}",
            "PREFECT_HOME": str(places / name / "prefect"),
            "LAMINA_HOME": str(places / name / "state"),
            "LAMINA_OUTPUTS": str(places / name / "outputs"),
            "OMP_NUM_THREADS": "1",
        }
        (places / name).mkdir()
        lamina = [sys.executable, "-m", "flows.commands.command_line", "worker", "--pool", *words]
        return process(lamina, places / name / "worker.log", **joined)

    log = places / "samples" / "worker.log"
    with joins("samples", "gpu", "--register"), joins("coordinates", "cpu"):

        def waiting():
            try:
                found = ask(door, "/api/work_pools/gpu/workers/filter", {})
                ask(door, "/api/deployments/name/text_to_video/text_to_video")
            except urllib.error.HTTPError as error:
                error.close()
                return False
            return any(worker["status"] == "ONLINE" for worker in found)

        until(waiting, log.read_text, 1.0)
        done(door, "text_to_video", {"prompt": "a red circle moves left", **SMALL})
        limits = {"reserve_gb": 0.0}
        prompts = "a red circle\na blue square\na green triangle"
        done(door, "generate_clips", {"name": "b", "prompts": prompts, "limits": limits, **SMALL})
        related = {"event": {"prefix": ["prefect.asset.materialization"]}}
        until(
            lambda: ask(door, "/api/events/filter", {"filter": related})["events"],
            "what a worker tells by a websocket", 1.0,
        )  # fmt: skip
    store = open_store(read_settings())
    assert [name for name in store.walk("default/text_to_video") if name.endswith(".mp4")]
    made = {name for name in store.names("default/batches/b/results") if name.endswith(".mp4")}
    assert len(made) == 3
    here = {path.name for path in (places / "samples" / "outputs").rglob("*.mp4")}
    assert made < here
    # the coordinator's host fetched the clips of its sheet, and made nothing
    fetched = {path.name for path in (places / "coordinates" / "outputs").rglob("*.mp4")}
    assert fetched == made
    assert not list((places / "coordinates" / "outputs").rglob("results/*.json"))
    secrets = (PASSWORD, rights(0)["AWS_SECRET_ACCESS_KEY"])
    for file in places.rglob("*.log"):
        assert not [secret for secret in secrets if secret in file.read_text(errors="replace")]


class Behind(BaseHTTPRequestHandler):
    """What stands behind the door: says that it was reached, and what it was told."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(["reached", dict(self.headers)]).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def house(caddy, places, monkeypatch):
    """The proxy before a real gallery with two people, and before what stands for Prefect."""
    for project in ("ward-3", "studio"):
        folder = places / "outputs" / project / "text_to_video" / f"{project}-clip-1a2b3c4d"
        folder.mkdir(parents=True)
        (folder / "clip.json").write_text(json.dumps({"task": "text_to_video", "request": {}}))
    people, port, behind = places / "people", free_port(), free_port()
    people.mkdir()
    (people / "README.md").write_text("no line of this is a person\n")
    (people / "wards.viewers").write_text(f"ann {hashed(caddy, 'a-word')}\n")
    (people / "staff.operators").write_text(f"bob {hashed(caddy, 'b-word')}\n")
    users = {"ann": ["ward-3"], "bob": ["studio"], USER: ["*"]}
    tokens = places / "users.json"
    tokens.write_text(json.dumps({"users": {n: {"projects": p} for n, p in users.items()}}))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Behind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    file = places / "Caddyfile"
    file.write_text(adapted(caddy, server=server.server_address[1], gallery=behind))
    gallery = process(
        [sys.executable, "-m", "flows.commands.command_line", "gallery", "--port", str(behind)],
        places / "gallery.log",
        LAMINA_GALLERY_TOKENS=str(tokens),
        LAMINA_GALLERY_PROXY_USER_HEADER="X-Lamina-User",
        LAMINA_GALLERY_PROXY_OPERATOR_HEADER="X-Lamina-Operator",
    )
    proxy = process(
        [caddy, "run", "--config", str(file), "--adapter", "caddyfile"],
        places / "caddy.log",
        LAMINA_HOSTNAME=f"http://127.0.0.1:{port}",
        PEOPLE=str(people),
        PROXY_USER=USER,
        PROXY_PASSWORD_HASH=hashed(caddy, PASSWORD),
        XDG_DATA_HOME=str(places / "caddy"),
    )
    with gallery, proxy as running:
        until(lambda: answers(behind), (places / "gallery.log").read_text, 0.3)
        until(lambda: answers(port) or running.poll() is not None, "no proxy", 0.1)
        assert running.poll() is None, (places / "caddy.log").read_text()
        yield places, f"http://127.0.0.1:{port}"
    server.shutdown()
    server.server_close()


def get(address, path, person="", **headers):
    word = base64.b64encode(person.encode()).decode()
    signed = {"Authorization": f"Basic {word}"} if person else {}
    request = urllib.request.Request(f"{address}{path}", headers=signed | headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


ANN, BOB = "ann:a-word", "bob:b-word"


@pytest.mark.slow
@pytest.mark.integration
def test_several_people_come_in_each_under_their_own_name(house):
    folder, address = house
    for path in ("/", "/api/flow_runs/filter", "/v1/videos", "/gallery/", "/gallery/search"):
        for stranger in ("", "ann:wrong", "cay:a-word", "ann:", "README.md:no"):
            assert get(address, path, stranger)[0] == 401, (path, stranger)

    # who looks into the gallery alone reaches nothing else, however the way is written
    for path in (
        "/", "/api/health", "/gallery/../api/health", "/gallery/%2e%2e/api/health",
        "//api/health", "/galleryx/../api/health", "/gallery/..%2fapi/health", "/GALLERY/../v2/",
    ):  # fmt: skip
        status, text = get(address, path, ANN)
        assert status in (401, 404), path
        assert "reached" not in text
    for person in (BOB, f"{USER}:{PASSWORD}"):
        status, text = get(address, "/api/health", person)
        assert status == 200
        assert "Authorization" not in json.loads(text)[1]

    # each sees their own projects, whatever name a browser claims
    seen = {"ward-3": {ANN}, "studio": {BOB}}
    for project, who in seen.items():
        for person in (ANN, BOB):
            claimed = {"X-Lamina-User": USER, "x-lamina-user": USER}
            for headers in ({}, claimed):
                status, text = get(address, f"/gallery/p/{project}/", person, **headers)
                assert status == (200 if person in who else 404)
                status, text = get(address, "/gallery/", person, **headers)
                assert (f"/p/{project}/" in text) == (person in who)
    assert get(address, "/gallery/p/studio/", f"{USER}:{PASSWORD}")[0] == 200

    lines = [
        json.loads(line)
        for file in (folder / "state" / "audit").glob("gallery-*.jsonl")
        for line in file.read_text().splitlines()
    ]
    opened = {(line["user"], line["path"], line["status"]) for line in lines}
    assert {
        ("ann", "/p/ward-3/", 200), ("ann", "/p/studio/", 404), ("bob", "/p/studio/", 200),
        (USER, "/p/studio/", 200),
    } <= opened  # fmt: skip
    assert {user for user, _, _ in opened} == {"ann", "bob", USER}
    assert "a-word" not in (folder / "gallery.log").read_text()
