"""What every training may be asked, and what each answers of itself: memory, network, record."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from core.request import Request

Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$",
        description="Name of the new model: lower case letters, digits and dashes.",
    ),
]
Preset = Annotated[Literal["tiny", "base"], Field(description="Size of the network.")]
Network = Annotated[
    Literal["unet", "dit"],
    Field(description="Kind of network: unet, or dit, a transformer of about its arithmetic."),
]
Rank = Annotated[
    int,
    Field(
        ge=0,
        le=256,
        title="LoRA",
        description="Rank of what is learned beside the weights of start, which stay as they are: "
        "a small file and a model with it merged, for little data; 0 to train all weights.",
    ),
]
Steps = Annotated[int, Field(ge=1, description="Optimizer steps of flow matching.")]
JumpSteps = Annotated[
    int,
    Field(ge=0, description="Further steps on average velocities, for few-step sampling."),
]
Accumulation = Annotated[
    int,
    Field(
        ge=1,
        le=256,
        description="Compute each step in so many equal parts, one after the other: less memory "
        "for the same batch.",
    ),
]
LearningRate = Annotated[float, Field(gt=0, le=1, description="Peak learning rate.")]
Minutes = Annotated[
    float,
    Field(
        ge=0,
        description="Time budget: where the steps would take longer, fewer are taken and the "
        "model is written within it; 0 for none.",
    ),
]
Compiled = Annotated[
    bool,
    Field(
        description="Compile the network first: some minutes at the start for faster steps. "
        "Needs a CUDA device.",
    ),
]


@dataclass(frozen=True)
class Memory:
    """Main memory of one process that trains, in 1e9 bytes.

    >>> Memory(process_gb=0.75, row_gb=0.1).at_most(rows=8)
    1.55

    Attributes:
        process_gb: Libraries and weights.
        row_gb: One row of a batch.
        reading_gb: Beside the libraries while data is read, before there are batches.
        data_gb: Data that stays.
    """

    process_gb: float
    row_gb: float
    reading_gb: float = 0.0
    data_gb: float = 0.0

    def at_most(self, rows: float) -> float:
        """The peak, with so many rows of a batch at once."""
        return self.process_gb + max(self.reading_gb, self.data_gb + rows * self.row_gb)


class TrainingRequest(Request):
    """One training run; what a run is asked for and how it is done, whatever it learns from.

    >>> class Asked(TrainingRequest):
    ...     kind = "video"
    ...     def memory(self, data_size):
    ...         return Memory(process_gb=0.5, row_gb=0.25)
    >>> Asked().memory(0).at_most(rows=2)
    1.0

    Attributes:
        kind: Of data and network: ``video`` or ``mri``.
        trained_by: The function, as ``module:name``, for training needs what requests do without.
        private: Whether what the network makes on its way shows people.
    """

    if TYPE_CHECKING:
        name: str
        preset: Preset
        start: str
        batch_size: int
        accumulation: int
        minutes: float

    kind: ClassVar[str]
    trained_by: ClassVar[str]
    private: ClassVar[bool] = False

    @property
    def model_kind(self) -> str:
        """Of the model that it ends in."""
        return self.kind

    def data_size(self) -> int:
        """How large its data is, by which memory grows; 0 where it does not."""
        return 0

    @abstractmethod
    def memory(self, data_size: int) -> Memory:
        """What one of its processes holds, with data of that size."""

    def record(self) -> dict[str, Any]:
        """What the model's record says beyond what all say."""
        return {"guidance_trained_in": False}

    def train(self, folder: Path, **told: Callable[..., Any]) -> Any:
        """The trained network, with its averaged weights.

        Args:
            folder: Where checkpoints stand, from which it goes on.
            told: ``on_progress``, ``should_stop`` and ``on_validation``, as ``train_stages`` takes
                them.
        """
        return resolve_name(self.trained_by)(self, folder, **told)[0]
