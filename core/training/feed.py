"""Batches for the training loop; on a GPU the next one is made while this one is computed.

What a batch is follows from (seed, step, part, rank) alone, so it does not matter when it is made.
No thread is needed: a GPU is given the work of a step long before it is done with it, and in that
time the next batch is laid out on a stream of its own. A CPU has nothing to gain by this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import torch
from accelerate import Accelerator
from accelerate.state import PartialState
from accelerate.utils import parse_flag_from_env
from torch import Tensor

from core.conditioning import Conditioning
from core.families.family import Family
from core.refusal import Refusal
from core.seeds import generator
from core.tensors import sent
from core.training.gradients import Rows, is_out_of_memory
from core.training.pace import Pace
from core.training.plan import Plan

Batch = tuple[Tensor, Conditioning]
MakeBatch = Callable[[int, torch.Generator], Batch]
"""(batch size, generator) -> (data, conditioning), a pure function of the generator."""


def training_device() -> torch.device:
    """Where this process will train, so that data can be made there.

    That is a GPU, unless there is none or accelerate's ``ACCELERATE_USE_CPU`` forbids it.
    """
    forbidden = parse_flag_from_env("ACCELERATE_USE_CPU")
    device = PartialState(cpu=forbidden or not torch.cuda.is_available()).device
    assert device is not None  # it is told while accelerate looks for one
    return device


@dataclass(frozen=True)
class _Made:
    """A process's parts of one step's batch, and the event after which a GPU has them."""

    step: int
    parts: list[Rows]
    event: torch.cuda.Event | None


class Feeder:
    """Gives a process its parts of each step's batch.

    Args:
        make_batch: Where the data comes from.
        objective: Draws noise and levels.
        plan: The stage's.
        accelerator: Of this process.
        rows: Samples of a part.
        pace: Told how long is waited.

    Attributes:
        ahead: Whether the next batch is made before it is asked for.
    """

    def __init__(
        self,
        make_batch: MakeBatch,
        objective: Family,
        plan: Plan,
        accelerator: Accelerator,
        *,
        rows: int,
        pace: Pace,
    ) -> None:
        self.make_batch, self.objective, self.plan = make_batch, objective, plan
        self.rank, self.device = accelerator.process_index, accelerator.device
        self.rows, self.pace = rows, pace
        self.ahead = self.device.type == "cuda"
        self._stream: torch.cuda.Stream | None = None
        if self.ahead:
            self._stream = torch.cuda.Stream(self.device)
            # what the data is made from may still be on its way
            self._stream.wait_stream(torch.cuda.current_stream(self.device))
        self._next: _Made | None = None

    def parts(self, step: int) -> list[Rows]:
        """The parts of one step's batch."""
        with self.pace.data():
            made, self._next = self._next, None
            if made is None or made.step != step:
                made = self._make(step)
            if made.event is not None:
                stream = torch.cuda.current_stream(self.device)
                stream.wait_event(made.event)
                for tensor in _tensors(made.parts):
                    tensor.record_stream(stream)  # its memory is not given away before
        return made.parts

    def prepare(self, step: int) -> None:
        """Make the batch of a step to come, where that is worth it and there is memory for it."""
        if not self.ahead or step >= self.plan.steps:
            return
        with self.pace.data():
            try:
                self._next = self._make(step)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self.ahead = False  # there is no memory for two

    def _make(self, step: int) -> _Made:
        if self._stream is None:
            return _Made(step, self._drawn(step), None)
        with torch.cuda.stream(self._stream):
            parts, event = self._drawn(step), torch.cuda.Event()
            event.record(self._stream)
            return _Made(step, parts, event)

    def _drawn(self, step: int) -> list[Rows]:
        parts = []
        for part in range(self.plan.accumulation):
            random = generator(self.plan.seed, step, part, self.rank)
            x, cond = self.make_batch(self.rows, random)
            x, cond = sent(x, self.device), cond.to(self.device)
            parts.append(Rows(x, cond, self.objective.draw(x, random)))
        return parts


def part_size(plan: Plan, processes: int) -> int:
    """Samples that one process draws at a time."""
    if plan.batch_size % (plan.accumulation * processes):
        raise Refusal(
            f"batch_size={plan.batch_size}, accumulation={plan.accumulation}: {processes} "
            "processes take equal parts of a batch; let the product of both divide it."
        )
    return plan.batch_size // (plan.accumulation * processes)


def _tensors(parts: list[Rows]) -> Iterator[Tensor]:
    """Every tensor of a batch."""
    for rows in parts:
        yield rows.x
        for holder in (rows.cond, rows.drawn):
            found = (getattr(holder, f.name) for f in fields(holder))
            yield from (value for value in found if value is not None)
