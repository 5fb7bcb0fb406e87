"""How one item of a shard is made, in three steps that can overlap with those of others.

``prepare`` needs the CPU and no device, ``sample`` the device, ``finish`` the CPU and the disk.
Only ``sample`` must run alone. ``finish`` writes the item's record last.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from core.operations.operation import AnyOperation, Model, ModelSource
from core.progress import timed
from core.records import sha256_file
from core.refusal import Refusal
from flows.batches.item import Item, digests_of, drawn_again
from flows.batches.ledger import Batch
from flows.jobs.pipeline import beside, named_once_good, record, save_pictures, usual_ending
from flows.jobs.signing import sign_outputs
from flows.machines.resources import check_room
from flows.requests.policy import check_policy, write_lawful
from video.engines.previews import Shown, with_previews

logger = logging.getLogger(__name__)

Timings = dict[str, float]
Paths = dict[str, Path]


@dataclass
class Job:
    """An item on its way through a shard.

    Attributes:
        item: What to make.
        draw: How often it was drawn, with this time.
        timings: Step to seconds.
        steps: In how many it is drawn, where a deadline leaves no time for all; else 0.
        score: How much of what was asked it shows, 0 to 1; None where nobody judges.
        prepared: What ``prepare`` returned.
        sampled: What ``sample`` returned.
    """

    item: Item
    draw: int = 1
    timings: Timings = field(default_factory=dict)
    steps: int = 0
    score: float | None = None
    prepared: Any = None
    sampled: Any = None

    @property
    def request(self) -> Any:
        """What this draw is asked."""
        again = drawn_again(self.item.request, self.draw)
        return again.model_copy(update={"steps": self.steps}) if self.steps else again


class Networks:
    """Models on the device, each loaded once."""

    def __init__(self, device: torch.device) -> None:
        """Load nothing yet."""
        self._device = device
        self._loaded: dict[ModelSource, Model] = {}

    def of(self, operation: AnyOperation, request: Any) -> Model:
        """The model that answers a request."""
        source = operation.source(request)
        if source not in self._loaded:
            self._loaded[source] = source.load(self._device)
        return self._loaded[source]

    def record(self, operation: AnyOperation, request: Any) -> dict[str, Any]:
        """What is known of the model, which needs no network."""
        source = operation.source(request)
        if known := self._loaded.get(source):
            return known.record
        return source.record()


class Maker:
    """Makes items, whatever their operation; with ``judge``, only those that show what was asked.

    Attributes:
        networks: The models it draws with.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        judge: bool = False,
        at_hand: Callable[[Item], Item] = lambda item: item,
        shown: Callable[["Job"], AbstractContextManager[Shown | None]] = lambda job: nullcontext(),
    ) -> None:
        """Load nothing yet.

        Args:
            device: Where to draw.
            judge: Whether a result that does not show what was asked is rejected.
            at_hand: Has the input of an item on this disk.
            shown: Takes previews of an item while it is drawn.
        """
        self.networks, self._judge, self._at_hand = Networks(device), judge, at_hand
        self._device, self._shown = device, shown

    def load(self, item: Item) -> None:
        """Have ready what most items need."""
        self.networks.of(item.operation, item.request)

    def prepare(self, job: Job) -> Any:
        """Whatever ``sample`` needs beyond the request.

        Raises:
            Refusal: The input cannot be taken, is no longer the one that was planned, or is too
                large for this machine.
        """
        check_policy(job.request, "shard")  # the rules may be newer than the plan
        job.item = self._at_hand(job.item)
        check_room(job.item.operation, job.request, self._device, folder=None)
        prepared = job.item.operation.prepare(job.request)
        check_unchanged(job.item)
        return prepared

    def sample(self, job: Job) -> Any:
        """The result in memory, off the device."""
        operation, request = job.item.operation, job.request
        model = self.networks.of(operation, request)
        with self._shown(job) as ahead:
            return operation.draw(request, job.prepared, model, with_previews(_no_op, ahead))

    def finish(self, job: Job, batch: Batch) -> Paths:
        """Judge, write, verify, draw the pictures, sign, record; files by role, the record last.

        Raises:
            NotAsAskedError: The result does not show what was asked; nothing is written.
            Refusal: The input is no longer the one that was planned; nothing is written.
        """
        check_unchanged(job.item)  # the record will name its bytes
        operation, request, drawn = job.item.operation, job.request, job.sampled
        facts: dict[str, Any] = {"item": job.item.address, "batch": batch.root.name}
        facts |= job.item.facts
        facts |= {"steps_for_the_deadline": job.steps} if job.steps else {}
        if self._judge:
            facts |= {"draw": job.draw, **operation.judge(request, drawn)}
            job.score = 1.0
        target = batch.results / f"{job.item.stem}{usual_ending(operation, request)}"
        with named_once_good(target, overwrite=True) as hidden:
            with timed(job.timings, "encode"):
                made, seen = write_lawful(operation, request, drawn, hidden, overwrite=True)
            with timed(job.timings, "verify"):
                facts |= seen | operation.numbers(drawn) | operation.verify(request, made)
            with timed(job.timings, "pictures"):
                made |= save_pictures(operation, job.prepared, drawn, hidden)
            sign_outputs(operation, request, made, job.timings)
        paths = beside(target, made)
        for line in facts.get("remarks", ()):
            logger.info("%s: %s", job.item.address, line)
        model = self.networks.record(operation, request)
        recorded = record(
            operation, request, paths, model, facts=facts, timings=job.timings, overwrite=True
        )
        return {**paths, "record": recorded}


def check_unchanged(item: Item) -> None:
    """Raise a ``Refusal`` unless its inputs still hold the bytes that an item's address tells."""
    if item.inputs and (found := digests_of(item.request)) != item.inputs:
        role = next(role for role in item.inputs if found.get(role) != item.inputs[role])
        raise Refusal(
            f"{role}={item.request.named_file(role)} holds other bytes than were planned: a file "
            "stays as it was until its clip is drawn; put the planned one back, or run the batch "
            "again to plan it anew."
        )
    if item.scan is None:
        return
    path = Path(item.request.scan)
    found = sha256_file(path) if path.is_file() else "nothing"
    if found != item.scan.sha256:
        raise Refusal(
            f"{path} holds sha256 {found[:12]} instead of {item.scan.sha256[:12]}: a scan stays "
            "as it was planned until it is restored; put the planned file back, or run the batch "
            "again to plan it anew."
        )


def _no_op(done: int, total: int, estimate: object) -> None:
    """Tell nobody."""
