"""What a person may ask for, written once: everything that makes a result runs an ``Operation``.

A flow with its stages, a shard of a batch, a command and ``reproduce`` take the same steps: check,
prepare, draw, write, verify, show. An operation says what they are for one kind of request, in
the domain it belongs to; who runs them, where and when stands in ``flows``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from core.request import Request

Asked = TypeVar("Asked", bound=Request)
Prepared = TypeVar("Prepared")
Drawn = TypeVar("Drawn")
OnStep = Callable[[int, int, Any], None]
Facts = dict[str, Any]
Paths = dict[str, Path]


@dataclass(frozen=True)
class Cost:
    """What a request takes on one core, start of the process and safety margin left out.

    >>> Cost(seconds=60.0, memory_gb=1.2, disk_gb=0.1, results_gb=0.05).seconds
    60.0

    Attributes:
        seconds: Of drawing and writing.
        memory_gb: Peak of main memory, libraries and weights included, in 1e9 bytes.
        disk_gb: Results and unfinished work, in 1e9 bytes.
        results_gb: What stays: results, and the state of a draft to go on from.
        gpu_memory_gb: Peak of a GPU's memory, if one draws and that is another; 0 for the same.
        gpu_seconds: Where a GPU draws, if that is known; 0 where it is not.
    """

    seconds: float
    memory_gb: float
    disk_gb: float
    results_gb: float
    gpu_memory_gb: float = 0.0
    gpu_seconds: float = 0.0


@dataclass(frozen=True)
class Model:
    """A loaded model.

    >>> Model(network=None, record={"name": "mine", "kind": "video"}).record["kind"]
    'video'

    Attributes:
        network: On the device that shall draw.
        record: What is known of it.
    """

    network: Any
    record: dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """How a request was read before anything is made.

    >>> Reading(request="a red circle", remarks=("circel was read as circle",)).facts
    {}

    Attributes:
        request: As it is made: as it came, or with slips corrected.
        facts: What the record says of the reading; empty where there is nothing to say.
        remarks: The same for a person, one line each.
    """

    request: Any
    facts: Facts = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@runtime_checkable
class ModelSource(Protocol):
    """A model that may be loaded, known before it is: hashable, and equal where it is the same.

    Attributes:
        name: By which a person knows it.
        delivered: Whether a batch hands it to hosts that share no disk.
        slow: Whether a step takes so long that a log tells each.
    """

    @property
    def name(self) -> str:
        """See above."""
        ...

    @property
    def delivered(self) -> bool:
        """See above."""
        ...

    @property
    def slow(self) -> bool:
        """See above."""
        ...

    def record(self) -> dict[str, Any]:
        """What is known of it: name, kind, digests; no weights are read.

        Raises:
            Refusal: It is not installed, or not whole.
        """
        ...

    def load(self, device: Any) -> Model:
        """The model on a device.

        Raises:
            Refusal: Likewise.
        """
        ...


class NotAsAskedError(Exception):
    """A result does not show what was asked; the message names what is not as asked.

    Attributes:
        score: Which share of it the result shows, 0 to 1.
    """

    def __init__(self, message: str, score: float = 0.0) -> None:
        """Take what to say."""
        super().__init__(message)
        self.score = score


class Operation(Protocol[Asked, Prepared, Drawn]):
    """One kind of work, from a request to verified files.

    Attributes:
        name: Of the flow, its deployment, the task in records; ``verb_object`` in plain words.
        kind: Of model: ``video`` or ``mri``.
        request: What a person may ask; form, command line, docs and tests read it.
        endings: That the main output's name may have, the usual one first, such as ``.mp4``.
        noun: What a result is called that has no name of its own, such as ``clip``.
        private: Whether results show people, so that pages may have to hide them.
    """

    name: str
    kind: str
    request: type[Asked]
    endings: tuple[str, ...]
    noun: str
    private: bool

    def title(self, request: Asked) -> str:
        """The words that a result is named after."""
        ...

    def inputs(self, request: Asked) -> Paths:
        """The files it reads, by the request's field that names them."""
        ...

    def outputs(self, target: Path, request: Asked | None = None) -> Paths:
        """Where everything goes that can be made again, by role, the main output first.

        Args:
            target: The main output.
            request: Where it is known: what it asks for must fit a file of that name.

        Raises:
            Refusal: The name is not one that such a file may have.
        """
        ...

    def read(self, request: Asked, *, strict: bool = False) -> Reading:
        """The request as it is made, and what a person should know of that.

        Args:
            request: As it came.
            strict: Refuse what was understood in part alone.

        Raises:
            Refusal: The model cannot make what is asked.
        """
        ...

    def check(self, request: Asked) -> None:
        """Refuse what cannot be done, before any work.

        Raises:
            Refusal: What came, the rule, the way out.
        """
        ...

    def cost(self, request: Asked) -> Cost:
        """What it takes, from sizes alone.

        Raises:
            Refusal: A file whose size decides cannot be read.
        """
        ...

    def settled(self, request: Asked) -> Asked:
        """The request with nothing left open, as the record tells it."""
        ...

    def source(self, request: Asked) -> ModelSource:
        """The model that answers."""
        ...

    def prepare(self, request: Asked) -> Prepared:
        """What drawing needs beyond the request, read once, on the CPU."""
        ...

    def draw(self, request: Asked, prepared: Prepared, model: Model, on_step: OnStep) -> Drawn:
        """The result in memory, off the device."""
        ...

    def judge(self, request: Asked, drawn: Drawn) -> Facts:
        """What of the request the result shows; empty where nobody can tell.

        Raises:
            NotAsAskedError: Not all of it.
        """
        ...

    def write(self, request: Asked, drawn: Drawn, target: Path, *, overwrite: bool) -> Paths:
        """Write the files of ``outputs``, each whole or not at all; their paths by role."""
        ...

    def numbers(self, drawn: Drawn) -> Facts:
        """What the record says of the result that its files do not."""
        ...

    def verify(self, request: Asked, paths: Mapping[str, Path]) -> Facts:
        """What the files hold, read back and held against the request.

        Raises:
            RuntimeError: They hold something else than was asked for.
        """
        ...

    def decoded(self, path: Path) -> dict[str, NDArray[np.generic]]:
        """What a file holds, by what one value of it is called; two files are compared by it."""
        ...

    def recalled(self, file: Path) -> Asked | None:
        """The request as far as a file without its record says it; None where it says nothing."""
        ...

    def pictures(self, prepared: Prepared, drawn: Drawn) -> dict[str, bytes]:
        """What a person looks at: images by role, as WebP (``preview``) or PNG (others)."""
        ...

    def shown(self, request: Asked, facts: Mapping[str, Any]) -> Facts:
        """What the run's page says of it, in words for people."""
        ...


AnyOperation = Operation[Any, Any, Any]
"""One of which it is not known what it is asked."""
