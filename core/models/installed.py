"""A model of ours on the shelves, by its name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.backends.choice import chosen
from core.models.adapters import Lora, check
from core.models.checkpoints import class_of, find_model, load_model
from core.models.controls import Control
from core.models.controls import check as check_control
from core.models.controls import take as take_control
from core.models.files import WEIGHTS, read_record
from core.models.merging import take
from core.numerics import USUAL
from core.operations.operation import Model


@dataclass(frozen=True)
class Installed:
    """A model folder; see ``core.operations.operation.ModelSource``.

    Attributes:
        name: Its folder's name.
        kind: ``video`` or ``mri``.
        lora: An adapter that is merged into its weights while it is loaded.
        control: A branch that stands beside its weights.
        backend: Who computes it, as a request says; see ``core.backends.choice.chosen``.

    >>> Installed("heads-1mm", "mri").record()["kind"]
    'mri'
    """

    name: str
    kind: str
    lora: Lora | None = None
    control: Control | None = None
    backend: str = USUAL
    delivered = True
    slow = False

    def record(self) -> dict[str, Any]:
        """What its ``model.json`` says, which adapter changes it, and who computes it.

        Raises:
            Refusal: It is not installed, or the adapter belongs to another model.
        """
        folder = find_model(self.name, self.kind)
        record = read_record(folder)
        record |= chosen(record, class_of(folder), self.backend)
        if self.lora is not None:
            check(self.lora, folder)
        if self.control is not None:
            check_control(self.control, folder)
        return record | self._beside()

    def _beside(self) -> dict[str, Any]:
        """What records say of the files that change it."""
        told = {} if self.lora is None else self.lora.told()
        return told if self.control is None else told | self.control.told()

    def load(self, device: Any) -> Model:
        """The network, and what is known of it."""
        folder = find_model(self.name, self.kind)
        loras = () if self.lora is None else (self.lora,)
        loaded = load_folder(folder, device, *loras, control=self.control, backend=self.backend)
        return Model(loaded.network, loaded.record | self._beside())


def load_folder(
    folder: Path,
    device: Any,
    *loras: Lora,
    control: Control | None = None,
    backend: str = USUAL,
) -> Model:
    """The network in a model folder, and what is known of the folder.

    Args:
        folder: Of the model.
        device: That computes.
        *loras: Adapters that are merged into its weights, in this order.
        control: A branch that stands beside them; None for none.
        backend: Who computes it on a CPU; see ``core.backends.choice.chosen``.

    Raises:
        Refusal: It holds other bytes than its record says, or a file belongs to another.
    """
    record = read_record(folder)
    on_cpu = torch.device(device).type == "cpu"
    told = chosen(record, class_of(folder), backend) if on_cpu else {}
    dtype = getattr(torch, told["precision"]) if told else None
    network, record = load_model(folder, device=device, dtype=dtype)
    take(network, folder, *loras)
    if control is not None:
        check_control(control, folder)
        take_control(network, control)
    if told:
        from core.backends.answers import accelerate

        merged = "".join(f" {lora.told()}" for lora in loras)  # other weights are other graphs
        accelerate(network, record["sha256"][WEIGHTS] + merged)
    return Model(network, record | told)
