"""A model of ours on the shelves, by its name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.models.checkpoints import find_model, load_model
from core.models.files import read_record
from core.operations.operation import Model


@dataclass(frozen=True)
class Installed:
    """A model folder; see ``core.operations.operation.ModelSource``.

    Attributes:
        name: Its folder's name.
        kind: ``video`` or ``mri``.

    >>> Installed("heads-1mm", "mri").record()["kind"]
    'mri'
    """

    name: str
    kind: str
    delivered = True
    slow = False

    def record(self) -> dict[str, Any]:
        """What its ``model.json`` says."""
        return read_record(find_model(self.name, self.kind))

    def load(self, device: Any) -> Model:
        """The network, and what is known of it."""
        return load_folder(find_model(self.name, self.kind), device)


def load_folder(folder: Path, device: Any) -> Model:
    """The network in a model folder, and what is known of it."""
    return Model(*load_model(folder, device=device))
