"""Stores for tests: folders, memory, and a real S3 server in a process of its own."""

import io
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress

import pytest
from clips import SMALL, prompts_of
from waiting import PATIENCE_S, until

from flows.batches.items import items_of
from flows.batches.ledger import Batch
from flows.batches.shard import run_shard
from flows.batches.start import plan_batch, start_batch
from flows.requests.batch_requests import BatchLimits, ClipBatchRequest, ShardRequest
from flows.settings.settings import read_settings

BUCKET = "lamina"


def free_port():
    with socket.socket() as ear:
        ear.bind(("127.0.0.1", 0))
        return ear.getsockname()[1]


def answers(port):
    with socket.socket() as ear:
        return ear.connect_ex(("127.0.0.1", port)) == 0


class Cable:
    """A port that leads to another until it is cut, and again when it is mended."""

    def __init__(self, far):
        self.port, self.far, self.ends = 0, far, []
        self.mend()

    def mend(self):
        self.ear = socket.socket()
        self.ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.ear.bind(("127.0.0.1", self.port))
        self.port = self.ear.getsockname()[1]
        self.ear.listen()
        threading.Thread(target=self.serve, args=(self.ear,), daemon=True).start()

    def cut(self):
        for end in (self.ear, *self.ends):
            close(end)
        self.ends.clear()
        until(lambda: not answers(self.port), "the cable is not cut")

    def serve(self, ear):
        while True:
            try:
                near, _ = ear.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.far))
            self.ends += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=carry, args=(one, other), daemon=True).start()


def carry(one, other):
    try:
        while chunk := one.recv(1 << 16):
            other.sendall(chunk)
    except OSError:
        return
    finally:
        close(one)
        close(other)


def close(end):
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The port of an S3 server."""
    for module in ("moto", "flask_cors", "s3fs"):
        pytest.importorskip(module, reason=f"{module} is missing: install the extra `dev`")
    port, log = free_port(), tmp_path_factory.mktemp("objects") / "server.log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        until(lambda: process.poll() is not None or answers(port), "no S3 server")
        assert process.poll() is None, log.read_text()
        yield port
    finally:
        process.kill()
        process.wait()


def ask(port, path, method="POST", body=b""):
    address = f"http://127.0.0.1:{port}{path}"
    kind = {"Content-Type": "text/plain"}
    request = urllib.request.Request(address, data=body, method=method, headers=kind)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return answer.read()


@pytest.fixture
def cable(server):
    """A line to an empty S3 server with one bucket."""
    ask(server, "/moto-api/reset")
    ask(server, f"/{BUCKET}", "PUT")
    line = Cable(server)
    yield line
    line.cut()


def rights(port):
    """What a host has in its environment beside ``LAMINA_STORE``."""
    return {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "a-name",
        "AWS_SECRET_ACCESS_KEY": "never-in-a-record",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def open_s3(monkeypatch, port):
    import s3fs

    for name, value in rights(port).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LAMINA_STORE", f"s3://{BUCKET}/results")
    s3fs.S3FileSystem.clear_instance_cache()


def reading_apart(opened):
    """``_open`` of a store in memory whose readers do not share one position in an object."""

    def apart(self, path, mode="rb", **rest):
        file = opened(self, path, mode, **rest)
        return io.BytesIO(file.getvalue()) if mode == "rb" else file

    return apart


def hosts(request, places, monkeypatch):
    """Says which of several hosts this process is: a folder of outputs each, and one store."""
    if request.param == "s3":
        open_s3(monkeypatch, request.getfixturevalue("cable").port)
    elif request.param == "file":
        (places / "store").mkdir()
        monkeypatch.setenv("LAMINA_STORE", f"file://{places}/store")
    else:
        import fsspec

        memory = fsspec.filesystem("memory")
        memory.store.clear()
        memory.pseudo_dirs[:] = [""]  # folders of earlier tests outlive their files
        monkeypatch.setattr(type(memory), "_open", reading_apart(type(memory)._open))
        monkeypatch.setenv("LAMINA_STORE", "memory://results")

    def become(name):
        monkeypatch.setenv("LAMINA_OUTPUTS", str(places / name))
        return read_settings()

    return become


host = pytest.fixture(hosts, params=["file", "memory", "s3"], name="host")
SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("file", "s3")]
team = pytest.fixture(hosts, params=["memory", *SLOW], name="team")


def asking(count, **fields):
    prompts = "\n".join(prompts_of(count))
    limits = BatchLimits(retry_delay_s=0.0, **fields)
    return ClipBatchRequest(name="night", prompts=prompts, limits=limits, **SMALL)


def planned(settings, count, **fields):
    batch, asked = Batch.named(settings, "default", "night"), asking(count, **fields)
    batch.root.mkdir(parents=True, exist_ok=True)
    start_batch(batch, asked, plan_batch(batch, asked, items_of(asked)))
    return batch


def make(settings, shard=0):
    return run_shard(settings, ShardRequest(batch="night", shard=shard), lambda *news: None)


class Elsewhere:
    """Hands that make each shard on one of several other hosts, one after another."""

    look_every_s = 0.01

    def __init__(self, become, *names):
        self.become, self.names, self.started = become, names, []

    def offers(self, settings):
        return []

    def start(self, asked, key):
        name = self.names[len(self.started) % len(self.names)]
        self.started.append((name, asked.shard))
        report = run_shard(self.become(name), asked, lambda *news: None)
        assert not report.ended
        return f"run-{key}"

    def look(self, run):
        return "ended"

    def end(self, run):
        raise AssertionError(run)
