"""On which database the tests' servers stand: ``--database postgres`` for PostgreSQL and Redis."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("untimed", deadline=None)  # machines are busy; nothing flakes
hypothesis.settings.load_profile("untimed")
os.environ.setdefault("LAMINA_C2PA", "off")  # tests of signatures turn it on; others hold bytes
PROGRAMS = Path("/usr/lib/postgresql")
UNPRIVILEGED = "postgres"  # PostgreSQL refuses to run as root
PATIENCE_S = 60.0
REDIS_DATABASES = 64
HOMES = count()
REAL_S = 1800.0  # most that a test of real processes may take, on however busy a machine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=["sqlite", "postgres"],
        default="sqlite",
        help="what the servers of integration tests stand on; postgres brings Redis along",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests wait for processes that start slowly; their own deadlines say what for."""
    for item in items:
        if item.get_closest_marker("integration") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(REAL_S))


@pytest.fixture(autouse=True)
def variables_kept() -> Iterator[None]:
    """What a command says to its own process ends with the test."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(autouse=True)
def clips_begin_anew(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """No test goes on from a clip that another left under way, in this run or one before."""
    folder = tmp_path_factory.getbasetemp() / f"home-{next(HOMES)}"
    monkeypatch.setattr("video.engines.places.HOME", str(folder))


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Saves a network as the finished model ``old`` of a shelf of its own, which has its folder.

    Its weights are moved a little at random, since some layers begin at zero.
    """
    monkeypatch.setenv("LAMINA_MODELS", str(tmp_path / "models"))

    def save(network: Any, kind: str, objective: str, **options: Any) -> Path:
        import torch

        from core.models.checkpoints import save_model

        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.05 * torch.randn(weight.shape, generator=random))
        record = {"name": "old", "kind": kind, "objective": objective}
        return save_model(tmp_path / "models" / "old", network, record, **options)

    return save


@pytest.fixture
def branch_of(tmp_path: Path) -> Callable[..., Path]:
    """Writes a control file, with random weights, to stand beside a finished model.

    One that shows ``reference`` is of the video model, at its layouts where it has some.
    """

    def write(folder: Path, kind: str, shows: str = "edges", channels: int = 1) -> Path:
        import torch

        from core.models import controls
        from core.models.checkpoints import read_record
        from core.training.growth import control_network, reference_network

        if shows == "reference":
            told = {"seed": 0, "start": folder.name, "laid_out": True}
            network = reference_network(kind, 3, (1, 64, 64), **told)
        else:
            network = control_network(kind, channels, 0, folder.name)
        branch: Any
        branch, part = controls.taken_off(network) or (None, "")
        outs = [stage.attention.to_out[0] for stage in getattr(branch, "stages", ())]
        with torch.no_grad():
            for out in outs or branch.outs:
                out.weight.normal_(0, 0.5, generator=torch.Generator().manual_seed(2))
        told = {"base": folder.name, "record": read_record(folder), "part": part}
        (data,) = controls.files_of(branch, shows=shows, **told).values()
        path = tmp_path / controls.CONTROL
        path.write_bytes(data)
        return path

    return write


class Cluster:
    """PostgreSQL and Redis on free ports, with all they write in one temporary folder."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        self.ports = {"postgres": free_port(), "redis": free_port()}
        self.numbers = count()
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        data, port = self.folder / "postgres", str(self.ports["postgres"])
        words = ["-D", str(data), "-U", "prefect", "-A", "trust", "-E", "UTF8", "--no-sync"]
        self.run(self.programs / "initdb", *words)
        words = ["-D", str(data), "-p", port, "-k", str(self.folder), "-c", "fsync=off"]
        self.spawn("postgres", [self.programs / "postgres", *words])
        words = ["--port", str(self.ports["redis"]), "--bind", "127.0.0.1", "--save", ""]
        databases = ["--databases", str(REDIS_DATABASES), "--dir", str(self.folder)]
        self.spawn("redis", [shutil.which("redis-server") or "", *words, *databases])
        for name in self.ports:
            self.wait_for(name)
        self.wait_until_ready()

    def variables(self) -> dict[str, str]:
        """What a new server is told: a database and two Redis databases of its own."""
        number = next(self.numbers)
        assert 2 * number + 1 < REDIS_DATABASES
        port, name = str(self.ports["postgres"]), f"prefect{number}"
        self.run(self.programs / "createdb", "-h", "127.0.0.1", "-p", port, "-U", "prefect", name)
        redis = f"redis://127.0.0.1:{self.ports['redis']}"
        return {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": (
                f"postgresql+asyncpg://prefect@127.0.0.1:{port}/{name}"
            ),
            "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect_redis.messaging",
            "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect_redis.messaging",
            "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
            "PREFECT_REDIS_MESSAGING_URL": f"{redis}/{2 * number}",
            "PREFECT_SERVER_DOCKET_URL": f"{redis}/{2 * number + 1}",
        }

    def end(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)

    def spawn(self, name: str, words: list[Path | str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log, **self.identity())
        self.processes.append(process)

    def run(self, *words: Path | str) -> None:
        subprocess.run(words, check=True, capture_output=True, cwd=self.folder, **self.identity())

    def identity(self) -> dict[str, str]:
        return {"user": UNPRIVILEGED, "group": UNPRIVILEGED} if os.geteuid() == 0 else {}

    def wait_for(self, name: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for process in self.processes:
                assert process.poll() is None, (self.folder / f"{name}.log").read_text()
            with socket.socket() as ear:
                if ear.connect_ex(("127.0.0.1", self.ports[name])) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError(f"{name} does not answer")

    def wait_until_ready(self) -> None:
        words = ["-h", "127.0.0.1", "-p", str(self.ports["postgres"]), "-t", str(int(PATIENCE_S))]
        self.run(self.programs / "pg_isready", *words)


def free_port() -> int:
    with socket.socket() as ear:
        ear.bind(("127.0.0.1", 0))
        return ear.getsockname()[1]


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest) -> Iterator[Callable[[], dict[str, str]]]:
    """The variables that give one more server a database: none for SQLite."""
    if request.config.getoption("--database") == "sqlite":
        yield dict
        return
    for module in ("asyncpg", "prefect_redis"):
        pytest.importorskip(module, reason=f"{module} is missing; install the extra `cluster`")
    found = sorted(PROGRAMS.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not found or not shutil.which("redis-server"):
        pytest.skip("PostgreSQL or Redis is missing: apt-get install postgresql redis-server")
    with TemporaryDirectory(prefix="lamina-database-") as name:
        if os.geteuid() == 0:
            try:
                shutil.chown(name, pwd.getpwnam(UNPRIVILEGED).pw_uid)
            except KeyError:
                pytest.skip(f"PostgreSQL does not run as root and there is no user {UNPRIVILEGED}")
        cluster = Cluster(found[-1].parent, Path(name))
        try:
            cluster.start()
            yield cluster.variables
        finally:
            cluster.end()
