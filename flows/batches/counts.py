"""How far a batch is, from the lines that its shards append; each line is read once."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from core.storage.journal import Follower, read_lines
from flows.batches.ledger import Batch, unfinished
from flows.batches.quality import Quality
from flows.requests.batch_requests import BatchRequest


@dataclass
class Tally:
    """Counts of a batch while it runs.

    Attributes:
        batch: Whose.
        draws: How often an item may be drawn.
        missing: Address to shard, of what is still to be made.
        states: Address to last state, of what was heard of.
        sampled_s: Seconds of sampling since the batch was begun, whoever coordinated it.
        item_s: Seconds that made items took, and how many they were.
        quality: What the last draws added.
    """

    batch: Batch
    draws: int = 1
    missing: dict[str, int] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    sampled_s: float = 0.0
    item_s: tuple[float, int] = (0.0, 0)
    quality: Quality = field(default_factory=Quality)
    _items: set[str] = field(default_factory=set)
    _follower: Follower = field(default_factory=Follower)

    def skip(self) -> None:
        """Take the time, and nothing else, of what was appended until now.

        This comes before looking at what stands.
        """
        for path in self.batch.shard_files(now=True):
            self.sampled_s += sum(map(_sample_s, self._follower.news(path)))

    def begin(self, missing: set[str]) -> None:
        """Take the items of the plan, these missing, and what became of the others before."""
        self.sampled_s = max(0.0, self.sampled_s - self.batch.read().get("spent_s", 0.0))
        shards = {item.address: shard for item, shard in self.batch.items()}
        self.missing = {address: shards[address] for address in shards if address in missing}
        self._items = set(shards)
        for address, outcome in self.batch.outcomes().items():
            if address in shards and address not in missing:
                self.states[address] = outcome["state"]
                self.quality.know(outcome)

    def update(self, *, now: bool = False) -> None:
        """Read what was appended since; with ``now``, until this moment."""
        for path in self.batch.shard_files(now=now):
            for outcome in self._follower.news(path):
                self._take(outcome)

    def left(self, shard: int) -> int:
        """How many items of a shard are still to be made."""
        return Counter(self.missing.values())[shard]

    @property
    def open_shards(self) -> list[int]:
        """Shards with missing items, in order."""
        return sorted(set(self.missing.values()))

    @property
    def counts(self) -> Counter[str]:
        """How many items are in each state."""
        return Counter(self.states.values())

    def spent(self, request: BatchRequest, minutes: float) -> str:
        """Which budget of a request is spent, in words; empty while all have something left.

        Args:
            request: Whose.
            minutes: Since the batch was begun.
        """
        limits = request.limits
        used = {
            "the deadline has passed": (minutes, limits.deadline_minutes),
            "the GPU minutes are spent": (self.sampled_s / 60, limits.gpu_minutes),
            "enough items are made": (self.counts["made"], limits.items),
        }
        for reason, (now, most) in used.items():
            if most and now >= most:
                return reason
        return self.quality.plateau(*request.plateau) if request.plateau[0] else ""

    def _take(self, outcome: dict[str, Any]) -> None:
        self.sampled_s += _sample_s(outcome)
        if (item := outcome["item"]) not in self._items:
            return  # of an earlier request
        self.states[item] = outcome["state"]
        self.quality.take(outcome)
        if outcome["state"] == "made" and outcome["seconds"]:
            total, count = self.item_s
            self.item_s = total + outcome["seconds"], count + 1
        if not unfinished(outcome, self.draws):
            self.missing.pop(item, None)


def sampled_s(batch: Batch) -> float:
    """Seconds of sampling that all lines of a batch tell of."""
    files = batch.shard_files() if batch.exists() else []
    return sum(_sample_s(line) for path in files for line in read_lines(path))


def _sample_s(outcome: dict[str, Any]) -> float:
    return outcome.get("sample_s", 0.0)
