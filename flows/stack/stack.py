"""The embedded stack: a Prefect server and workers on this machine, for as long as wanted.

All are children that end with the process that started them (``flows.machines.children``). All
state stands in the state folder.
"""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

from filelock import FileLock, Timeout

from core.refusal import Refusal
from flows.machines.children import POLL_S, Family
from flows.machines.pools import POOLS, Place, places
from flows.settings.environment import backends, child_environment, sign_in
from flows.settings.folders import make_places
from flows.settings.own_prefect import ALONE
from flows.settings.settings import Settings
from flows.stack.api import Server

HOST = "127.0.0.1"
START_LIMIT_S = 300.0
STARTING = "Starting a Prefect server and workers, which takes half a minute or so.\n"
OWN = "flows.settings.own_prefect"  # runs a module that no file of the working folder redirects

QUICK = {
    **ALONE,
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
        "prefect.server.concurrency.lease_storage.filesystem"
    ),
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_CLI_COLORS": "false",
}


class Stack:
    """Server, workers and deployments; a context manager that ends all it started."""

    def __init__(self, settings: Settings) -> None:
        """Take the places; nothing starts before ``with``."""
        self.settings = settings
        self.places = [place for pool in POOLS for place in places(pool, settings)]
        self.family = Family(settings.logs)
        self._ear: socket.socket | None = None
        self._lock = FileLock(settings.home / "stack.lock")

    @property
    def server(self) -> Server:
        """The running server."""
        return Server(self.address)

    def __enter__(self) -> Self:
        """Start all children and return when the workers poll.

        Raises:
            Refusal: Another stack already runs in this state folder, or it shall listen to
                other machines, or the file of the gallery's users cannot be used.
            RuntimeError: A child ended at once or did not get ready in time.
        """
        backends()  # may refuse
        if people := self.settings.gallery_tokens:
            from flows.gallery.access import read_tokens

            read_tokens(people)  # may refuse, too
        self._prepare()
        try:
            # Kept open: what is asked while the server is started anew waits here.
            self._ear = listen(self.settings.port)
            self.address = f"http://{HOST}:{self._ear.getsockname()[1]}"
            self._start_all()
            self._await_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers with their flow runs, then the server; nothing stays behind."""
        (self.settings.home / "stack.json").unlink(missing_ok=True)
        self.family.end()
        if self._ear is not None:
            self._ear.close()
        self._lock.release()

    def check(self) -> None:
        """Raise if one of the children has ended by itself."""
        self.family.check()

    def mend(self) -> list[str]:
        """Start again what has ended by itself, and name it.

        Raises:
            RuntimeError: It has happened too often of late.
        """
        return self.family.mend()

    def _prepare(self) -> None:
        make_places(self.settings)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            where = running_address(self.settings) or "another process"
            raise Refusal(
                f"{self.settings.home} is in use by a running stack ({where}): one stack at a "
                "time may use a state folder; use that one, stop it, or set LAMINA_HOME."
            ) from error

    def _start_all(self) -> None:
        assert self._ear is not None
        server = {
            **QUICK,
            "PREFECT_HOME": str(self.settings.home / "prefect"),
            "PREFECT_API_URL": f"{self.address}/api",
            "PREFECT_SERVER_UI_API_URL": f"{self.address}/api",
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(self._origins()),
        }
        environment, ear = child_environment(self.settings, server | sign_in()), self._ear.fileno()
        with_backends = environment | backends()
        module = [OWN, "flows.stack.server", str(ear)]
        self.family.start("server", module, with_backends, keep=[ear])
        everywhere = [place.write() for place in self.places]
        for place in self.places:
            to_prepare = everywhere if place is self.places[0] else []
            module = [OWN, "flows.machines.worker", place.write(), *to_prepare]
            self.family.start(place.name, module, environment | place.environment())

    def _origins(self) -> list[str]:
        """Whose pages may read what the API answers: by default Prefect lets any website."""
        return [self.address, self.address.replace(HOST, "localhost")]

    def _await_all(self) -> None:
        self._wait(self.server.healthy, "the server does not answer")
        for place in self.places:
            self._wait(
                lambda place=place: started(place, self.settings), f"{place.name} does not poll"
            )
        state = {"address": self.address, "pid": os.getpid()}
        (self.settings.home / "stack.json").write_text(json.dumps(state), encoding="utf-8")

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


def started(place: Place, settings: Settings) -> bool:
    """Whether the place's worker has said so; the server may still remember an earlier one."""
    return "started!" in (settings.logs / f"{place.name}.log").read_text(encoding="utf-8")


def running_address(settings: Settings) -> str | None:
    """Where the stack of this state folder answers, or None if none runs."""
    try:
        state = json.loads((settings.home / "stack.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return state["address"] if Server(state["address"]).healthy() else None


@contextmanager
def borrowed(
    settings: Settings, say: Callable[[str], object]
) -> Iterator[tuple[Server, Callable[[], None] | None]]:
    """The server of the running stack, or of one that lives as long as the block.

    With it comes a check that raises when a stack of our own is in trouble. A borrowed one has
    none: whoever started it looks after it, and its runs go on when the block has ended.

    Args:
        settings: Whose stack.
        say: Takes what a person who waits is to read.
    """
    if address := running_address(settings):
        yield Server(address), None
        return
    say(STARTING)
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
