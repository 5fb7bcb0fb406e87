"""How well a run uses its device: the share of time it computes, and of the peak it reaches."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch.utils.flop_counter import FlopCounterMode

TERA = 1e12
PEAKS = {
    "B200": 2250.0, "H200": 989.0, "H100 PCIe": 756.0, "H100 NVL": 835.0, "H100": 989.0,
    "A100": 312.0, "L40S": 362.0, "L4": 121.0, "A10G": 70.0, "A10": 125.0, "RTX 4090": 165.0,
    "RTX 3090": 71.0,
}  # fmt: skip
"""Dense bfloat16 TFLOP/s by words of a whole GPU's name, the first that fit; from data sheets."""
LESS = {"MIG", "Laptop"}
"""Words for a part of a GPU or a slower make of it."""
SIDE, REPEATS = 1024, 5


@dataclass
class Spent:
    """Where the time of some steps went.

    >>> spent = Spent(steps=2, data_s=1.0, compute_s=3.0, seconds=4.0)
    >>> spent.compute_s / spent.seconds
    0.75

    Attributes:
        steps: How many.
        data_s: Seconds in which batches were made; on a GPU, in which it waited for them.
        compute_s: Seconds in which the device computed.
        seconds: Of all, with checkpoints, validation and whatever else was done.
    """

    steps: int = 0
    data_s: float = 0.0
    compute_s: float = 0.0
    seconds: float = 0.0

    def add(self, other: Spent) -> None:
        """Count another stretch."""
        self.steps += other.steps
        self.data_s += other.data_s
        self.compute_s += other.compute_s
        self.seconds += other.seconds

    def rates(self, flops: float = 0.0, peak: float = 0.0) -> dict[str, float]:
        """Steps per second, shares of the time, and the speed of the arithmetic where known.

        Args:
            flops: Of one step, on all processes.
            peak: FLOP/s of all processes together; 0 where it is not known.
        """
        if not (self.steps and self.seconds):
            return {}
        found = {
            "steps_per_second": self.steps / self.seconds,
            "computing_share": self.compute_s / self.seconds,
            "data_share": self.data_s / self.seconds,
        }
        if flops:
            found["tflops"] = flops * found["steps_per_second"] / TERA
        if flops and peak:
            found["peak_share"] = TERA * found["tflops"] / peak
        return found


@dataclass
class Pace:
    """Times a run; on a GPU by the device's own clock, without making the program wait for it.

    >>> pace = Pace(torch.device("cpu"))
    >>> with pace.computing():
    ...     _ = torch.ones(8).sum()
    >>> pace.take().compute_s > 0
    True

    Attributes:
        device: Where the network computes.
        stretch: What was spent since the last ``take``.
    """

    device: torch.device
    stretch: Spent = field(default_factory=Spent)

    def __post_init__(self) -> None:
        self._began = time.perf_counter()
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def data(self) -> Iterator[None]:
        """A block that makes a batch or waits for one.

        On a GPU only the time counts for which it stood still: a batch that is made while it
        computes costs nothing.
        """
        with self._timed("data_s"):
            yield

    @contextmanager
    def computing(self) -> Iterator[None]:
        """A block in which the device computes."""
        with self._timed("compute_s"):
            yield

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        if self.device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            yield
            end.record()
            self._events.append((name, begin, end))
            return
        began = time.perf_counter()
        yield
        self._count(name, time.perf_counter() - began)

    def _count(self, name: str, seconds: float) -> None:
        setattr(self.stretch, name, getattr(self.stretch, name) + seconds)

    def take(self) -> Spent:
        """What was spent since the last call."""
        for _, _, end in self._events[-1:]:
            end.synchronize()
        for name, begin, end in self._events:
            self._count(name, begin.elapsed_time(end) / 1000)
        self._events.clear()
        now = time.perf_counter()
        self.stretch.seconds, self._began = now - self._began, now
        taken, self.stretch = self.stretch, Spent()
        return taken


def count_flops(work: Callable[[], object]) -> float:
    """Floating point operations of matrix products, convolutions and attention in ``work``."""
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return float(counter.get_total_flops())


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s that the device can reach: from its data sheet, or measured on a CPU; 0 if unknown.

    Args:
        device: Of one process.
        dtype: Of the arithmetic.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device) if dtype == torch.bfloat16 else ""
        return TERA * named_peak(name)
    return _measured(dtype) if device.type == "cpu" else 0.0


def named_peak(name: str) -> float:
    """TFLOP/s of a GPU by its name; 0 if unknown."""
    words = re.findall(r"\w+", name)
    if LESS & set(words):
        return 0.0
    return next((peak for part, peak in PEAKS.items() if set(part.split()) <= set(words)), 0.0)


def _measured(dtype: torch.dtype) -> float:
    """The best of a few matrix products on this process's threads."""
    a, best = torch.ones(SIDE, SIDE, dtype=dtype), float("inf")
    for _ in range(REPEATS):
        began = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - began)
    return 2 * SIDE**3 / best
