"""What a shard says: of each item in its manifest, and of itself when it ends."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from flows._journal import now
from flows._shard_makers import Job


@dataclass
class Report:
    """What a shard did.

    Attributes:
        counts: ``made``, ``failed``, ``rejected`` now, and ``stood`` before.
        left: Items still to be made.
        ended: Why it ended before its items did; empty otherwise.
    """

    counts: Counter[str] = field(default_factory=Counter)
    left: int = 0
    ended: str = ""

    def plain(self) -> dict[str, Any]:
        """As a flow returns it."""
        return {**self.counts, "left": self.left, "ended": self.ended}


def outcome_line(
    job: Job, state: str, files: dict[str, Any], error: str, attempt: int, seen: str
) -> dict[str, Any]:
    """What became of an item, as a line of the manifest.

    Args:
        job: The item, with what it took.
        state: ``made``, ``failed`` or ``rejected``.
        files: By role.
        error: In words, if there was one.
        attempt: How often the shard was started.
        seen: Time of the outcome that was known before.
    """
    return {
        "item": job.item.address,
        "state": state,
        "files": files,
        "seconds": round(sum(job.timings.values()), 4),
        "sample_s": round(job.timings.get("sample", 0.0), 4),
        "attempt": job.draw,
        "try": attempt,
        "time": now(seen),
        "error": error,
    }
