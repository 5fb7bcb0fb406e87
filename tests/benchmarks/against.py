"""Two commits timed side by side: ``python -m tests.benchmarks --against COMMIT``.

The working tree and the commit do the same work in turn, one of them first in every other pair, so
that whatever else the machine does meets both. The mean of the pairs' ratios has a 95 % interval
(Student's, of their logarithms); where it lies wholly beyond 5 % slower, the exit code is 1.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from core.records import atomic_path
from tests.benchmarks.intervals import student
from tests.benchmarks.results import THREADS, machine
from tests.benchmarks.tasks import TASKS

HERE = Path(__file__).parents[2]
SLOWER = 1.05
COLD = {
    "lamina --help": ["-m", "flows.commands.command_line", "--help"],
    "import lamina, network and request": [
        "-c",
        "import lamina; lamina.SpatioTemporalUNet, lamina.VideoRequest",
    ],
}
Timed = Callable[[], float]


@dataclass(frozen=True)
class Found:
    """One task at both commits.

    Attributes:
        task: What was done.
        then: Seconds at the commit, by pair.
        now: Seconds of the working tree, by pair.
    """

    task: str
    then: Sequence[float]
    now: Sequence[float]

    @property
    def ratio(self) -> tuple[float, float, float]:
        """Now over then: mean of the pairs, and the bounds of its 95 % interval."""
        logs = [math.log(n / t) for n, t in zip(self.now, self.then, strict=True)]
        mean = sum(logs) / len(logs)
        low, high = student(logs) or (-math.inf, math.inf)
        return math.exp(mean), math.exp(low), math.exp(high)

    @property
    def slower(self) -> bool:
        """Whether the interval lies wholly beyond 5 %."""
        return self.ratio[1] > SLOWER

    def __str__(self) -> str:
        mean, low, high = self.ratio
        least = f"{1e3 * min(self.then):.0f} and {1e3 * min(self.now):.0f} ms at best"
        ends = "  SLOWER" if self.slower else ""
        return f"{self.task}: {mean:.3f} ({low:.3f} to {high:.3f}) times, {least}{ends}"


def paired(task: str, then: Timed, now: Timed, pairs: int) -> Found:
    """Time both, turn by turn, after one turn of each that is not counted."""
    for each in (then, now):
        each()
    found: dict[Timed, list[float]] = {then: [], now: []}
    for turn in range(pairs):
        for each in (then, now) if turn % 2 == 0 else (now, then):
            found[each].append(each())
    return Found(task, found[then], found[now])


def checked_out(commit: str, folder: Path) -> str:
    """Write the files of a commit into a folder; its whole name.

    Raises:
        SystemExit: There is no such commit.
    """
    git = ["git", "-C", str(HERE)]
    asked = [*git, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    if told.returncode:
        raise SystemExit(f"{commit}: there is no such commit here; name one that git log shows.")
    name = told.stdout.strip()
    packed = subprocess.run([*git, "archive", name], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return name


@contextmanager
def worker(checkout: Path) -> Iterator[Callable[[str], Timed]]:
    """A process with a checkout's code; gives what times a task in it."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("tasks.py"))],
        env=_environment(checkout),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    asks, answers = process.stdin, process.stdout
    assert asks is not None
    assert answers is not None

    def ask(task: str) -> float:
        asks.write(f"{task}\n")
        asks.flush()
        return float(answers.readline() or "nan")

    try:
        at = answers.readline().strip()
        if at != str(checkout.resolve()):
            raise SystemExit(f"{checkout}: its process imports {at or 'nothing'} instead.")
        yield lambda task: lambda: ask(task)
    finally:
        asks.close()
        process.wait()


def started(checkout: Path, words: Sequence[str]) -> Timed:
    """What times a process with a checkout's code from its start to its end."""

    def timed() -> float:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, *words],
            env=_environment(checkout),
            cwd=checkout,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - start

    return timed


def compare(commit: str, tasks: Sequence[str], pairs: int) -> Iterator[Found]:
    """Each task at both, as it is found."""
    with TemporaryDirectory() as folder, ExitStack() as open_until_done:
        checkout = Path(folder)
        name = checked_out(commit, checkout)
        sys.stdout.write(f"working tree over {name[:7]}, {pairs} pairs, {THREADS} threads\n")
        wanted = [task for task in tasks if task in TASKS]
        if wanted:
            then = open_until_done.enter_context(worker(checkout))
            now = open_until_done.enter_context(worker(HERE))
            yield from (paired(task, then(task), now(task), pairs) for task in wanted)
        for task in (task for task in tasks if task in COLD):
            words = COLD[task]
            yield paired(task, started(checkout, words), started(HERE, words), pairs)


def main(words: Sequence[str]) -> int:
    """Compare, print and keep; 1 where something became slower."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--against", dest="commit", required=True, help="such as HEAD~3")
    parser.add_argument("--pairs", type=int, default=15, help="of each task (default: 15)")
    parser.add_argument("--only", action="append", choices=[*TASKS, *COLD], help="repeatable")
    parser.add_argument("--json", type=Path, help="keep all seconds in this file")
    asked = parser.parse_args(words)
    found = []
    for each in compare(asked.commit, asked.only or [*TASKS, *COLD], asked.pairs):
        sys.stdout.write(f"{each}\n")
        sys.stdout.flush()
        found.append(each)
    if asked.json:
        kept = {"machine": machine(), "tasks": [asdict(each) for each in found]}
        with atomic_path(asked.json, overwrite=True) as temporary:
            temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return int(any(each.slower for each in found))


def _environment(checkout: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(checkout),
        "OMP_NUM_THREADS": str(THREADS),
        "PYTHONDONTWRITEBYTECODE": "",
    }
