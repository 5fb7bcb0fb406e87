"""A model of ours on the shelves, by its name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

<<<<<<< HEAD
from core.models.adapters import Lora, check
from core.models.checkpoints import find_model, load_model
from core.models.files import read_record
from core.models.merging import take
=======
import torch

from core.backends.choice import chosen
from core.models.checkpoints import class_of, find_model, load_model
from core.models.files import WEIGHTS, read_record
>>>>>>> 440dbf3 (Let OpenVINO compute networks on a CPU where that is asked for, with graphs that are kept)
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
<<<<<<< HEAD
        """What its ``model.json`` says, and which adapter changes it.

        Raises:
            Refusal: It is not installed, or the adapter belongs to another model.
        """
        folder = find_model(self.name, self.kind)
        if self.lora is None:
            return read_record(folder)
        check(self.lora, folder)
        return read_record(folder) | self.lora.told()
=======
        """What its ``model.json`` says, and who computes it where that is not torch."""
        folder = find_model(self.name, self.kind)
        record = read_record(folder)
        return record | chosen(record, class_of(folder))
>>>>>>> 440dbf3 (Let OpenVINO compute networks on a CPU where that is asked for, with graphs that are kept)

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
    record = read_record(folder)
    told = chosen(record, class_of(folder)) if torch.device(device).type == "cpu" else {}
    if not told:
        return Model(*load_model(folder, device=device))
    from core.backends.answers import accelerate

    network, record = load_model(folder, device=device, dtype=getattr(torch, told["precision"]))
    accelerate(network, record["sha256"][WEIGHTS])
    return Model(network, record | told)
