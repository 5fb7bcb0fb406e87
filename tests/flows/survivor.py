"""A flow that holds its GPU until it is told to go, for tests that kill what runs it."""

import ctypes
import os
import signal
import time
from pathlib import Path

import torch
from prefect import flow
from prefect.flow_runs import suspend_flow_run

from flows.machines.devices import slot


@flow(name="survive")
def survive(folder: str, wait_s: float = 120.0, suspend: bool = False, deaf: bool = False) -> None:
    """Note the start, hold the device until the file ``go`` stands in the folder, note the end.

    Args:
        folder: Where the notes go.
        wait_s: How long to wait for ``go``.
        suspend: Suspend first; the run begins again when it is resumed.
        deaf: Take no notice of SIGTERM.
    """
    first = not note(folder, "starts")
    if suspend and first:
        suspend_flow_run(timeout=600)
    deadline = time.monotonic() + wait_s
    if deaf:
        ctypes.CDLL(None).signal(signal.SIGTERM, ctypes.c_void_p(1))
    with slot(torch.device("cpu")):
        note(folder, "held", os.environ["LAMINA_SLOT"])
        while not (Path(folder) / "go").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    note(folder, "ends")


@flow(name="load")
def load(folder: str) -> None:
    """Sum numbers that processes of a data loader bring.

    Args:
        folder: Where the notes go.
    """
    from torch.utils.data import DataLoader

    loader = DataLoader(range(8), 2, num_workers=2, multiprocessing_context="forkserver")
    note(folder, "loaded", str(int(sum(batch.sum() for batch in loader))))


def note(folder: str, name: str, text: str = "") -> str:
    """Add a line to a file and return what stood there before."""
    path = Path(folder) / name
    before = path.read_text() if path.exists() else ""
    with path.open("a") as file:
        file.write(f"{os.getpid()} {text}\n")
    return before
