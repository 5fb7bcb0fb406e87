"""Following flow runs until they end, for a person at a terminal or a log."""

import time
from collections.abc import Callable, Sequence

from core.progress import terminal_meters
from flows.stack.api import Run, Server

LOOK_EVERY_S = 0.5


def watch(
    server: Server, runs: Sequence[Run], check: Callable[[], None] | None, way_out: str = ""
) -> list[Run]:
    """Show how far the runs are and return them as they ended, in the same order.

    Args:
        server: Where they run.
        runs: What to follow.
        check: Called at every look, raises if the stack is in trouble; None where the stack is
            not ours, so that the runs go on without us.
        way_out: How they are ended then; by default on their page.

    Raises:
        KeyboardInterrupt: A person looks no more; it says whether the runs go on.
    """
    try:
        return _until_ended(server, runs, check or (lambda: None))
    except KeyboardInterrupt:
        if check is not None:
            raise
        pages = ", ".join(map(server.page, runs))
        way = way_out or "cancel it there"
        said = f"What was started goes on without this command: {pages}; {way}."
        raise KeyboardInterrupt(said) from None


def _until_ended(server: Server, runs: Sequence[Run], check: Callable[[], None]) -> list[Run]:
    latest = list(runs)
    with terminal_meters([run.flow for run in runs]) as meters:
        while True:
            for index, meter in enumerate(meters):
                if latest[index].ended:
                    continue
                latest[index] = run = server.read(latest[index])
                percent, words = server.progress(run)
                if run.state == "COMPLETED":
                    percent, words = 100.0, ""
                meter(round(percent), 100, ", ".join(filter(None, (run.state.lower(), words))))
            if all(run.ended for run in latest):
                return latest
            check()
            time.sleep(LOOK_EVERY_S)
