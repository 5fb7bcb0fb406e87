"""Child processes that a stack looks after: started together, mended, and ended together.

Each is the head of a process group of its own, so that Ctrl-C in a terminal reaches only the one
that started them, and it can end them in order. They also watch a pipe to their parent and end by
themselves if it is killed.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

STOP_LIMIT_S = 15.0
POLL_S = 0.1
MOST_MENDED, MENDED_WITHIN_S = 5, 600.0


@dataclass(frozen=True)
class Child:
    """A child process with all it takes to start it anew.

    Attributes:
        name: What people call it; its log is named so, too.
        module: A module and its arguments, for ``python -m``.
        environment: All of its variables.
        keep: File descriptors that it shall have.
        log: The file its words go to.
        process: The process itself.
    """

    name: str
    module: Sequence[str]
    environment: Mapping[str, str]
    keep: Sequence[int]
    log: Path
    process: subprocess.Popen[bytes]

    def check(self) -> None:
        """Raise if it has ended already, with its last words."""
        if self.process.poll() is not None:
            raise RuntimeError(
                f"the {self.name} ended with code {self.process.returncode}: it should stay up; "
                f"see {self.log}:\n{_tail(self.log)}"
            )


class Family:
    """Children that live and end with their parent."""

    def __init__(self, logs: Path) -> None:
        """Nothing starts yet.

        Args:
            logs: Folder of their logs.
        """
        self.logs = logs
        self.children: list[Child] = []
        self._mended: list[float] = []
        self._ends = os.pipe()

    def start(
        self,
        name: str,
        module: Sequence[str],
        environment: Mapping[str, str],
        keep: Sequence[int] = (),
    ) -> Child:
        """Start one more, with an empty log."""
        log = self.logs / f"{name}.log"
        log.write_bytes(b"")
        process = self._run(module, environment, keep, log)
        child = Child(name, module, environment, keep, log, process)
        self.children.append(child)
        return child

    def check(self) -> None:
        """Raise if one of them has ended by itself."""
        for child in self.children:
            child.check()

    def mend(self) -> list[str]:
        """Start again those that have ended by themselves; their names.

        Raises:
            RuntimeError: It has happened too often of late to be an accident.
        """
        ended = [child for child in self.children if child.process.poll() is not None]
        now = time.monotonic()
        self._mended = [then for then in self._mended if now - then < MENDED_WITHIN_S]
        self._mended += [now] * len(ended)
        for child in ended:
            if len(self._mended) > MOST_MENDED:
                child.check()
            _signal_group(child.process.pid, signal.SIGKILL)  # what it left behind
            process = self._run(child.module, child.environment, child.keep, child.log)
            self.children[self.children.index(child)] = replace(child, process=process)
        return [child.name for child in ended]

    def end(self) -> None:
        """End the last first; nothing stays behind."""
        for child in reversed(self.children):
            _end(child.process)
        self.children.clear()
        for end in self._ends:
            os.close(end)

    def _run(
        self, module: Sequence[str], environment: Mapping[str, str], keep: Sequence[int], log: Path
    ) -> subprocess.Popen[bytes]:
        with log.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", *module],
                stdin=self._ends[0],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                pass_fds=keep,
            )


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
