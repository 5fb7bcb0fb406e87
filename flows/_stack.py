"""The embedded stack: a Prefect server and workers on this machine, for as long as wanted.

All are children in process groups of their own, so that Ctrl-C in a terminal reaches only the
one that started them, and it can end them in order. They also watch a pipe to their parent and
end by themselves if it is killed. All state stands in the state folder.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from filelock import FileLock, Timeout

from flows._api import Server
from flows._pools import POOLS, Place, places
from flows._settings import Settings, child_environment

HOST = "127.0.0.1"
START_LIMIT_S = 300.0
STOP_LIMIT_S = 15.0
POLL_S = 0.1

QUICK = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
        "prefect.server.concurrency.lease_storage.filesystem"
    ),
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_CLI_COLORS": "false",
    "DO_NOT_TRACK": "1",
}


@dataclass(frozen=True)
class Child:
    """A child process with the file its words go to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise if it has ended already, with its last words."""
        if self.process.poll() is not None:
            raise RuntimeError(
                f"the {self.name} ended with code {self.process.returncode}: it should stay up; "
                f"see {self.log}:\n{_tail(self.log)}"
            )


class Stack:
    """Server, workers and deployments; a context manager that ends all it started."""

    def __init__(self, settings: Settings) -> None:
        """Take the places; nothing starts before ``with``."""
        self.settings = settings
        self.places = [place for pool in POOLS for place in places(pool, settings)]
        self.children: list[Child] = []
        self._lock = FileLock(settings.home / "stack.lock")
        self._pipe: int | None = None

    @property
    def server(self) -> Server:
        """The running server."""
        return Server(self.address)

    def __enter__(self) -> Self:
        """Start all children and return when the workers poll.

        Raises:
            ValueError: Another stack already runs in this state folder.
            RuntimeError: A child ended at once or did not get ready in time.
        """
        self._prepare()
        try:
            with listen(self.settings.port) as ear:
                self.address = f"http://{HOST}:{ear.getsockname()[1]}"
                self._spawn_all(ear)
            self._await_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers with their flow runs, then the server; nothing stays behind."""
        (self.settings.home / "stack.json").unlink(missing_ok=True)
        for child in reversed(self.children):
            _end(child.process)
        self.children.clear()
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
        self._lock.release()

    def check(self) -> None:
        """Raise if one of the children has ended by itself."""
        for child in self.children:
            child.check()

    def _prepare(self) -> None:
        for folder in (self.settings.logs, self.settings.work, self.settings.outputs):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            where = running_address(self.settings) or "another process"
            raise ValueError(
                f"{self.settings.home} is in use by a running stack ({where}): one stack at a "
                "time may use a state folder; use that one, stop it, or set LAMINA_HOME."
            ) from error

    def _spawn_all(self, ear: socket.socket) -> None:
        environment = child_environment(
            self.settings,
            {
                **QUICK,
                "PREFECT_HOME": str(self.settings.home / "prefect"),
                "PREFECT_API_URL": f"{self.address}/api",
                "PREFECT_SERVER_UI_API_URL": f"{self.address}/api",
            },
        )
        reading, self._pipe = os.pipe()
        try:
            server = ["flows._server", str(ear.fileno())]
            self._spawn("server", server, environment, reading, keep=[ear.fileno()])
            for place in self.places:
                first = place is self.places[0]
                module = ["flows._worker", place.write()]
                module += [other.write() for other in self.places] if first else []
                self._spawn(place.name, module, environment | place.environment(), reading)
        finally:
            os.close(reading)

    def _spawn(
        self,
        name: str,
        module: Sequence[str],
        environment: Mapping[str, str],
        reading: int,
        keep: Sequence[int] = (),
    ) -> None:
        log = self.settings.logs / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                stdin=reading,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                pass_fds=keep,
            )
        self.children.append(Child(name, process, log))

    def _await_all(self) -> None:
        self._wait(self.server.healthy, "the server does not answer")
        for place in self.places:
            self._wait(lambda place=place: self._polls(place), f"{place.name} does not poll")
        state = {"address": self.address, "pid": os.getpid()}
        (self.settings.home / "stack.json").write_text(json.dumps(state), encoding="utf-8")

    def _polls(self, place: Place) -> bool:
        """Whether the worker has said so; the server may still remember an earlier one."""
        return "started!" in (self.settings.logs / f"{place.name}.log").read_text("utf-8")

    def _wait(self, ready: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{complaint} after {START_LIMIT_S:.0f} s: it should within seconds; see the "
                    f"logs in {self.settings.logs}"
                )
            time.sleep(POLL_S)


def running_address(settings: Settings) -> str | None:
    """Where the stack of this state folder answers, or None if none runs."""
    try:
        state = json.loads((settings.home / "stack.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return state["address"] if Server(state["address"]).healthy() else None


@contextmanager
def borrowed(settings: Settings) -> Iterator[tuple[Server, Callable[[], None]]]:
    """The server of the running stack, or of one that lives as long as the block.

    With it comes a check that raises when a stack of our own is in trouble; a borrowed one is
    looked after by whoever started it.
    """
    if address := running_address(settings):
        yield Server(address), lambda: None
        return
    with Stack(settings) as stack:
        yield stack.server, stack.check


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that what it holds is given back."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in numbers}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen(preferred: int) -> socket.socket:
    """A listening socket on ``preferred`` if nobody has it, else on any free port.

    It is handed to the server, which starts to answer seconds later: until then the port is
    kept, and what is asked waits.
    """
    for port in (preferred, 0):
        ear = socket.socket()
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            ear.bind((HOST, port))
            ear.listen(128)
        except OSError:
            ear.close()
            continue
        return ear
    raise RuntimeError(f"{HOST}: no free port: the server needs one; close some programs.")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a child's process group to end, wait, then insist."""
    _signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT_S
    while _group_lives(process) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
