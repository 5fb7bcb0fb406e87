"""What a branch for a control is shown of heads in training: edges or tissues, but for a share."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from core.refusal import Refusal
from core.tensors import align, sent
from core.training.feed import Batch, MakeBatch
from medical.anatomy.tissues import find_tissues
from medical.files.volume import Volume
from medical.operations.controlled import LABELS, edges
from medical.operations.residual import RESIDUAL_SCALE

WITHOUT = 0.1
"""Share of the patches whose control is empty, so that little is added where little is known."""


def controlled(make_batch: MakeBatch, shows: str = "edges") -> MakeBatch:
    """Batches of patches with a control.

    Args:
        make_batch: Of patches; where tissues are shown, with those as control.
        shows: ``edges`` for those of the sharp head, or ``labels``.
    """

    def make(batch_size: int, generator: torch.Generator) -> Batch:
        x, cond = make_batch(batch_size, generator)  # what back-projection leaves out
        assert cond.concat is not None
        told = torch.rand(batch_size, generator=generator) >= WITHOUT
        if shows == LABELS:
            assert cond.control is not None
            shown = cond.control
        else:
            shown = edges((cond.concat[:, :1] + 1) / 2 + RESIDUAL_SCALE * x)  # of the head itself
        return x, replace(cond, control=shown * align(sent(told, x.device), shown))

    return make


def tissue_maps(heads: Sequence[tuple[str, Volume]]) -> list[Tensor]:
    """The tissues of heads, (D, H, W) uint8, as ``lamina mri segment`` finds them.

    Raises:
        Refusal: A head has none; it is named.
    """
    found = []
    for name, volume in heads:
        try:
            tissues = find_tissues(volume.data.float().numpy(), volume.spacing_mm)
        except Refusal as error:
            raise Refusal(f"{name}: {error}") from error
        found.append(torch.from_numpy(tissues.labels))
    return found
