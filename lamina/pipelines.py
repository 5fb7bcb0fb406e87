"""What the pipelines of diffusers over our models have in common: folders, seeds, callbacks.

A folder is read by its record and written as one that every other part of this program reads,
with ``model_index.json`` beside. Nothing in it is code, and the loader of diffusers, which would
import what a folder names, is never asked.
"""

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import diffusers
import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import Tensor

from core.models.checkpoints import find_folder, load_model, save_model
from core.networks.conditioned import ConditionedNetwork
from core.networks.pretrained import as_diffusers
from core.numerics import allows_gpu
from core.operations.operation import OnStep
from core.progress import counted
from core.refusal import Refusal
from core.sampling.diffusers_bridge import LEVELS, walk_with
from core.sampling.samplers import Walk

INDEX, SCHEDULER, CARD = "model_index.json", "scheduler", "CARD.md"
Callback = Callable[..., Mapping[str, Any] | None]
"""(pipeline, step, steps left, {"latents": estimate so far}) -> the same, or None."""
Generators = torch.Generator | Sequence[torch.Generator] | None
WATCHED = ("latents",)


class ModelPipeline(DiffusionPipeline):
    """A pipeline of diffusers around a model of ours; see those that are made from it.

    Args:
        network: Draws.
        scheduler: Of diffusers, in place of our own sampler; ``None`` for that one.
        record: What is known of the model; ``save_pretrained`` writes it down.
    """

    kind: ClassVar[str]
    most_seed: ClassVar[int]
    _callback_tensor_inputs: ClassVar[list[str]] = list(WATCHED)
    _optional_components: ClassVar[list[str]] = [SCHEDULER]

    def __init__(
        self,
        network: ConditionedNetwork,
        scheduler: SchedulerMixin | None,
        record: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        network = as_diffusers(network)
        self.register_modules(network=network, scheduler=scheduler)
        self.network, self.scheduler = network, scheduler
        self.record = record or {"name": "unnamed", "kind": self.kind}
        self.card = ""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> Self:
        """The pipeline of an installed model or of a model folder.

        Args:
            pretrained_model_name_or_path: Name, or folder; nothing is ever fetched.
            **kwargs: ``torch_dtype``; ``device_map``, a device, or "auto" or "balanced" for a GPU
                where there is one (a model this small lies on one device); ``scheduler``, of
                diffusers, in place of the one that was saved or of our own sampler.

        Raises:
            Refusal: There is no such model, or its bytes are not those of its record.
        """
        folder = find_folder(pretrained_model_name_or_path, cls.kind)
        chosen = _choices(**kwargs)
        network, record = load_model(folder, device=chosen["device"], dtype=chosen["dtype"])
        made = cls(network, chosen["scheduler"] or _saved_scheduler(folder), record)
        made.card = (folder / CARD).read_text("utf-8") if (folder / CARD).is_file() else ""
        return made

    @classmethod
    def from_pipe(cls, pipeline: DiffusionPipeline, **kwargs: Any) -> Self:
        """A second pipeline around the parts of one of this kind, which both then share.

        Args:
            pipeline: Lends its network, its scheduler and its record.
            **kwargs: ``scheduler``, in place of that one's.

        Raises:
            Refusal: The pipeline is of another kind, or other parts are named.
        """
        if not isinstance(pipeline, ModelPipeline) or pipeline.kind != cls.kind:
            raise Refusal(
                f"from_pipe({type(pipeline).__name__}): a {cls.__name__} shares the parts of one "
                f"of its own kind; open the model by {cls.__name__}.from_pretrained."
            )
        if set(kwargs) - {SCHEDULER}:
            raise Refusal(
                f"from_pipe with {sorted(kwargs)}: only another scheduler may be named beside the "
                "pipeline; leave the others out."
            )
        made = cls(pipeline.network, kwargs.get(SCHEDULER, pipeline.scheduler), pipeline.record)
        made.card = pipeline.card
        return made

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> None:
        """Write a model folder that pipelines, networks and commands read; whole, or not at all.

        Args:
            save_directory: Must not exist yet; its name becomes the model's.
            *args: ``safe_serialization``, which may only be true.
            **kwargs: The same by name.
        """
        if args not in {(), (True,)} or kwargs not in ({}, {"safe_serialization": True}):
            raise Refusal(
                f"save_pretrained{args or kwargs}: models are saved in one way, to a folder on "
                "this machine, as safetensors; name the folder alone."
            )
        folder = Path(save_directory)
        if folder.exists():
            raise Refusal(
                f"{folder} exists: a model never replaces another; choose a new name or move it "
                "away."
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as unfinished:
            fresh = Path(unfinished, folder.name)
            record = {**self.record, "name": folder.name}
            save_model(fresh, self.network, record, dtype=_storage(self.network), card=self.card)
            self.register_modules(scheduler=self.scheduler)  # diffusers forgets one set later
            self.save_config(fresh)
            if self.scheduler is not None:
                self.scheduler.save_pretrained(fresh / SCHEDULER)
            os.replace(fresh, folder)

    def _seeds(self, generator: Generators, count: int) -> list[int]:
        """Seeds of so many results, from one generator for all or one for each."""
        if isinstance(generator, Sequence):
            if len(generator) != count:
                raise Refusal(
                    f"generator is a list of {len(generator)} for {counted(count, 'result')}: "
                    "give one for all, or one for each."
                )
            return [self._seed(each) for each in generator]
        return [self._seed(generator) for _ in range(count)]

    def _seed(self, generator: torch.Generator | None) -> int:
        """The number a generator was seeded with, if nothing was drawn yet; else one drawn.

        So ``torch.Generator().manual_seed(7)`` gives what ``seed=7`` gives elsewhere, and a second
        call with the same generator something else, as in diffusers.
        """
        unused: int | None = None
        if generator is not None:
            fresh = torch.Generator(generator.device).manual_seed(generator.initial_seed())
            if torch.equal(fresh.get_state(), generator.get_state()):
                unused = generator.initial_seed()
        device = "cpu" if generator is None else generator.device
        drawn = torch.randint(self.most_seed, (), generator=generator, device=device)
        return int(drawn if unused is None else unused) % (self.most_seed + 1)

    def _walk(self, seed: int) -> Walk | None:
        """The scheduler as a sampler, or ``None`` for our own."""
        if self.scheduler is None:
            return None
        noisy = torch.Generator(self.network.device).manual_seed(seed)
        return walk_with(self.scheduler, generator=noisy)

    @contextmanager
    def _watched(
        self, callback: Callback | None, names: Sequence[str], count: int
    ) -> Iterator[OnStep]:
        """A bar over the steps of so many results, and the callback that a caller gave."""
        if set(names) - set(WATCHED):
            raise Refusal(
                f"callback_on_step_end_tensor_inputs={list(names)}: a callback is shown the "
                f"estimate so far, by the name {WATCHED[0]!r}, and nothing else; leave it out."
            )
        typed: Any = self  # the decorators of diffusers hide the types of its methods
        bar, steps_done = typed.progress_bar(total=count), itertools.count(1)

        def on_step(_: int, steps: int, estimate: Tensor) -> None:
            done, total = next(steps_done), steps * count
            bar.total = total
            bar.update()
            if callback is not None:
                shown = {name: estimate.clone() for name in names}
                _only_watched(callback(self, done - 1, total - done, {**shown}), shown)

        with bar:
            yield on_step


def _only_watched(answer: Mapping[str, Any] | None, shown: Mapping[str, Tensor]) -> None:
    if any(value is not shown.get(name) for name, value in (answer or {}).items()):
        raise Refusal(
            f"callback_on_step_end returned other {sorted(answer or {})} than it was given: a "
            "callback only watches here; return what it was given, or None."
        )


def _choices(
    *,
    torch_dtype: torch.dtype | None = None,
    device_map: str | torch.device | None = None,
    scheduler: SchedulerMixin | None = None,
    use_safetensors: bool = True,
    local_files_only: bool = True,
) -> dict[str, Any]:
    """What of the keywords of diffusers means something here; nothing is fetched or unpickled."""
    if not use_safetensors:
        raise Refusal(
            "use_safetensors=False: weights are safetensors here, never pickles; leave it out."
        )
    if device_map in ("auto", "balanced"):
        device_map = "cuda" if allows_gpu() and torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(device_map or "cpu")
    except (RuntimeError, TypeError) as error:
        raise Refusal(
            f"device_map={device_map!r}: a model this small lies on one device; name that, such "
            'as "cuda", or "auto".'
        ) from error
    return {"dtype": torch_dtype, "device": device, "scheduler": scheduler}


def _saved_scheduler(folder: Path) -> SchedulerMixin | None:
    """The scheduler of diffusers that was saved with a model, if any was."""
    if not (folder / INDEX).is_file():
        return None
    try:
        _, name = json.loads((folder / INDEX).read_text("utf-8"))[SCHEDULER]
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(
            f"{folder / INDEX} names no scheduler: it says what save_pretrained wrote; copy the "
            "folder again."
        ) from error
    if name is None:
        return None
    if name not in LEVELS:
        raise Refusal(
            f"{folder / INDEX} names the scheduler {name}: its noise path is not known here; use "
            f"one of {sorted(LEVELS)}."
        )
    return getattr(diffusers, name).from_pretrained(folder / SCHEDULER, local_files_only=True)


def _storage(network: ConditionedNetwork) -> torch.dtype:
    """bfloat16 where that loses nothing, as with the models we ship; else what the network has."""
    values = network.state_dict().values()
    exact = all(torch.equal(v, v.to(torch.bfloat16).to(v.dtype)) for v in values)
    return torch.bfloat16 if exact else network.dtype
