"""A night of batches on many workers, event by event, from the stage times of one machine.

Nothing is drawn here. Shards are what ``flows.batches.plan`` cuts; each batch has a coordinator
that looks at its shards, hands out as many as its limits allow and starts again what is missing,
as ``flows.batches.coordinator`` does. Workers start cold, take longer over some items and die.
"""

import heapq
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Stages:
    """What each stage takes, in seconds.

    Attributes:
        look_every: A coordinator rests between two looks.
        look: Of a coordinator at one shard under way.
        hand_out: Of a coordinator, to start one shard.
        pick_up: At most until a free worker sees a waiting shard.
        cold: From the pick-up of a shard to its first item: process, imports, weights.
        unnoticed: Until a dead worker's shard counts as ended.
        again: Until a shard with missing items is handed out again.
        replaced: Until a worker that died is there again.
        deaths: Of one worker an hour.
        slow: Share of items that take ``times`` as long.
        times: How much longer these take.
    """

    look_every: float = 1.0
    look: float = 0.02
    hand_out: float = 0.1
    pick_up: float = 2.0
    cold: float = 5.0
    unnoticed: float = 180.0
    again: float = 30.0
    replaced: float = 30.0
    deaths: float = 0.01
    slow: float = 0.01
    times: float = 5.0


@dataclass
class Batch:
    """Shards of one batch, as seconds of each item, and how many may be under way."""

    shards: Sequence[Sequence[float]]
    at_once: int
    left: dict[int, list[float]] = field(init=False)
    ready: dict[int, float] = field(default_factory=dict)
    active: dict[int, float] = field(default_factory=dict)  # shard to when it counts as ended

    def __post_init__(self) -> None:
        self.left = {number: list(items) for number, items in enumerate(self.shards)}


@dataclass(frozen=True)
class Night:
    """How a night went.

    Attributes:
        seconds: From the start to the last coordinator's end.
        ideal: If all workers had worked at once and at all times, with nothing else to do.
        busy: Share of the workers' time in which they made items.
        waiting: Share of the shards' time in which they waited for a worker.
        coordinators: Share of its time in which the busiest coordinator was at work.
        most_at_once: Shards under way at once, all batches together.
        died: Workers that died.
    """

    seconds: float
    ideal: float
    busy: float
    waiting: float
    coordinators: float
    most_at_once: int
    died: int


class Simulation:
    """One night; see ``simulate``."""

    def __init__(self, batches: Sequence[Batch], workers: int, stages: Stages, seed: int) -> None:
        """Start nothing yet."""
        self.batches, self.workers, self.stages = batches, workers, stages
        self.dice, self.order = random.Random(seed), itertools.count()
        self.events: list[tuple[float, int, str, int]] = []
        self.queue: list[tuple[float, int, int]] = []  # since when, batch, shard
        self.idle = workers
        self.made, self.waited, self.under_way = 0.0, 0.0, 0.0
        self.work = [0.0 for _ in batches]
        self.most, self.died, self.end = 0, 0, 0.0

    def run(self) -> Night:
        """From the first look to the last."""
        every = [s for batch in self.batches for shard in batch.shards for s in shard]
        for number in range(len(self.batches)):
            self._at(0.0, "look", number)
        while self.events:
            now, _, what, which = heapq.heappop(self.events)
            if what == "look":
                self._look(now, which)
            else:
                self.idle += 1
            self._assign(now)
        seconds = self.end
        return Night(
            seconds=seconds,
            ideal=max(sum(every) / self.workers, *every),
            busy=self.made / (seconds * self.workers),
            waiting=self.waited / max(self.under_way, 1e-9),
            coordinators=max(self.work) / seconds,
            most_at_once=self.most,
            died=self.died,
        )

    def _at(self, when: float, what: str, which: int) -> None:
        heapq.heappush(self.events, (when, next(self.order), what, which))

    def _look(self, now: float, number: int) -> None:
        """What a coordinator does in one turn, and when it does it again."""
        batch, stages = self.batches[number], self.stages
        spent = stages.look * len(batch.active)
        for shard in [s for s, ends in batch.active.items() if ends <= now]:
            del batch.active[shard]
            if batch.left[shard]:
                batch.ready[shard] = now + stages.again
        for shard, items in batch.left.items():
            if len(batch.active) >= batch.at_once:
                break
            if not items or shard in batch.active or batch.ready.get(shard, 0.0) > now:
                continue
            spent += stages.hand_out
            batch.active[shard] = float("inf")
            self.queue.append((now + spent, number, shard))
        self.most = max(self.most, sum(len(each.active) for each in self.batches))
        self.work[number] += spent
        if batch.active or any(batch.left.values()):
            self._at(now + spent + stages.look_every, "look", number)
        else:
            self.end = max(self.end, now)

    def _assign(self, now: float) -> None:
        """Give waiting shards to idle workers, the oldest first."""
        self.queue.sort()
        while self.idle and self.queue:
            since, number, shard = self.queue.pop(0)
            self.idle -= 1
            self._work(max(now, since), since, self.batches[number], shard)

    def _work(self, now: float, since: float, batch: Batch, shard: int) -> None:
        """One shard on one worker, to its end or the worker's."""
        stages, items = self.stages, batch.left[shard]
        begun = now + self.dice.uniform(0, stages.pick_up)
        dies = self._lives() + begun
        clock = begun + stages.cold
        while items and clock <= dies:
            slow = self.dice.random() < stages.slow
            clock += items[-1] * (stages.times if slow else 1.0)
            if clock <= dies:
                self.made += items.pop()
        died = clock > dies
        self.died += died
        gone = dies if died else clock
        batch.active[shard] = gone + (stages.unnoticed if died else 0.0)
        self.waited += begun - since
        self.under_way += gone - since
        self._at(gone + (stages.replaced if died else 0.0), "free", 0)

    def _lives(self) -> float:
        deaths = self.stages.deaths
        return self.dice.expovariate(deaths / HOUR_S) if deaths else float("inf")


def simulate(
    batches: Sequence[tuple[Sequence[Sequence[float]], int]],
    workers: int,
    stages: Stages,
    *,
    seed: int = 0,
) -> Night:
    """One night.

    Args:
        batches: Of each its shards, as seconds of each item, and how many may be under way.
        workers: How many work at once.
        stages: What each stage takes.
        seed: Of deaths, slow items and polls.
    """
    made = [Batch(shards, at_once) for shards, at_once in batches]
    return Simulation(made, workers, stages, seed).run()
