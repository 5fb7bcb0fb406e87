"""Warm workers of one shard: several GPUs sample its items at once, each with the model loaded.

``LAMINA_RAY`` says where: a number starts so many on this machine, an address takes those that a
standing Ray cluster has free. Ray gives each a GPU of its own, or a core where there is no GPU. A
worker only samples. The shard prepares, writes, records and alone keeps the manifest, so that the
hosts of workers need the models and no results, and a worker that is killed costs the one sample
it was drawing, which another draws again: the same, bit for bit.

Plain actors, and not Prefect's RayTaskRunner: an actor holds the model as long as the shard lasts
where a task would have to find it in a global of whichever process it meets (and with Ray's
default for tasks on GPUs, in none: ``max_calls`` is 1); a task run for each item costs the server
as much as a clip costs the GPU; the death of an actor is told and answered here, item by item;
and a shard runs without Prefect, too.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

from core.refusal import Refusal
from flows.batches.item import Item
from flows.batches.makers import Job
from flows.machines.ray_sampler import Sampler
from flows.settings.settings import Settings

logger = logging.getLogger(__name__)

LIVES = 3  # workers that may die over one item
MOST = 64
LOADING_S, LOOK_EVERY_S = 600.0, 0.5
STORE_BYTES = 100_000_000  # shared memory for each worker; what is larger goes to the disk
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class Workers:
    """The shard's end of the line."""

    def __init__(self, ray: Any, start: Callable[[], Any], width: int) -> None:
        """Start nothing yet.

        Args:
            ray: The module, connected.
            start: Starts one worker.
            width: How many there shall be.
        """
        self._ray, self._start, self.width = ray, start, width
        self._free: queue.Queue[Any] = queue.Queue()
        self._starting = ThreadPoolExecutor(width, thread_name_prefix="ray-worker")
        self._first: Item | None = None
        self._stopped = False

    def load(self, item: Item) -> None:
        """Have a first worker ready; the others follow while it works.

        Raises:
            Refusal: The model cannot be read.
            OSError: No worker came up.
        """
        self._first = item
        starting = [self._starting.submit(self._bring_up) for _ in range(self.width)]
        wait(starting, return_when=FIRST_COMPLETED)
        for future in starting:
            if future.done():
                future.result()
            else:
                future.add_done_callback(_told)

    def sample(self, job: Job, patience_s: float) -> None:
        """Have one item sampled; the call lasts until that is done.

        Args:
            job: Prepared; it is given the result.
            patience_s: How long sampling may take before the worker is taken for hung.

        Raises:
            CancelledError: The shard ends; nothing was sampled.
            TimeoutError: It took longer.
            OSError: No worker is left.
        """
        for _ in range(LIVES):
            worker = self._next()
            try:
                job.sampled, job.timings["sample"] = self._sampled_by(worker, job, patience_s)
            except self._ray.exceptions.GetTimeoutError as error:
                self._replace(worker)
                raise TimeoutError(
                    f"no sign of life for {patience_s:.0f} s; its worker was ended"
                ) from error
            except _LostError as error:
                logger.warning("%s lost its worker and is drawn again: %s", job.item.row, error)
                self._replace(worker)
            except Exception:
                self._free.put(worker)
                raise
            else:
                self._free.put(worker)
                return
        raise RuntimeError(f"{LIVES} workers died over it: see whether its size fits the memory")

    def stop(self) -> None:
        """Let no further item be sampled; those that are get finished."""
        self._stopped = True
        for _ in range(2 * self.width):  # whoever waits for a worker
            self._free.put(None)

    def close(self) -> None:
        """End the workers, and before that whoever waits for one: Ray must not be asked after."""
        self._stopped = True
        self._starting.shutdown(cancel_futures=True)
        self._ray.shutdown()

    def _sampled_by(self, worker: Any, job: Job, patience_s: float) -> tuple[Any, float]:
        """What the worker returns or raises; ``_LostError`` if it can do nothing any more."""
        try:
            self._ray.get(worker.wait_turn.remote())
            return self._ray.get(worker.sample.remote(job), timeout=patience_s)
        except self._ray.exceptions.RayTaskError as error:
            if "CUDA error" in str(error.cause):  # it stays in the process that met it
                raise _LostError(str(error.cause)) from error
            raise error.cause from None
        except self._ray.exceptions.GetTimeoutError:
            raise
        except self._ray.exceptions.RayError as error:
            raise _LostError(str(error).partition("\n")[0]) from error

    def _next(self) -> Any:
        try:
            worker = self._free.get(timeout=LOADING_S)
        except queue.Empty:
            raise _no_worker() from None
        if self._stopped:
            raise CancelledError
        return worker

    def _replace(self, worker: Any) -> None:
        with suppress(Exception):  # it is gone already
            self._ray.kill(worker)
        self._starting.submit(self._bring_up).add_done_callback(_told)

    def _bring_up(self) -> None:
        """Start one worker and let it be used when it is ready."""
        worker, deadline = self._start(), time.monotonic() + LOADING_S
        loading = worker.load.remote(self._first)
        while not self._ray.wait([loading], timeout=LOOK_EVERY_S)[0]:
            if self._stopped or time.monotonic() > deadline:
                self._ray.kill(worker)
                raise CancelledError if self._stopped else _no_worker()
        try:
            process = self._ray.get(loading)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        logger.info("a Ray worker is ready (process %d)", process)
        self._free.put(worker)


class _LostError(Exception):
    """A worker that can do nothing any more."""


@contextmanager
def spread(settings: Settings, items: int) -> Iterator[Workers | None]:
    """Warm workers for the block, or None where the shard samples for itself.

    Args:
        settings: Places; ``ray`` says where the workers are.
        items: How many there are to make; more workers are not started.

    Raises:
        Refusal: Ray is not installed, or there are too few GPUs.
    """
    if not settings.ray:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="lamina-ray-", ignore_cleanup_errors=True) as folder:
        ray, gpus = _connected(settings, folder)
        workers = _hire(ray, settings, items, gpus=gpus)
        try:
            yield workers
        finally:
            workers.close()


def _hire(ray: Any, settings: Settings, items: int, *, gpus: bool) -> Workers:
    import torch

    resources = ray.available_resources() if gpus else ray.cluster_resources()
    free = int(resources.get("GPU" if gpus else "CPU", 0))
    width = min(items, int(settings.ray) if settings.ray.isdecimal() else max(1, min(MOST, free)))
    share = {"num_gpus": 1, "num_cpus": 0} if gpus else {"num_cpus": 1}
    hired = ray.remote(**share)(Sampler)
    arguments = (_shared(settings), torch.get_num_threads())
    logger.info("%d Ray workers, each with a %s", width, "GPU" if gpus else "core")
    return Workers(ray, lambda: hired.remote(*arguments), width)


def _connected(settings: Settings, folder: str) -> tuple[Any, bool]:
    """Ray, connected, and whether its workers shall have GPUs."""
    if find_spec("ray") is None:
        raise Refusal(
            f"LAMINA_RAY={settings.ray}: Ray is not installed here; install lamina[ray], or leave "
            "it empty to sample in the shard's own process."
        )
    os.environ.update({**QUIET, **os.environ})
    import ray  # pyright: ignore[reportMissingImports]  an extra

    with _own_signals():
        return ray, _connect(ray, settings, folder)


def _connect(ray: Any, settings: Settings, folder: str) -> bool:
    quiet: dict[str, Any] = {"configure_logging": False, "log_to_driver": False}
    if not settings.ray.isdecimal():
        ray.init(address=settings.ray, **quiet)
        return settings.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
    count = int(settings.ray)
    gpus = _gpus_here(settings)
    if gpus and gpus < count:
        raise Refusal(
            f"LAMINA_RAY={count}: this shard sees {gpus} GPUs and each worker has one of its own; "
            f"give it {count}, or set LAMINA_RAY={gpus}."
        )
    ray.init(
        address="local",
        num_cpus=count,
        num_gpus=count if gpus else 0,
        object_store_memory=STORE_BYTES * count,
        include_dashboard=False,
        _temp_dir=folder,
        **quiet,
    )
    return gpus > 0


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what a SIGTERM does here, such as to cancel a run: Ray sets a handler of its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _gpus_here(settings: Settings) -> int:
    import torch

    return 0 if settings.device == "cpu" else torch.cuda.device_count()


def _shared(settings: Settings) -> dict[str, str]:
    """What a worker must know of the shard's places; its device is Ray's to choose."""
    names = ("LAMINA_HOME", "LAMINA_MODELS")
    return {name: settings.environment()[name] for name in names}


def _told(future: Future[None]) -> None:
    error = None if future.cancelled() else future.exception()
    if error and not isinstance(error, CancelledError):
        logger.warning("a Ray worker did not come up: %s", error)


def _no_worker() -> OSError:
    """Like a device that gave out: the shard ends and is started again for what is missing."""
    return OSError(errno.EIO, f"no Ray worker came up for {LOADING_S:.0f} s")
