"""Control files beside models: a branch for edges or maps, or an adapter for a reference.

``control.safetensors`` holds either under the names of its own weights; its header says how many
channels the control has, what it shows, and beside which model's weights it was learned; of a
reference, its size too, and whether the model's layout network alone is shown it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from core.models.files import WEIGHTS, read_record
from core.networks.control import ControlBranch
from core.networks.reference import ReferenceAdapter
from core.networks.unet import SpatioTemporalUNet
from core.records import sha256_file
from core.refusal import Refusal
from core.tensors import Triple

CONTROL = "control.safetensors"
LARGEST = 512  # number of channels and voxels a side that a file may tell
LAYOUTS = "layouts"
"""The network inside of a model's that draws where things are, and what they look like."""
Learned = ControlBranch | ReferenceAdapter


@dataclass(frozen=True)
class Control:
    """A control file and how strongly it counts.

    Attributes:
        path: Of the file.
        scale: 1 as it was learned.
        digest: SHA-256 of the file when it was asked for.
        channels: Of the control.
        shows: What that is, such as ``edges``.
        base: SHA-256 of the weights that it was learned beside.
        base_name: Their model's name.
        size: D, H, W of a reference; empty for what is of the sample's own size.
        part: The network inside of the model's that it stands at; empty for the model's own.

    >>> Control("x.safetensors", 0.5, "ab", 1, "edges", "cd", "scenes-64").told()
    {'control': {'sha256': 'ab', 'scale': 0.5, 'shows': 'edges'}}
    """

    path: str
    scale: float
    digest: str
    channels: int
    shows: str
    base: str
    base_name: str
    size: tuple[int, ...] = ()
    part: str = ""

    @classmethod
    def of(cls, path: str | Path, scale: float = 1.0) -> Control:
        """A file as it is now.

        Raises:
            Refusal: It is no control file, or the scale is no number.
        """
        path = Path(path).expanduser()
        if not path.is_file() or path.suffix != ".safetensors":
            raise Refusal(
                f"control={path}: there is no such file of safetensors: a control is read by one "
                f"that was trained for it; name the {CONTROL} that training wrote."
            )
        if not isfinite(scale):
            raise Refusal(
                f"control={path} with the scale {scale}: a scale is a number, 1 for the control "
                "as it was learned; name one."
            )
        try:
            with safe_open(path, "np") as file:
                said = file.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise Refusal(
                f"control={path} cannot be read ({error}): a control is a whole file of "
                "safetensors; copy it again."
            ) from error
        size, part = said.get("size", "").split(), said.get("part", "")
        told = [said.get("channels", ""), *size]
        known = all(map(str.isdecimal, told)) and {"shows", "base"} <= said.keys()
        known = known and all(0 < int(number) <= LARGEST for number in told)
        if not (known and len(size) in (0, 3) and part in {"", LAYOUTS}):
            raise Refusal(
                f"control={path} says nothing of a control: such a file tells its channels, what "
                f"it shows and its base; name the {CONTROL} that `lamina train --control` wrote."
            )
        digest, name = sha256_file(path), said.get("base_name", "another model")
        numbers, sides = int(said["channels"]), tuple(map(int, size))
        of = said["shows"], said["base"], name
        return cls(str(path), scale, digest, numbers, *of, sides, part)

    def told(self) -> dict[str, Any]:
        """What records say of it; all that decides what it does."""
        return {"control": {"sha256": self.digest, "scale": self.scale, "shows": self.shows}}


LED = {"video": "clips", "mri": "heads"}


def named(path: str, scale: float, shows: tuple[str, ...], kind: str) -> Control | None:
    """The control file that a request names; None where it names none.

    Args:
        path: Of the file; empty for none.
        scale: 1 as it was learned.
        shows: What it may be shown.
        kind: Of model, ``video`` or ``mri``.

    Raises:
        Refusal: It is no control file, or is shown something else.
    """
    if not path:
        return None
    control = Control.of(path, scale)
    if control.shows not in shows:
        raise Refusal(
            f"control={path} is shown {control.shows}: {LED[kind]} are led by the "
            f"{' or the '.join(shows)} of another image; name a file that `lamina train {kind} "
            f"--control {shows[0]}` wrote."
        )
    return control


def check(control: Control, folder: Path) -> None:
    """Refuse a control that was not learned beside a model's weights.

    Raises:
        Refusal: It was learned beside others.
    """
    if control.base != read_record(folder)["sha256"][WEIGHTS]:
        raise Refusal(
            f"control={control.path} was learned beside {control.base_name} "
            f"({control.base[:12]}), not {folder.name}: a branch belongs to the weights it was "
            "learned beside; name that model, or train one for this."
        )


def take(network: torch.nn.Module, control: Control) -> None:
    """Give a network the branch, in its own precision and on its device; in place.

    Raises:
        Refusal: The file is not what it was, or its branch is of another width or kind.
    """
    base = getattr(network, control.part) if control.part else network
    if not isinstance(base, SpatioTemporalUNet):
        raise Refusal(
            f"control={control.path} for a {type(base).__name__}: branches are copies of a "
            "SpatioTemporalUNet's way down; name a model of that class."
        )
    if sha256_file(Path(control.path)) != control.digest:
        raise Refusal(
            f"control={control.path} is not what it was when it was asked for: a file must stay "
            "as it is until the work is done; give the command again."
        )
    branch, tensors = _new(base, control), load_file(control.path)
    expected = {name: tuple(weights.shape) for name, weights in branch.state_dict().items()}
    found = {name: tuple(weights.shape) for name, weights in tensors.items()}
    if odd := sorted(dict(expected.items() ^ found.items())):
        raise Refusal(
            f"control={control.path} differs from the network in {odd[0]} and "
            f"{len(odd) - 1} more: what is learned beside a network has its width and depth; "
            f"name {control.base_name}, beside which it was learned."
        )
    if any(not bool(weights.isfinite().all()) for weights in tensors.values()):
        raise Refusal(
            f"control={control.path} holds numbers that are not finite: with them every answer "
            "would be none; train it again, or take an earlier file."
        )
    branch.load_state_dict(tensors)
    branch.scale = control.scale
    branch = branch.to(base.device, base.dtype).eval().requires_grad_(False)
    setattr(base, _place(branch), branch)


def _new(base: SpatioTemporalUNet, control: Control) -> Learned:
    if not control.size:
        return ControlBranch(base, control.channels)
    return ReferenceAdapter(base, control.channels, cast("Triple", control.size))


def _place(branch: Learned) -> str:
    return "reference" if isinstance(branch, ReferenceAdapter) else "control"


def taken_off(network: torch.nn.Module) -> tuple[Learned, str] | None:
    """What was learned beside a network, and at which part of it, which is then without; or None.

    Args:
        network: Changed in place.
    """
    for part in ("", LAYOUTS):
        base = getattr(network, part, None) if part else network
        for place in ("control", "reference"):
            branch = getattr(base, place, None)
            if isinstance(branch, Learned):
                setattr(base, place, None)
                return branch, part
    return None


def files_of(
    branch: Learned, *, shows: str, base: str, record: Mapping[str, Any], part: str = ""
) -> dict[str, bytes]:
    """The file of what was learned, by its name.

    Args:
        branch: With averaged weights.
        shows: What the control is, such as ``edges``.
        base: Name of the model it was learned beside.
        record: Of that model.
        part: The network inside of the model's that it stands at; empty for the model's own.
    """
    tensors = {
        name: weights.detach().to("cpu", torch.bfloat16).contiguous()
        for name, weights in branch.state_dict().items()
    }
    said = {
        "channels": str(branch.channels),
        "shows": shows,
        "base": record["sha256"][WEIGHTS],
        "base_name": base,
        "part": part,
    }
    if isinstance(branch, ReferenceAdapter):
        said["size"] = " ".join(map(str, branch.size))
    return {CONTROL: save(tensors, said)}
