"""The contract of what draws clips: our own model, a folder of diffusers, a server, a filter.

An ``Engine`` is known before it is loaded: what it can, what it takes, what a clip costs; a
``Loaded`` one draws. Nothing here knows torch, so that a request is refused at once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from core.operations.operation import Cost, Model, ModelSource, OnStep
from core.refusal import Refusal
from video.engines.rules import Rules
from video.request import VideoRequest

if TYPE_CHECKING:
    from video.engines.canvas import Canvas
    from video.engines.pictures import Given
    from video.files.clip import Clip

Ability = Literal[
    "text", "image", "last", "key", "clip", "mask", "strength", "negative", "guidance", "several",
    "lora", "resume", "decode_apart",
]  # fmt: skip
Abilities = frozenset[Ability]
Stop = Callable[[], bool]


@dataclass(frozen=True)
class Latents:
    """What denoising leaves for decoding.

    Attributes:
        values: What the engine's decoder takes.
        facts: What the record says of how they came about.
        pictures: Frames that are given, by the request's field.
    """

    values: Any
    facts: dict[str, Any]
    pictures: "Mapping[str, Given]" = field(default_factory=dict)


@runtime_checkable
class Engine(ModelSource, Protocol):
    """What draws clips, before it is loaded.

    Attributes:
        kind: ``own``, ``diffusers``, ``server`` or ``filter``.
    """

    @property
    def kind(self) -> str:
        """See above."""
        ...

    @property
    def abilities(self) -> Abilities:
        """What of a request it can."""
        ...

    @property
    def rules(self) -> Rules:
        """What it takes."""
        ...

    def settled(self, request: VideoRequest) -> VideoRequest:
        """The request with what the engine usually takes wherever it was left at 0."""
        ...

    def check(self, request: VideoRequest) -> None:
        """Refuse what it does not take; no weights are read.

        Raises:
            Refusal: With the nearest lawful values.
        """
        ...

    def needs(self, request: VideoRequest) -> Cost:
        """Seconds and memory, from sizes alone."""
        ...

    def forget(self, request: VideoRequest, canvas: "Canvas | None" = None) -> None:
        """Remove what was kept of a clip under way, as its file stands.

        Args:
            request: Settled.
            canvas: That it was drawn on; None for a clip of its own.
        """
        ...

    def key(self, request: VideoRequest, canvas: "Canvas | None" = None) -> dict[str, Any]:
        """What makes a clip: what is kept of one under way stands under its digest."""
        ...

    def goes_on(self, request: VideoRequest) -> bool:
        """Whether a clip's first steps can be shown, and be gone on from."""
        ...

    def check_change(self, request: VideoRequest) -> None:
        """Refuse the size of a clip that is to be changed; its own frames are looked at before.

        Args:
            request: Settled, of the clip's size.

        Raises:
            Refusal: With the nearest lawful values.
        """
        ...

    def ready(self, model: Model) -> "Loaded":
        """What ``load`` gave, ready to draw."""
        ...

    def encode(self, request: VideoRequest) -> Any:
        """What drawing needs beyond the request and can be had without the engine's weights."""
        ...


@runtime_checkable
class Loaded(Protocol):
    """An engine with its weights in memory."""

    def denoise(
        self, request: VideoRequest, prepared: Any, on_step: OnStep, stop: Stop
    ) -> Latents:
        """Walk the noise down, from a kept state where there is one.

        Args:
            request: Settled and checked.
            prepared: What ``encode`` gave.
            on_step: Told of each step.
            stop: Asked after each step whether to end.

        Raises:
            StoppedError: ``stop`` said so; what is done is kept where the engine can.
        """
        ...

    def decode(self, request: VideoRequest, latents: Latents) -> "Clip":
        """The frames, in tiles where memory does not do otherwise; may be called again."""
        ...

    def complete(self, request: VideoRequest, canvas: "Canvas", on_step: OnStep) -> "Clip":
        """All frames of a canvas; what is given is put back by who asked.

        Args:
            request: Settled and checked; its prompt may be empty for our own model alone.
            canvas: What is there already.
            on_step: Told of each step.
        """
        ...

    def close(self) -> None:
        """Free the memory, and put back what was set for the whole process."""
        ...


class StoppedError(Exception):
    """Drawing was ended by whoever asked for it."""


def never() -> bool:
    """Never stop."""
    return False


Able = Callable[[Ability], Sequence[str]]


def refuse_inability(
    name: str,
    abilities: Abilities,
    asked: Mapping[str, Ability],
    able: Able = lambda _: (),
) -> None:
    """Refuse what an engine cannot.

    Args:
        name: Of the engine.
        abilities: What it can.
        asked: Fields that were given, and what each wants.
        able: Engines here that can.

    Raises:
        Refusal: With the first that it cannot, and which engines here can.
    """
    for given, ability in asked.items():
        if ability not in abilities:
            raise Refusal(
                f"{given}: the engine {name} knows no {ability}: it can do "
                f"{', '.join(sorted(abilities))}; leave {given} out or name "
                f"{' or '.join(able(ability)) or 'another engine'}."
            )


def refuse_to_change(
    engine: Engine,
    operation: str,
    abilities: tuple[Ability, ...],
    able: Able = lambda _: (),
) -> None:
    """Refuse to change clips by an engine that has none of the abilities it takes.

    Args:
        engine: That was named.
        operation: What is asked.
        abilities: Of engines beside our own model, of which one does; none where those are asked
            for no such thing here, whatever they can.
        able: Engines here that can.

    Raises:
        Refusal: With what it can.
    """
    if engine.kind == "own" or engine.abilities & {*abilities}:
        return
    rule = (
        f"it takes {' or '.join(abilities)}" if abilities else "our own model alone does so here"
    )
    here = dict.fromkeys(name for ability in abilities for name in able(ability))
    which = " or ".join(here) or "one of which `lamina engines show` says so"
    other = f", or name {which}" if abilities else ""
    raise Refusal(
        f"{operation} by the engine {engine.name}: {rule}, and this one can do "
        f"{', '.join(sorted(engine.abilities))}; leave engine out for our own model{other}."
    )
