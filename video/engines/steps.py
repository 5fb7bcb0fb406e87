"""Stop, keep and go on inside a clip, for any pipeline of diffusers as it is.

Every pipeline calls ``scheduler.step``: what it returns, the scheduler's own values and the
generators are the whole state. To go on, the pipeline is called anew; its network answers zeros
until the kept step, where the kept values are put in place of those that came of them.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from video.engines.engine import Stop, StoppedError
from video.engines.placement import DENOISERS
from video.engines.states import StateFile, UnkeepableError, full

Told = Callable[[int, int, bool], None]
TAKEN_BACK = "old_pred_original_sample"
"""What a scheduler answers beside the latents and is given again at its next step, by its name."""
Step = tuple[tuple[Any, ...], Mapping[str, Any], Any]


class Decoding(BaseException):
    """The pipeline has come to its decoder.

    Attributes:
        told: Positional and named arguments of the decoder.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take the arguments."""
        super().__init__()
        self.told = args, kwargs


class Drafted(BaseException):
    """The walk has come to the step that a draft ends with."""


class Walk:
    """One walk of a pipeline from noise to latents."""

    def __init__(
        self,
        pipe: Any,
        generator: torch.Generator,
        kept: StateFile | None,
        *,
        told: Told,
        stop: Stop,
        until: int = 0,
    ) -> None:
        """Look whether there is a state to go on from.

        Args:
            pipe: Loaded.
            generator: That the pipeline draws from.
            kept: Where the state stands; None where none can.
            told: Called after each step: done, in all, whether the walk just went on from there.
            stop: Asked after each step.
            until: The step that a draft ends with; 0 to walk to the end.
        """
        self.pipe, self.generator, self.kept = pipe, generator, kept
        self._told, self._stop, self._until = told, stop, until
        self._state = kept.read() if kept else None
        self.resumed = int(self._state[0]["table"]["step"]["plain"]) if self._state else 0
        if until and self.resumed >= until:  # nothing tells there what the step leads to
            self.kept, self._state, self.resumed = None, None, 0
        self.done = self.calls = 0
        self._taken_back = TAKEN_BACK in inspect.signature(pipe.scheduler.step).parameters
        self.last: Step | None = None
        self.decode: Callable[..., Any] = pipe.vae.decode
        answers = self._kept_values(generator.device)["answers"] if self._state else {}
        self._answers: dict[str, Any] = answers

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Walk inside the block: the scheduler and the networks are watched."""
        scheduler = self.pipe.scheduler
        with ExitStack() as undo:
            undo.enter_context(_replaced(scheduler, "step", self._step(scheduler.step)))
            for name in DENOISERS:
                if (network := getattr(self.pipe, name, None)) is not None:
                    forward = self._forward(name, network.forward)
                    undo.enter_context(_replaced(network, "forward", forward))
            undo.enter_context(_replaced(self.pipe.vae, "decode", _reached))
            yield

    def _step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.last = None
            found = step(*args, **kwargs)
            self.done += 1
            if self.done < self.resumed:
                return found
            if self.done == self.resumed:
                found = self._put_back(found)
            else:
                self._keep(found)
            self.last = args, kwargs, found
            self._told(self.done, len(self.pipe.scheduler.timesteps), self.done == self.resumed)
            if self._stop():
                if self.kept:
                    self.kept.settle()
                raise StoppedError
            if self.done == self._until:
                raise Drafted
            return found

        # pipelines give a scheduler the generator by its signature
        watched.__signature__ = inspect.signature(step)  # pyright: ignore[reportFunctionMemberAccess]
        return watched

    def _forward(self, name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            if self.done < self.resumed and name in self._answers:
                return _zeros(self._answers[name], _where(args, kwargs))
            self.calls += 1
            found = forward(*args, **kwargs)
            self._answers[name] = _shape(found)
            return found

        # pipelines and hooks look at the signature of a network
        watched.__signature__ = inspect.signature(forward)  # pyright: ignore[reportFunctionMemberAccess]
        return watched

    def _keep(self, found: Any) -> None:
        if self.kept is None:
            return
        state = {
            "step": self.done,
            "latents": _previous(found),
            "scheduler": _values(self.pipe.scheduler),
            "generator": self.generator.get_state(),
            "answers": self._answers,
            "beside": list(found[1:]) if self._taken_back else [],
        }
        try:
            self.kept.keep(state)
        except UnkeepableError:
            self.kept = None

    def _kept_values(self, device: torch.device) -> dict[str, Any]:
        assert self._state is not None
        return full(*self._state, device)

    def _put_back(self, found: Any) -> Any:
        """What the scheduler returned when this step was kept, with all else as it was then."""
        old = _previous(found)
        kept = self._kept_values(old.device)
        vars(self.pipe.scheduler).update(kept["scheduler"])
        self.generator.set_state(kept["generator"])
        latents = kept["latents"].to(old.device, old.dtype)
        if isinstance(found, tuple):
            return (latents, *(kept.get("beside") or found[1:]))
        found.prev_sample = latents
        return found


def _reached(*args: Any, **kwargs: Any) -> Any:
    raise Decoding(*args, **kwargs)


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give one object another method of that name for the block."""
    own = vars(owner).get(name)
    object.__setattr__(owner, name, value)
    try:
        yield
    finally:
        if own is None:
            object.__delattr__(owner, name)
        else:
            object.__setattr__(owner, name, own)


def _values(scheduler: Any) -> dict[str, Any]:
    """What a scheduler holds beyond its config."""
    return {
        name: value
        for name, value in vars(scheduler).items()
        if name != "step" and not name.startswith("_internal") and not callable(value)
    }


def _previous(found: Any) -> torch.Tensor:
    return found[0] if isinstance(found, tuple) else found.prev_sample


def _shape(found: Any) -> dict[str, Any]:
    """How a network answers, as plain values."""
    tensor = found[0]
    kind = "" if isinstance(found, tuple) else type(found).__name__
    return {"shape": list(tensor.shape), "dtype": str(tensor.dtype)[6:], "kind": kind}


def _zeros(said: Mapping[str, Any], like: torch.Tensor | None) -> Any:
    from diffusers.models import modeling_outputs

    dtype = getattr(torch, said["dtype"])
    zeros = torch.zeros(
        said["shape"], dtype=dtype, device=like.device if like is not None else None
    )
    return getattr(modeling_outputs, said["kind"])(zeros) if said["kind"] else (zeros,)


def _where(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.Tensor | None:
    given = (*args, *kwargs.values())
    return next((value for value in given if isinstance(value, torch.Tensor)), None)
