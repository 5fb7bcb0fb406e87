"""What every network here has: the settings it was built with, a device, a folder to live in.

diffusers takes two seconds to import, and a network needs none of it to compute. Loading and
saving as diffusers does it is in ``core.networks.pretrained``, which is imported when asked for.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Built = TypeVar("Built", bound="Network")


class Settings(dict[str, Any]):
    """What a network was built with; read by name or as attributes, and never changed in place.

    >>> Settings(channels=3).channels
    3
    """

    def __getattr__(self, name: str) -> Any:
        """The setting of that name."""
        if name not in self:
            raise AttributeError(f"there is no setting {name!r}; there are {', '.join(self)}")
        return self[name]

    def __setitem__(self, name: str, value: Any) -> None:
        """Refused: a network stays what it was built as."""
        raise TypeError(f"{name} is set by register_to_config, which makes a copy")

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        """How it is copied and sent to other processes: as a whole."""
        return Settings, (dict(self),)


def keeps_settings(init: Callable[..., None]) -> Callable[..., None]:
    """Have an ``__init__`` register its arguments, defaults included, before it runs."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def with_settings(self: Network, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        _, *names = given.arguments
        self.register_to_config(**{name: given.arguments[name] for name in names})
        init(self, *args, **kwargs)

    return with_settings


class Network(nn.Module):
    """A module with settings, as diffusers has them in ``config``, and without diffusers.

    A class made from it decorates its ``__init__`` with ``keeps_settings``.

    >>> class Gain(Network):
    ...     @keeps_settings
    ...     def __init__(self, gain: float = 2.0) -> None:
    ...         super().__init__()
    ...         self.weight = nn.Parameter(torch.tensor(gain))
    >>> Gain.from_config({"gain": 3.0}).config.gain
    3.0
    """

    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable[..., Any] | None = None

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings it was built with."""
        return self._settings

    def register_to_config(self, **settings: Any) -> None:
        """Note settings, in place of those of the same name."""
        self._settings = Settings({**self.__dict__.get("_settings", {}), **settings})

    @classmethod
    def from_config(cls: type[Built], config: Mapping[str, Any]) -> Built:
        """A network of these settings, with random weights; those it does not know are kept."""
        known = inspect.signature(cls.__init__).parameters
        own = {name: value for name, value in config.items() if name in known}
        made = cls(**own)
        made.register_to_config(**{name: config[name] for name in config if name not in own})
        return made

    @property
    def dtype(self) -> torch.dtype:
        """Of its floating-point weights."""
        return next(p.dtype for p in self.parameters() if p.is_floating_point())

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return next(self.parameters()).device

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether blocks are computed twice."""
        return self.gradient_checkpointing

    def enable_gradient_checkpointing(self) -> None:
        """Compute blocks twice in training and keep less of them in between."""
        self.gradient_checkpointing = True

    def disable_gradient_checkpointing(self) -> None:
        """Compute blocks once again."""
        self.gradient_checkpointing = False

    def run(self, block: nn.Module, *inputs: Any) -> Tensor:
        """A block's answer, checkpointed in training where that was enabled."""
        if not (torch.is_grad_enabled() and self.gradient_checkpointing):
            return block(*inputs)
        if self._gradient_checkpointing_func is not None:  # another of diffusers' choosing
            return self._gradient_checkpointing_func(block, *inputs)
        return checkpoint(block, *inputs, use_reentrant=False)

    def to_json_string(self) -> str:
        """The settings as ``config.json`` holds them; of diffusers' own form."""
        named = {"_class_name": type(self).__name__, "_diffusers_version": version("diffusers")}
        own = {name: value for name, value in self.config.items() if name != "_name_or_path"}
        return json.dumps(named | own, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_pretrained(
        cls: type[Built],
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        **kwargs: Any,
    ) -> Built:
        """The network in a folder, in evaluation mode, and a ``ModelMixin`` of diffusers, too.

        Args:
            pretrained_model_name_or_path: A folder that ``save_pretrained`` wrote, or a model
                folder of ours, whose digests are verified first.
            **kwargs: Those of diffusers, such as ``torch_dtype``, ``device_map`` and
                ``subfolder``; float32 without a ``torch_dtype``.

        Raises:
            Refusal: There is no such folder, or it holds the weights of another network.
            Trouble: It holds other bytes than its record says.
        """
        from core.networks.pretrained import twin_of

        return twin_of(cls).from_pretrained(pretrained_model_name_or_path, **kwargs)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> None:
        """Write ``config.json`` and the weights as diffusers does, as safetensors alone."""
        from core.networks.pretrained import as_diffusers

        as_diffusers(self).save_pretrained(save_directory, *args, **kwargs)
