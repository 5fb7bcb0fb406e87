"""What a warm Ray worker of a shard does, in its own process: it holds a model and samples."""

import os
import time
from contextlib import ExitStack
from typing import Any

from core.numerics import allows_gpu
from flows.batches.item import Item
from flows.batches.makers import Job, Maker
from flows.settings.environment import adopt
from flows.settings.settings import read_settings


class Sampler:
    """One warm worker, in a process that Ray started."""

    def __init__(self, places: dict[str, str], threads: int) -> None:
        """Load nothing yet.

        Args:
            places: Variables of the shard that name where models and locks stand.
            threads: Of the shard: on a CPU, bits depend on how many there are.
        """
        import torch

        adopt(read_settings(os.environ | places))
        torch.set_num_threads(threads)
        self._device = torch.device("cuda" if _given_gpu() and allows_gpu() else "cpu")
        self._maker = Maker(self._device)
        self._turn = ExitStack()

    def load(self, item: Item) -> int:
        """Read the network of an item; the process."""
        self._maker.load(item)
        return os.getpid()

    def wait_turn(self) -> None:
        """Hold the device as soon as nobody urgent wants it."""
        from flows.machines.devices import slot

        self._turn.enter_context(slot(self._device, urgent=False))

    def sample(self, job: Job) -> tuple[Any, float]:
        """The result in memory, and the seconds it took; the device is free again."""
        with self._turn:
            start = time.perf_counter()
            return self._maker.sample(job), time.perf_counter() - start


def _given_gpu() -> bool:
    import ray  # pyright: ignore[reportMissingImports]  an extra

    return bool(ray.get_runtime_context().get_accelerator_ids().get("GPU"))
