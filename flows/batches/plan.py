"""The plan of a batch: how long, how much room, and which shard makes which item.

Pure functions of the items and of what they take; nothing is written here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.operations.operation import Cost
from core.progress import HOUR, MINUTE, counted, duration
from core.refusal import Refusal
from flows.batches.item import Item
from flows.machines.watchdog import Patience
from flows.requests.batch_requests import BatchRequest

GPU_SPEEDUP = 15.0
UNREADABLE_S = 1.0  # of a file that is only looked at and refused
SMALLEST_BYTES = 150_000  # record, pictures and what files hold beside values
GPU_FILE = Path("/dev/nvidia0")
GB = 1e9
MOST_NAMED = 100  # scans, or rows, that a plan names one by one
REMARKS = 3  # rows that are named


@dataclass(frozen=True)
class Plan:
    """What a batch will do and take.

    Attributes:
        kind: ``video`` or ``mri``.
        items: Every item with its shard; -1 for one that stands already.
        standing: How many stand already.
        settled: How many were refused, or drawn in vain as often as allowed.
        repeated: Rows that repeat an earlier one.
        left_out: Files that look like scans and are not taken, and why, one line a reason.
        from_folder: Whether it is made from the files of a folder.
        shards: Number of shards.
        seconds_per_item: Of the items to make, on average.
        measured: Whether that was measured in this batch, or is a rule of thumb.
        bytes_needed: Room that the missing results will take.
    """

    kind: str
    items: tuple[tuple[Item, int], ...]
    standing: int
    settled: int
    repeated: tuple[str, ...]
    shards: int
    seconds_per_item: float
    measured: bool
    bytes_needed: int
    left_out: tuple[str, ...] = ()
    from_folder: bool = False

    @property
    def missing(self) -> int:
        """How many items are to be made."""
        return len(self.items) - self.standing - self.settled

    def says(self, free: int, slots: int = 1, *, draws: int = 1, price: float = 0.0) -> list[str]:
        """The plan in words, one line each, for a person before anything starts.

        Args:
            free: Bytes that are free where results go.
            slots: How many devices will work at once.
            draws: How often an item may be drawn.
            price: Of an hour of one device; 0 if untold.
        """
        total = self.missing * self.seconds_per_item
        basis = "measured here" if self.measured else "rule of thumb"
        lines = [
            f"{counted(len(self.items), 'item')} ({self.kind}), {self.standing} made already, "
            f"{self.missing} to make",
            f"{counted(self.shards, 'shard')}, {_seconds(self.seconds_per_item)} an item "
            f"({basis}), about {duration(total / max(1, min(slots, self.shards)))} "
            f"on {counted(slots, 'device')}",
            *self._costs(draws, price),
            f"{self.bytes_needed / GB:.2f} GB to write, {free / GB:.1f} GB free",
        ]
        if self.settled:
            lines.append(f"{self.settled} failed or were rejected for good; see batch status")
        if read := self._read():
            shown = "; ".join(read[:REMARKS]) + ("; ..." if len(read) > REMARKS else "")
            lines.append(f"{counted(len(read), 'prompt')} not drawn word for word: {shown}")
        if self.repeated:
            shown = "; ".join(self.repeated[:3]) + ("; ..." if len(self.repeated) > 3 else "")
            lines.append(f"{counted(len(self.repeated), 'repeated row')}, made once: {shown}")
        if self.left_out:
            reasons = counted(len(self.left_out), "reason")
            lines.append(f"files are left out for {reasons}; the plan and batch.json name them")
        return lines

    def names(self) -> list[str]:
        """Files by path: which are taken, and which are not and why.

        Of a prompt file the rows that are not drawn word for word, where ``says`` does not name
        all of them. For the person who asks; a log that others read may not name patients.
        """
        if self.kind != "mri" and not self.from_folder:
            read = self._read()
            rest = [f"{len(read) - MOST_NAMED} more; the record of each says it"]
            named = [*read[:MOST_NAMED], *(rest if len(read) > MOST_NAMED else [])]
            return [f"reads {line}" for line in named] if len(read) > REMARKS else []
        more = len(self.items) - MOST_NAMED
        named = [f"takes {item.row}{_prompt_of(item)}" for item, _ in self.items[:MOST_NAMED]]
        return [*named, *([f"takes {more} more"] if more > 0 else []), *self.left_out]

    def _read(self) -> list[str]:
        """Rows whose prompts are not drawn word for word, and how they are read."""
        return [f"{item.row}: {said}" for item, _ in self.items if (said := _said(item.facts))]

    def _costs(self, draws: int, price: float) -> list[str]:
        """Time of all devices together, and money; at most, where items are drawn again."""
        if not self.missing:
            return []
        least = self.missing * self.seconds_per_item
        amounts = [least] if draws == 1 else [least, least * draws]
        words = " to ".join(_amount(seconds / MINUTE, 1) for seconds in amounts)
        line = f"cost: {words} device minutes"
        if price:
            money = " to ".join(_amount(seconds / HOUR * price, 2) for seconds in amounts)
            line += f", {money} at {price:g} an hour"
        return [line + (f" (1 to {draws} draws of each)" if draws > 1 else "")]


def _prompt_of(item: Item) -> str:
    prompt = getattr(item.request, "prompt", "")
    return f": {prompt}" if prompt else ""


def _said(facts: dict[str, Any]) -> str:
    """How a prompt was read, where that needs saying."""
    parts = [f"read as {', '.join(facts['read_as'])}"] if "read_as" in facts else []
    if "not_understood" in facts:
        parts.append(f"not understood: {', '.join(facts['not_understood'])}")
    return "; ".join(parts)


def make_plan(
    items: Sequence[Item],
    standing: Iterable[str],
    *,
    settled: Iterable[str] = (),
    repeated: Sequence[str] = (),
    shard_minutes: float = 10.0,
    measured_s: float = 0.0,
    left_out: Sequence[str] = (),
    from_folder: bool = False,
) -> Plan:
    """The plan for the items that do not stand yet; they keep their order.

    Args:
        items: All items of the batch, each once.
        standing: Addresses of those that are made and whole.
        settled: Addresses of those that will never be.
        repeated: Rows that were left out.
        left_out: Files that were, and why.
        from_folder: Whether files of a folder are the items.
        shard_minutes: Length of a shard.
        measured_s: What an item took so far in this batch; 0 for a rule of thumb.
    """
    stand, given_up = set(standing), set(settled)
    missing = [item for item in items if item.address not in stand | given_up]
    costs = [measured_s or expected_seconds(item) for item in missing]
    total = sum(costs)
    shards = max(1, round(total / (60 * shard_minutes))) if missing else 0
    shards = min(shards, len(missing))
    placed, passed = {}, 0.0
    for item, cost in zip(missing, costs, strict=True):
        placed[item.address] = min(shards - 1, int((passed + cost / 2) / total * shards))
        passed += cost
    numbers = {old: new for new, old in enumerate(sorted(set(placed.values())))}
    return Plan(
        kind=items[0].operation.kind,
        items=tuple((item, numbers.get(placed.get(item.address, -1), -1)) for item in items),
        standing=sum(item.address in stand for item in items),
        settled=sum(item.address in given_up - stand for item in items),
        repeated=tuple(repeated),
        shards=len(numbers),
        seconds_per_item=total / len(missing) if missing else measured_s,
        measured=measured_s > 0,
        bytes_needed=sum(map(expected_bytes, missing)),
        left_out=tuple(left_out),
        from_folder=from_folder,
    )


def expected_seconds(item: Item) -> float:
    """What one item takes on this machine, by its operation's cost."""
    cost = _cost(item)
    if cost is None:
        return UNREADABLE_S
    if not GPU_FILE.exists():
        return cost.seconds
    return cost.gpu_seconds or cost.seconds / GPU_SPEEDUP


def ends_early(request: BatchRequest) -> list[str]:
    """When a batch stops before its items are made, one line; none if it never does."""
    limits = request.limits
    ends = {
        f"{limits.deadline_minutes:g} min after the start": limits.deadline_minutes,
        f"after {limits.gpu_minutes:g} min of sampling": limits.gpu_minutes,
        f"at {counted(limits.items, 'item')} made": limits.items,
    }
    ends[f"when no more can be ready by {limits.until}"] = len(limits.until)
    draws, gain = request.plateau
    ends[f"when the last {counted(draws, 'draw')} added less than {gain:g} each"] = draws
    said = [words for words, limit in ends.items() if limit]
    return [f"stops early {'; '.join(said)}"] if said else []


def patience_s(item: Item, minutes: float) -> float:
    """How long an item may be sampled before what does it is taken for hung.

    Args:
        item: The item.
        minutes: That somebody set; 0 for a multiple of what is expected.
    """
    return 60 * minutes or Patience.with_job(expected_seconds(item) / MINUTE).step_s


def expected_bytes(item: Item) -> int:
    """An upper bound for the files of one item."""
    cost = _cost(item)
    return SMALLEST_BYTES + (int(cost.results_gb * GB) if cost else 0)


def _cost(item: Item) -> Cost | None:
    """None for a file that cannot be read, which its shard will say."""
    try:
        return item.operation.cost(item.request)
    except Refusal:
        return None


def check_room(needed: int, free: int, reserve_gb: float) -> None:
    """Raise a ``Refusal`` unless so many bytes fit and the reserve stays free."""
    if free < needed + reserve_gb * GB:
        raise Refusal(
            f"{needed / GB:.2f} GB are needed and {reserve_gb:g} GB kept in reserve, but "
            f"{free / GB:.2f} GB are free: nothing is started that cannot be kept; free some "
            "space, point LAMINA_OUTPUTS to a larger disk, or lower limits.reserve_gb."
        )


def _amount(number: float, digits: int) -> str:
    return f"{number:.{digits}f}" if number >= 1 else f"{number:.2g}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else duration(seconds)
