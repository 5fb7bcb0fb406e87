"""Whether a batch still gets better, from the scores of its last draws.

A clip's score is the share of what was asked that it shows, and only accepted clips are kept. So a
draw that is kept raises the quality of its item from that of the clip kept before, or from 0, to
its own; one that is rejected raises nothing. Where the last draws raised little, further ones cost
time and bring nothing.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from core.progress import counted

MOST_DRAWS = 10_000


@dataclass
class Quality:
    """What each of the last draws added.

    Attributes:
        kept: Address to score, of the clips that are kept.
        gains: Of the last draws, the newest last.
    """

    kept: dict[str, float] = field(default_factory=dict)
    gains: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_DRAWS))

    def know(self, outcome: dict[str, Any]) -> None:
        """Take what became of an item before."""
        if outcome["state"] == "made" and "score" in outcome:
            self.kept[outcome["item"]] = outcome["score"]

    def take(self, outcome: dict[str, Any]) -> None:
        """Take an item's outcome, which counts as a draw if it was judged."""
        if "again" in outcome:  # a person took the clip out
            self.kept.pop(outcome["item"], None)
        elif "score" in outcome:
            before = self.kept.get(outcome["item"], 0.0)
            self.know(outcome)
            self.gains.append(max(0.0, self.kept.get(outcome["item"], 0.0) - before))

    def plateau(self, draws: int, gain: float) -> str:
        """Why drawing on brings nothing, or nothing.

        Args:
            draws: How many of the last draws are looked at; 0 for none.
            gain: What they shall add each, on average.
        """
        if not draws or len(self.gains) < draws:
            return ""
        added = sum(self._last(draws)) / draws
        if added >= gain:
            return ""
        last = f"the last {counted(draws, 'draw')} added {added:.3g} each"
        return f"the quality no longer rises: {last}, less than {gain:g}"

    def _last(self, number: int) -> Iterator[float]:
        return islice(reversed(self.gains), number)
