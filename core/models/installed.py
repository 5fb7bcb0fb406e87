"""A model of ours on the shelves, by its name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.backends.choice import chosen
from core.models.adapters import Lora, check
from core.models.checkpoints import class_of, find_model, load_model
from core.models.files import WEIGHTS, read_record
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
        """What its ``model.json`` says, which adapter changes it, and who computes it.

        Raises:
            Refusal: It is not installed, or the adapter belongs to another model.
        """
        folder = find_model(self.name, self.kind)
        record = read_record(folder)
        record |= chosen(record, class_of(folder))
        if self.lora is None:
            return record
        check(self.lora, folder)
        return record | self.lora.told()

    def load(self, device: Any) -> Model:
        """The network, and what is known of it."""
        return load_folder(find_model(self.name, self.kind), device, self.lora)


def load_folder(folder: Path, device: Any, lora: Lora | None = None) -> Model:
    """The network in a model folder, and what is known of it.

    Args:
        folder: Of the model.
        device: That computes.
        lora: An adapter that is merged into its weights.
    """
    record = read_record(folder)
    told = chosen(record, class_of(folder)) if torch.device(device).type == "cpu" else {}
    dtype = getattr(torch, told["precision"]) if told else None
    network, record = load_model(folder, device=device, dtype=dtype)
    if lora is not None:
        take(network, folder, lora)
        record = record | lora.told()
    if told:
        from core.backends.answers import accelerate

        merged = "" if lora is None else f" {lora.told()}"  # other weights are other graphs
        accelerate(network, record["sha256"][WEIGHTS] + merged)
    return Model(network, record | told)
