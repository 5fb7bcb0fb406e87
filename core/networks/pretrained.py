"""How networks are loaded and saved as diffusers does it, from our own model folders, too.

diffusers looks for ``diffusion_pytorch_model.safetensors``; a model folder of ours holds
``weights.safetensors`` and a record of its digests. Weights are read from folders on disk and
from safetensors alone: nothing is fetched, and nothing is unpickled.
"""

import json
import os
from collections.abc import Mapping, Sequence
from functools import cache, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from diffusers import ConfigMixin, ModelMixin
from diffusers.utils.constants import SAFETENSORS_WEIGHTS_NAME

from core.models.files import CONFIG, RECORD, WEIGHTS, check_digests, read_record
from core.networks.network import Network
from core.refusal import Refusal

LOCAL = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
Kept = TypeVar("Kept", bound="DiffusersNetwork")


class DiffusersNetwork(ModelMixin, ConfigMixin):
    """What diffusers adds to a network of ours; ``twin_of`` puts the two together.

    >>> from tempfile import TemporaryDirectory
    >>> from core.networks.unet import SpatioTemporalUNet
    >>> with TemporaryDirectory() as folder:
    ...     SpatioTemporalUNet(block_out_channels=(8,), down_strides=()).save_pretrained(folder)
    ...     SpatioTemporalUNet.from_pretrained(folder).config.in_channels
    3
    """

    @classmethod
    def from_pretrained(
        cls: type[Kept], pretrained_model_name_or_path: str | os.PathLike | None, **kwargs: Any
    ) -> Kept:
        """The network in a folder, in evaluation mode.

        Args:
            pretrained_model_name_or_path: A folder that ``save_pretrained`` wrote, or a model
                folder of ours, whose digests are verified first.
            **kwargs: Those of diffusers, such as ``torch_dtype``, ``device_map`` and
                ``subfolder``; float32 without a ``torch_dtype``.

        Raises:
            Refusal: There is no such folder, or it holds the weights of another network.
            Trouble: It holds other bytes than its record says.
        """
        named = pretrained_model_name_or_path
        folder = Path(named or "", kwargs.get("subfolder") or "")
        if named is None or not folder.is_dir():
            raise Refusal(
                f"{named}: networks are loaded from folders on this machine, and this is none; "
                "name one that training or save_pretrained wrote."
            )
        _refuse_pickles(kwargs.get("use_safetensors"), "use_safetensors")
        kwargs |= LOCAL
        if (folder / SAFETENSORS_WEIGHTS_NAME).exists() or not (folder / WEIGHTS).is_file():
            found: Any = super().from_pretrained(named, **kwargs)
            return _whole(named, *found)
        if (folder / RECORD).is_file():
            check_digests(folder, read_record(folder))
        kwargs.pop("subfolder", None)
        with TemporaryDirectory() as linked:  # the same files under the names of diffusers
            Path(linked, CONFIG).symlink_to((folder / CONFIG).resolve())
            Path(linked, SAFETENSORS_WEIGHTS_NAME).symlink_to((folder / WEIGHTS).resolve())
            found = super().from_pretrained(linked, **kwargs)
        return _whole(named, *found)

    def to_json_string(self) -> str:
        """The config as ``config.json`` holds it, without the folder it was once read from."""
        config = json.loads(super().to_json_string())
        config.pop("_name_or_path", None)
        return json.dumps(config, indent=2, sort_keys=True) + "\n"

    def save_pretrained(
        self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any
    ) -> None:
        """Write ``config.json`` and the weights as diffusers does, as safetensors alone."""
        _refuse_pickles(kwargs.get("safe_serialization"), "safe_serialization")
        super().save_pretrained(save_directory, *args, **kwargs)


@cache
def twin_of(kind: type[Network]) -> Any:
    """The class of that name that is both a network of ours and a ``ModelMixin``.

    What the network says of itself, such as whether it can be checkpointed, goes before what
    diffusers assumes.
    """

    @wraps(kind.__init__)
    def init(self: Network, *args: Any, **kwargs: Any) -> None:
        kind.__init__(self, *args, **kwargs)

    ours = [base for base in kind.__mro__[::-1] if issubclass(base, Network) and base != Network]
    said = {name: value for base in ours for name, value in vars(base).items()}
    own = {name: value for name, value in said.items() if hasattr(ModelMixin, name)}
    spaces = {"__init__": init, "__module__": kind.__module__, "__doc__": kind.__doc__}
    return type(kind.__name__, (DiffusersNetwork, kind), own | spaces)


def as_diffusers(network: Network) -> Any:
    """A network as one that diffusers knows; the two are made of the same layers.

    >>> from core.networks.unet import SpatioTemporalUNet
    >>> isinstance(as_diffusers(SpatioTemporalUNet()), ModelMixin)
    True
    """
    if isinstance(network, ModelMixin):
        return network
    kind = twin_of(type(network))
    twin = kind.__new__(kind)
    twin.__dict__.update(network.__dict__)
    twin.register_to_config(**network.config)
    return twin


def _whole(named: str | os.PathLike, network: Kept, loaded: Mapping[str, Sequence[str]]) -> Kept:
    """The network, if the weights were its own; diffusers only warns, and makes up what lacks."""
    amiss = {kind: list(names)[:3] for kind, names in loaded.items() if names}
    if amiss:
        raise Refusal(
            f"{named}: the weights are not those of the network that {CONFIG} describes "
            f"({amiss}): the two belong together; copy the folder again."
        )
    network.register_to_config(_name_or_path=str(named))
    return network


def _refuse_pickles(wish: bool | None, name: str) -> None:
    if wish is False:
        raise Refusal(
            f"{name}=False: weights are safetensors here, never pickles; leave {name} out."
        )
