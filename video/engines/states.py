"""The state of a clip under way, kept on disk: a run that was killed goes on with the same bytes.

A state is numbers in safetensors and JSON beside them, never a pickle. It stands under the digest
of request and engine, so that only the very same clip goes on from it.
"""

import hashlib
import json
import logging
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file

from core.numerics import numerics
from core.records import atomic_path
from core.refusal import Refusal
from video.engines.places import states_folder
from video.request import VideoRequest

if TYPE_CHECKING:
    from video.engines.canvas import Canvas
    from video.engines.engine import Engine

logger = logging.getLogger(__name__)

PATIENCE_S = 2.0
FLUSH_EVERY_S = 10.0
DAY_S = 86_400.0
LONGEST_KEPT_S = 30 * DAY_S
PLAIN = (bool, int, float, str, type(None))


class UnkeepableError(Exception):
    """A value that a state cannot hold."""


def flat(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """A tree of plain values and tensors as JSON; tensors go into ``tensors`` by number.

    Raises:
        UnkeepableError: It holds something else.
    """
    if isinstance(value, PLAIN):
        return {"plain": value}
    if isinstance(value, np.ndarray | np.generic):
        return {"array": flat(torch.as_tensor(np.asarray(value)), tensors)}
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        # clone: what is written in the background must not change meanwhile
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name, "device": value.device.type}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [flat(one, tensors) for one in value]}
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {"table": {name: flat(one, tensors) for name, one in value.items()}}
    raise UnkeepableError(f"{type(value).__name__}")


def full(said: Any, tensors: Mapping[str, torch.Tensor], device: Any) -> Any:
    """The tree that ``flat`` gave; tensors that were not on the CPU go to ``device``."""
    ((kind, value),) = [(k, v) for k, v in said.items() if k != "device"]
    if kind == "tensor":
        return tensors[value].clone().to("cpu" if said["device"] == "cpu" else device)
    if kind == "array":
        return full(value, tensors, device).numpy()
    if kind in ("list", "tuple"):
        values = [full(one, tensors, device) for one in value]
        return values if kind == "list" else tuple(values)
    if kind == "table":
        return {name: full(one, tensors, device) for name, one in value.items()}
    return value


def drawn_on(*libraries: str) -> dict[str, Any]:
    """What a state is drawn on: threads, GPU, and the versions of torch and these libraries."""
    return {
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **{name: version(name) for name in libraries},
    }


def here() -> dict[str, Any]:
    """What is known of that before an engine is loaded."""
    return drawn_on("lamina") | {"numerics": numerics()}


class StateFile:
    """Where the state of one clip stands, written in the background, newest alone.

    What only grows is kept in parts, numbered from 1, so that no step writes again what stands.
    """

    def __init__(
        self, folder: Path, key: Mapping[str, Any], how: Mapping[str, Any] | None = None
    ) -> None:
        """Take the place.

        Args:
            folder: Of all states.
            key: What makes the clip: request and engine.
            how: On what it is drawn, as far as is known; a state that was drawn on something else
                is not gone on from.
        """
        self._how = dict(how or {})
        text = json.dumps(key, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.path = folder / f"{digest[:32]}.safetensors"
        self._waiting: dict[Path, tuple[dict[str, torch.Tensor], str]] = {}
        self._turn = threading.Condition()
        self._writer: threading.Thread | None = None
        self._flushed = time.monotonic()

    def read(self, part: int = 0) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
        """What was kept, as ``flat`` gave it; None where nothing whole is."""
        path = self._path(part)
        if not path.is_file():
            return None
        try:
            # at once: safe_open opens a file twice by name, and a writer may replace it between
            content = path.read_bytes()
            tensors = load(content)
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            kept = header.get("__metadata__", {})
            said = json.loads(kept["state"])
            if any(said["how"].get(name) != value for name, value in self._how.items()):
                return None
            found = _sum(tensors)
            if kept.get("sum", found) != found:
                raise ValueError("its numbers are not those that were kept")
            return said["tree"], tensors
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            logger.warning("the state %s cannot be read (%s): drawn anew", path.name, error)
            return None

    def step(self) -> int:
        """The step that a clip goes on from; 0 where nothing is, or nothing that it could."""
        if self._path(1).is_file():
            return sum(1 for _ in self.parts())
        found = self.read()
        return int(found[0]["table"]["step"]["plain"]) if found else 0

    def parts(self) -> Iterator[tuple[dict[str, Any], dict[str, torch.Tensor]]]:
        """The parts, as far as they stand without a gap."""
        for number in count(1):
            if (found := self.read(number)) is None:
                return
            yield found

    def keep(self, tree: Any, part: int = 0) -> None:
        """Write a tree in the background; one that still waits in its place is left out for it.

        Args:
            tree: What is kept.
            part: Its number, from 1; 0 for a state that is whole.

        Raises:
            UnkeepableError: It holds what no state can.
        """
        tensors: dict[str, torch.Tensor] = {}
        self._turn_over()
        said = json.dumps({"how": self._how, "tree": flat(tree, tensors)})
        with self._turn:
            self._waiting[self._path(part)] = tensors, said
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, daemon=True)
                self._writer.start()

    def _turn_over(self) -> None:
        """Give the one before some time to stand, so that a kill costs no more than a step."""
        if writer := self._writer:
            writer.join(PATIENCE_S)

    def settle(self) -> None:
        """Wait until what was kept stands."""
        if writer := self._writer:
            writer.join()

    def forget(self) -> None:
        """Remove the state, and those that nobody went on from for a month; it never fails."""
        self.settle()
        _remove(self.path)
        try:
            others = list(self.path.parent.glob("*.safetensors"))
        except OSError as error:
            logger.warning("the folder of states cannot be looked at: %s", error)
            return
        for path in others:
            own = path.name.startswith(f"{self.path.stem}-")
            _remove(path, older_s=0.0 if own else LONGEST_KEPT_S)

    def _path(self, part: int) -> Path:
        return self.path.with_stem(f"{self.path.stem}-{part:04d}") if part else self.path

    def _write(self) -> None:
        while True:
            with self._turn:
                if not self._waiting:
                    self._writer = None
                    return
                path = next(iter(self._waiting))  # parts in their order
                tensors, said = self._waiting.pop(path)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                # flushing takes as long as a step of a small engine; a killed process leaves a
                # file whole without it, and its sum tells what a power cut tore
                lasting = time.monotonic() - self._flushed >= FLUSH_EVERY_S
                with atomic_path(path, overwrite=True, lasting=lasting) as temporary:
                    save_file(tensors, temporary, {"state": said, "sum": _sum(tensors)})
                if lasting:
                    self._flushed = time.monotonic()
            except (OSError, Refusal) as error:  # the clip is more than its state
                logger.warning("the state of a clip could not be kept: %s", error)


def kept_step(engine: "Engine", request: VideoRequest) -> int:
    """The step that a clip would go on from here; 0 for its start.

    Args:
        engine: That draws it.
        request: Of the whole clip.
    """
    if not engine.goes_on(request):
        return 0
    # threads are those of whoever goes on, another process than this
    how = {name: value for name, value in here().items() if name != "threads"}
    record = engine.record()
    if "walk" in record:  # our own, which keeps these too
        how |= {name: record.get(name) for name in ("backend", "walk")}
    return StateFile(states_folder(), engine.key(engine.settled(request)), how).step()


def forget_clip(engine: "Engine", request: VideoRequest, canvas: "Canvas | None" = None) -> None:
    """Remove the state of a clip; that its inputs are gone by then fails nothing.

    Args:
        engine: That drew it.
        request: Settled.
        canvas: That it was drawn on; None for a clip of its own.
    """
    try:
        file = StateFile(states_folder(), engine.key(request, canvas))
    except (OSError, Refusal) as error:  # the clip is more than its state
        logger.warning("the state of a clip stays for a month: %s", error)
        return
    file.forget()


def _remove(path: Path, older_s: float = 0.0) -> None:
    """Remove a file if it is there and that old; others write and rename beside this."""
    try:
        if not older_s or time.time() - path.stat().st_mtime > older_s:
            path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:  # the clip is more than its state
        logger.warning("the state %s cannot be removed: %s", path.name, error)


def _sum(tensors: Mapping[str, torch.Tensor]) -> str:
    """A checksum of all numbers, in the order of their names."""
    found = 0
    for name in sorted(tensors):
        values: Any = tensors[name].reshape(-1).view(torch.uint8).numpy()
        found = zlib.crc32(values, found)
    return f"{found:08x}"
