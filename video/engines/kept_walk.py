"""A walk of our own model that goes on where it was killed, or where a draft of it ended.

A sampler follows from its denoiser's answers alone: they are kept step by step, and given again
in place of the network's, whichever sampler it is and whatever is done around it.
"""

from collections.abc import Callable
from functools import wraps
from itertools import islice
from typing import Any

from torch import Tensor

from core.progress import RESUMED
from core.sampling.path import Denoise
from core.sampling.samplers import OnStep, Walk, ignore
from core.tensors import Levels, Volumes
from video.engines.places import MOST_STATE_BYTES, walk_bytes
from video.engines.states import StateFile, full


class _Drafted(Exception):  # noqa: N818
    def __init__(self, estimate: Volumes) -> None:
        super().__init__()
        self.estimate = estimate


class KeptWalk:
    """One walk whose answers are kept.

    Attributes:
        resumed: The step it goes on from; 0 for its start.
        calls: How often the network was asked.
    """

    def __init__(self, kept: StateFile, *, until: int = 0, keeps: bool = True) -> None:
        """Look whether there is a state to go on from.

        Args:
            kept: Where it stands.
            until: The step that a draft ends with; 0 to walk to the end.
            keeps: Whether states are written; else one that stands is gone on from alone.
        """
        self._kept = kept if keeps else None
        self._until, self._asked = until, 0
        self.calls = 0
        self._answers: list[Tensor] = []
        self.resumed = 0
        for part in islice(kept.parts(), until or None):
            self._answers += full(*part, "cpu")["answers"]
            self.resumed += 1
        self._kept_answers = len(self._answers)
        if until and self.resumed >= until:  # what stands has come as far as the draft, or farther
            self._kept, self.resumed = None, 0

    def around(self, walk: Walk) -> Walk:
        """The same sampler, whose answers are kept and given again."""

        @wraps(walk)
        def kept(
            denoise: Denoise, z: Volumes, levels: Levels, *, on_step: OnStep = ignore
        ) -> Volumes:
            steps = self._until or len(levels) - 1
            if walk_bytes(z.numel(), steps, walk.__name__) > MOST_STATE_BYTES:
                self._kept = None
            try:
                return walk(self._answering(denoise), z, levels, on_step=self._told(on_step))
            except _Drafted as early:
                return early.estimate
            finally:
                self.settle()

        return kept

    def settle(self) -> None:
        """Wait until what was kept stands."""
        if self._kept:
            self._kept.settle()

    @property
    def facts(self) -> dict[str, Any]:
        """For the record, where it went on from a kept step."""
        return {"resumed_at_step": self.resumed} if self.resumed else {}

    def _answering(self, denoise: Denoise) -> Denoise:
        def answer(z: Tensor, t: Tensor, r: Tensor) -> Tensor:
            self._asked += 1
            if self._asked <= len(self._answers):
                return self._answers[self._asked - 1].to(z.device)
            self.calls += 1
            found = denoise(z, t, r)
            if self._kept:
                self._answers.append(found)
            return found

        return answer

    def _told(self, on_step: Callable[[int, int, Any], None]) -> OnStep:
        def told(done: int, total: int, estimate: Any) -> None:
            steps = self._until or total
            if done > self.resumed:
                self._keep(done)
                on_step(done, steps, estimate)
            elif done == self.resumed:
                on_step(done, steps, RESUMED)
            if done == self._until:
                raise _Drafted(estimate)

        return told

    def _keep(self, done: int) -> None:
        if self._kept is None:
            return
        new = self._answers[self._kept_answers :]
        self._kept_answers = len(self._answers)
        self._kept.keep({"answers": new}, part=done)
