"""A model of ours on the shelves, by its name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.models.adapters import Lora, check
from core.models.checkpoints import find_model, load_model
from core.models.files import read_record
from core.models.merging import take
from core.operations.operation import Model


@dataclass(frozen=True)
class Installed:
    """A model folder; see ``core.operations.operation.ModelSource``.

    Attributes:
        name: Its folder's name.
        kind: ``video`` or ``mri``.
        lora: An adapter that is merged into its weights while it is loaded.

    >>> Installed("heads-1mm", "mri").record()["kind"]
    'mri'
    """

    name: str
    kind: str
    lora: Lora | None = None
    delivered = True
    slow = False

    def record(self) -> dict[str, Any]:
        """What its ``model.json`` says, and which adapter changes it.

        Raises:
            Refusal: It is not installed, or the adapter belongs to another model.
        """
        folder = find_model(self.name, self.kind)
        if self.lora is None:
            return read_record(folder)
        check(self.lora, folder)
        return read_record(folder) | self.lora.told()

    def load(self, device: Any) -> Model:
        """The network, and what is known of it."""
        folder = find_model(self.name, self.kind)
        model = load_folder(folder, device)
        if self.lora is None:
            return model
        take(model.network, folder, self.lora)
        return Model(model.network, model.record | self.lora.told())


def load_folder(folder: Path, device: Any) -> Model:
    """The network in a model folder, and what is known of it."""
    return Model(*load_model(folder, device=device))
