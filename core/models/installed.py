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
        folder = find_model(self.name, self.kind)
        if self.lora is None:
            return load_folder(folder, device)
        loaded = load_folder(folder, device, self.lora)
        return Model(loaded.network, loaded.record | self.lora.told())


def load_folder(folder: Path, device: Any, *loras: Lora) -> Model:
    """The network in a model folder, and what is known of the folder.

    Args:
        folder: Of the model.
        device: That computes.
        *loras: Adapters that are merged into its weights, in this order.

    Raises:
        Refusal: It holds other bytes than its record says, or an adapter belongs to another.
    """
    record = read_record(folder)
    told = chosen(record, class_of(folder)) if torch.device(device).type == "cpu" else {}
    dtype = getattr(torch, told["precision"]) if told else None
    network, record = load_model(folder, device=device, dtype=dtype)
    take(network, folder, *loras)
    if told:
        from core.backends.answers import accelerate

        merged = "".join(f" {lora.told()}" for lora in loras)  # other weights are other graphs
        accelerate(network, record["sha256"][WEIGHTS] + merged)
    return Model(network, record | told)
