"""The gradient of one batch, in as many pieces as the memory takes, averaged over processes.

Each process draws its part of the batch whole. Where memory runs out, the drawn rows are computed
a few at a time, so the batch stays the same and only the time grows. Nothing is exchanged between
processes before each has its sum: whoever runs out of memory leaves nobody waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor, nn

from core.conditioning import Conditioning
from core.families.family import Draw
from core.refusal import Refusal
from core.tensors import Volumes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """Rows of a batch with all that was drawn for them."""

    x: Volumes
    cond: Conditioning
    drawn: Draw

    def __len__(self) -> int:
        return len(self.x)

    def pieces(self, count: int) -> list[Rows]:
        """The same rows in about ``count`` pieces; one piece is the rows as they are."""
        if count == 1:
            return [self]
        size = -(-len(self) // count)
        slices = [slice(first, first + size) for first in range(0, len(self), size)]
        return [Rows(self.x[s], self.cond.take(s), _take(self.drawn, s)) for s in slices]


def _take(drawn: Draw, rows: slice) -> Draw:
    present = {f.name: getattr(drawn, f.name) for f in fields(drawn)}
    return replace(drawn, **{k: v[rows] for k, v in present.items() if v is not None})


Work = Callable[[Rows, float], tuple[Tensor, Tensor]]
"""(rows, share) -> (loss, plain error), after adding ``share`` of the loss's gradient."""


class Splitter:
    """Computes parts of a batch, in more pieces after each time that memory ran out.

    Args:
        network: Whose gradients are filled.
        accelerator: Of this process.
        rows: Samples of a part.
        pieces: How many a part is computed in, as it was found out before.
    """

    def __init__(
        self, network: nn.Module, accelerator: Accelerator, *, rows: int, pieces: int = 1
    ) -> None:
        self.network, self.accelerator = network, accelerator
        self.rows, self.pieces = rows, pieces

    def descend(
        self,
        draw: Callable[[], list[Rows]],
        work: Work,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> tuple[Tensor, Tensor]:
        """The loss and the plain error of a batch, whose gradient is then in the network.

        Args:
            draw: Gives this process's parts; asked again where memory ran out.
            work: Adds the gradient of some rows.
            meanwhile: Done when a GPU has all its work, before the processes wait for theirs.

        Raises:
            Refusal: Not even single samples fit the memory.
        """
        while True:
            found = self._tried(draw, work)
            if found is not None:
                meanwhile()
            if not self._anywhere(found is None):
                assert found is not None
                average_gradients(self.network, self.accelerator)
                return found
            self._split()

    def _tried(self, draw: Callable[[], list[Rows]], work: Work) -> tuple[Tensor, Tensor] | None:
        """Loss and error, or None where memory ran out."""
        try:
            parts = draw()
            losses, errors = [], []
            for part in parts:
                for rows in part.pieces(self.pieces):
                    share = len(parts) * (len(part) / len(rows))
                    loss, error = work(rows, share)
                    losses.append(loss / share)
                    errors.append(error / share)
            return torch.stack(losses).sum(), torch.stack(errors).sum()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _anywhere(self, this: bool) -> bool:
        """Whether it is so in any process."""
        if self.accelerator.num_processes == 1:
            return this
        flag = torch.tensor(float(this), device=self.accelerator.device)
        torch.distributed.all_reduce(flag)
        return bool(flag)

    def _split(self) -> None:
        """Twice as many pieces from now on."""
        self.network.zero_grad(set_to_none=True)
        clear_device_cache(garbage_collection=True)
        if self.pieces >= self.rows:
            raise Refusal(
                f"one sample at a time runs out of memory on {self.accelerator.device}: a step "
                "must hold the network, its gradients and at least one sample; choose a smaller "
                "preset, or free memory and give the same command again."
            )
        self.pieces = min(2 * self.pieces, self.rows)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine had no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, Exception) and should_reduce_batch_size(error)


@torch.no_grad()
def average_gradients(network: nn.Module, accelerator: Accelerator) -> None:
    """Give every process the mean gradient; a weight that no process reached keeps none."""
    if accelerator.num_processes == 1:
        return
    weights = [p for p in network.parameters() if p.requires_grad]
    found = [float(p.grad is not None) for p in weights]
    reached = torch.tensor(found, device=accelerator.device)
    torch.distributed.all_reduce(reached)
    weights = [p for p, number in zip(weights, reached.tolist(), strict=True) if number]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in weights]
    whole = torch.cat([grad.flatten() for grad in grads]).div_(accelerator.num_processes)
    torch.distributed.all_reduce(whole)
    for weight, mean in zip(weights, whole.split([p.numel() for p in weights]), strict=True):
        weight.grad = mean.view_as(weight).clone()


@torch.no_grad()
def share_weights(network: nn.Module, accelerator: Accelerator) -> None:
    """Give every process the weights of the first."""
    if accelerator.num_processes > 1:
        for tensor in network.state_dict().values():
            torch.distributed.broadcast(tensor, src=0)
