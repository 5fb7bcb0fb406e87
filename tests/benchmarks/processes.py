"""What a child process costs (seconds, CPU time, peak memory), and works timed in turn."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.benchmarks.results import THREADS


@dataclass(frozen=True)
class Cost:
    """Of one process.

    Attributes:
        seconds: Wall time from start to exit.
        cpu_seconds: User and system time, its own and that of the children it waited for.
        peak_mib: Largest resident memory.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float


def lamina(words: Sequence[str], *, extra: Mapping[str, str] | None = None) -> Cost:
    """Run the command line in a fresh process with two threads.

    Raises:
        RuntimeError: It did not exit with 0.
    """
    return python(["-m", "flows.commands.command_line", *words], extra=extra)


def python(words: Sequence[str], *, extra: Mapping[str, str] | None = None) -> Cost:
    """Run Python in a fresh process with two threads.

    Raises:
        RuntimeError: It did not exit with 0.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS), **(extra or {})}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(
            f"python {' '.join(words)} ended with {process.returncode}: it should end with 0; it "
            f"said: {said.decode(errors='replace')[-800:]}"
        )
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@contextmanager
def surrounded(folder: Path, **more: str) -> Iterator[None]:
    """State and outputs in a folder, and two threads, for everything started inside."""
    fresh = {
        "LAMINA_HOME": str(folder / "state"),
        "LAMINA_OUTPUTS": str(folder / "outputs"),
        "OMP_NUM_THREADS": str(THREADS),
        **more,
    }
    before = {name: os.environ.get(name) for name in fresh}
    os.environ.update(fresh)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def waited_for(pid: int) -> float:
    """CPU seconds of all children a process has waited for, and of theirs (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def turns(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Processor time of each, turn by turn with one thread, after one that is not counted."""
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {who: [] for who in works}
    for turn in range(rounds + 1):
        for who, work in works.items():
            start = time.process_time()
            work()
            times[who] += [time.process_time() - start] if turn else []
    torch.set_num_threads(THREADS)
    return times
