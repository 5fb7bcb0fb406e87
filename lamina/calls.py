"""One result from one call: the model is found, loaded and asked, and nothing is written."""

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from core.memory import check_memory
from core.models.adapters import Lora
from core.models.checkpoints import find_folder
from core.models.controls import Control
from core.models.installed import load_folder
from core.numerics import allows_gpu
from core.operations.operation import Model, OnStep, Operation
from core.refusal import Refusal
from lamina.operations import OPERATIONS
from medical.anatomy import whole_heads
from medical.files.volume import Volume
from medical.operations.super_resolve_mri import SuperResolveMRI
from medical.request import SuperResolutionRequest
from video.engines.controlled import check_control
from video.engines.served_prompts import serve
from video.request import VideoRequest

if TYPE_CHECKING:
    from medical.operations.restoration import Restoration
    from video.files.clip import Clip

logger = logging.getLogger(__name__)

IN_MEMORY = "(in memory)"
Named = str | os.PathLike[str]


def load(
    model: Named,
    *,
    loras: Mapping[str, float] | None = None,
    control: Control | None = None,
    device: torch.device | str | None = None,
) -> Model:
    """A model, its bytes held against its record, ready to be asked many times.

    >>> import lamina
    >>> model = lamina.load("scenes-64")
    >>> clip = lamina.generate("a green square stands still", model=model, steps=1, num_frames=2)

    Args:
        model: Name of an installed model, or a model folder.
        loras: LoRA files that are merged into it, each with its scale; several add up.
        control: A branch that stands beside it, ``core.models.controls.Control.of(FILE)``.
        device: That draws; by default a GPU where there is one.

    Raises:
        Refusal: There is no such model, it holds other bytes than its record says, or a LoRA file
            belongs to another one.
    """
    folder = find_folder(model)
    adapters = [Lora.of(path, scale) for path, scale in (loras or {}).items()]
    loaded = load_folder(folder, _device(device), *adapters, control=control)
    told = [adapter.told()["lora"] for adapter in adapters]
    beside = {} if control is None else control.told()
    return Model(loaded.network, loaded.record | ({"loras": told} if told else {}) | beside)


def generate(
    prompt: str,
    *,
    model: Named | Model = "scenes-64",
    device: torch.device | str | None = None,
    on_step: OnStep | None = None,
    strict: bool = False,
    **fields: Any,
) -> "Clip":
    """A clip of what the prompt says.

    Args:
        prompt: What the clip should show, in one sentence; how it was read is logged where slips
            were corrected.
        model: A loaded video model, the name of an installed one, or a model folder.
        device: That draws; by default a GPU where there is one. A loaded model stays where it is.
        on_step: Called after each step with steps done, steps in all, the estimate so far.
        strict: Refuse a prompt of which a word is not understood.
        **fields: Of ``VideoRequest``, such as ``seed``, ``steps`` and ``num_frames``.

    Raises:
        ValueError: A field is not one that may be asked for.
        Refusal: There is no such model, or it cannot do what was asked.
    """
    operation = OPERATIONS["text_to_video"]
    loaded = _loaded(operation, model, device, fields)
    asked = VideoRequest(prompt=prompt, model=loaded.record["name"], **fields)
    _check_led(asked, loaded)
    request = understood(asked, loaded.record, strict=strict)
    return operation.draw(request, operation.prepare(request), loaded, on_step or _ignore)


def _check_led(request: VideoRequest, model: Model) -> None:
    """Refuse what a control is shown without one, a control without it, and the wrong one."""
    shows = model.record.get("control", {}).get("shows", "")
    if not (shows or request.control_clip or request.reference):
        return
    at_layouts = getattr(getattr(model.network, "layouts", None), "reference", None)
    check_control(request, shows, of_layouts=at_layouts is not None)


def understood(
    request: VideoRequest, record: Mapping[str, Any], *, strict: bool = False
) -> VideoRequest:
    """The request with its prompt as a model reads it; what was corrected is logged.

    Args:
        request: As it came.
        record: Of the model.
        strict: Refuse a prompt of which a word is not understood.

    Raises:
        Refusal: The model cannot show what is asked.
    """
    reading = serve(request, record, strict=strict)
    for line in reading.remarks:
        logger.warning("%s", line)
    return reading.request


def super_resolve(
    scan: "Named | Volume",
    *,
    model: Named | Model = "heads-1mm",
    device: torch.device | str | None = None,
    on_step: OnStep | None = None,
    **fields: Any,
) -> "Restoration":
    """A finer volume from a thick-slice scan, with maps of how sure it is.

    What the scan showed and what was assumed of it is logged, and stands in its ``remarks``.

    Args:
        scan: A NIfTI file, or its voxels and grid.
        model: A loaded MRI model, the name of an installed one, or a model folder.
        device: That draws; by default a GPU where there is one. A loaded model stays where it is.
        on_step: Called after each step with steps done, steps in all, the estimate so far.
        **fields: Of ``SuperResolutionRequest``, such as ``spacing_mm``, ``samples`` and ``seed``.

    Raises:
        ValueError: A field is not one that may be asked for.
        Refusal: There is no such model, or the scan cannot be restored as asked.
    """
    operation = OPERATIONS["super_resolve_mri"]
    loaded = _loaded(operation, model, device, fields)
    named = IN_MEMORY if isinstance(scan, Volume) else os.fspath(scan)
    request = SuperResolutionRequest(scan=named, model=loaded.record["name"], **fields)
    alone = {} if request.control else {"control_scan": ""}  # of a branch that is loaded already
    asked = request.model_copy(update=alone) if "control" in loaded.record else request
    check_room(scan, asked)
    prepared = scan if isinstance(scan, Volume) else operation.prepare(asked)
    return told(operation.draw(request, prepared, loaded, on_step or _ignore))


def check_room(scan: "Named | Volume", request: SuperResolutionRequest) -> None:
    """Refuse a finer grid that there is no memory for, before it is made.

    Args:
        scan: What is to be restored.
        request: How.

    Raises:
        Refusal: With the numbers.
    """
    operation = SuperResolveMRI()
    if isinstance(scan, Volume):
        cost = operation.cost_of(scan.shape, scan.spacing_mm, request)
    else:
        cost = operation.cost(request)
    check_memory(cost.memory_gb)


def told(restored: "Restoration") -> "Restoration":
    """The restoration; what the scan showed and what was assumed of it is logged.

    Args:
        restored: As it was made.
    """
    for line in restored.remarks:
        logger.warning("%s", line)
    return restored


def _loaded(
    operation: Operation[Any, Any, Any],
    model: Named | Model,
    device: torch.device | str | None,
    fields: Mapping[str, Any],
) -> Model:
    lora = fields.get("lora")
    if not isinstance(model, Model):
        folder = find_folder(model, operation.kind)
        scaled = {lora: fields.get("lora_scale", 1.0)} if lora else {}
        return load(folder, loras=scaled, control=_control(fields), device=device)
    if fields.get("control_scale", 1.0) != 1.0:
        raise Refusal(
            f"control_scale={fields['control_scale']}: this model is loaded already, with its "
            "control as strong as it was loaded; give Control.of(FILE, scale) of "
            "core.models.controls to lamina.load as control."
        )
    if fields.get("control"):
        raise Refusal(
            f"control={fields['control']}: this model is loaded already, and a control file is "
            "taken while one is loaded; give Control.of(FILE) of core.models.controls to "
            "lamina.load as control, and control_scan, control_clip or reference alone here."
        )
    if lora:
        raise Refusal(
            f"lora={lora}: this model is loaded already, and a LoRA file is merged while one is "
            "loaded; give it to lamina.load as loras."
        )
    kind = model.record["kind"]
    if kind != operation.kind:
        raise Refusal(
            f"model={model.record['name']!r} is of kind {kind}: {operation.name} needs one of "
            f"{operation.kind}; load another."
        )
    return model


def _control(fields: Mapping[str, Any]) -> Control | None:
    if not fields.get("control"):
        return None
    return Control.of(fields["control"], fields.get("control_scale", 1.0))


def _device(wish: torch.device | str | None) -> torch.device:
    allowed = allows_gpu(str(wish or "auto"))
    return torch.device(wish or ("cuda" if allowed and torch.cuda.is_available() else "cpu"))


def _ignore(done: int, total: int, estimate: object) -> None:
    """Nobody watches."""


def draw_head(model: Named, seed: int = 0, *, steps: int = 16) -> Volume:
    """A head that nobody has, 160 x 192 x 160 mm at 2 mm, by a model that was trained in latents.

    Args:
        model: Name of an installed model of kind whole-head, as ``lamina train mri --space
            latents`` makes one, or its folder.
        seed: Same seed, same head.
        steps: Of the sampler.

    Raises:
        Refusal: There is no such model.
    """
    network = load_folder(find_folder(model, "whole-head"), _device(None)).network
    return whole_heads.draw_head(network, seed, steps=steps)
