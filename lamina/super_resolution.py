"""``SuperResolutionPipeline``: finer volumes from thick slices, in the manner of diffusers."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from diffusers.utils import BaseOutput

from core.refusal import Refusal
from lamina.calls import check_room, told
from lamina.pipelines import WATCHED, Callback, ModelPipeline
from medical.files.scan import read_scan
from medical.files.volume import Volume
from medical.operations.error_map import shipped_head
from medical.operations.restoration import Restoration
from medical.operations.super_resolve import super_resolve
from medical.request import SuperResolutionRequest

IN_MEMORY = "(in memory)"
Scan = str | os.PathLike[str] | Volume


@dataclass
class SuperResolutionOutput(BaseOutput):
    """What ``SuperResolutionPipeline`` hands back.

    Attributes:
        volume: The mean of all samples, as ``output_type`` says.
        std: How much they differ, likewise.
        restoration: All that is known: both, the consistency map, and the numbers of the record.
        seed: The same seed gives the same volume anywhere.
    """

    volume: Any
    std: Any
    restoration: Restoration
    seed: int


class SuperResolutionPipeline(ModelPipeline):
    """Finer volumes from thick slices; the same as ``lamina mri super-resolve`` of that seed.

    Research software, not for diagnosis: detail that a scan did not hold is made up.

    >>> import numpy as np, torch
    >>> from lamina import SuperResolutionPipeline, Volume
    >>> pipe = SuperResolutionPipeline.from_pretrained("heads-1mm")
    >>> pipe.set_progress_bar_config(disable=True)
    >>> scan = Volume(torch.rand(16, 16, 4), np.diag([1.0, 1.0, 4.0, 1.0]))
    >>> pipe(scan, num_samples=1, num_inference_steps=1).volume.shape
    (16, 16, 16)
    """

    kind: ClassVar[str] = "mri"
    most_seed: ClassVar[int] = 2**31 - 1

    def __call__(  # noqa: PLR0913  the arguments of diffusers' pipelines
        self,
        scan: Scan,
        *,
        num_samples: int | None = None,
        num_inference_steps: int | None = None,
        protect: Scan | None = None,
        generator: torch.Generator | None = None,
        output_type: str = "volume",
        return_dict: bool = True,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = WATCHED,
        **fields: Any,
    ) -> SuperResolutionOutput | tuple[Any, Any]:
        """Restore one scan; what it showed and what was assumed of it is logged.

        Args:
            scan: A NIfTI file, a folder with one DICOM series, or voxels and their grid.
            num_samples: Restorations to draw; what is left out is as ``lamina mri super-resolve``
                has it.
            num_inference_steps: Sampling steps of each.
            protect: A mask; where it is above 0 the result is the scan itself, interpolated.
            generator: One that is fresh from ``manual_seed(7)`` gives the volume of seed 7.
                ``None`` gives another each time.
            output_type: "volume", with its grid; "np" or "pt", the voxels alone, float32.
            return_dict: Whether to hand back all that is known; else a tuple of volume and std.
            callback_on_step_end: Shown pipeline, step, steps left and the estimate so far of what
                back-projection left out; it only watches.
            callback_on_step_end_tensor_inputs: What it is shown: ``["latents"]``, or nothing.
            **fields: Others of ``SuperResolutionRequest``, such as ``spacing_mm``.

        Raises:
            ValueError: A field is not one that may be asked for, or has no such value.
            Refusal: The scan or mask cannot be restored as asked.
        """
        if output_type not in OUTPUTS:
            raise Refusal(
                f"output_type={output_type!r}: volumes come as one of {sorted(OUTPUTS)}; name one."
            )
        asked = {"samples": num_samples, "steps": num_inference_steps}
        fields |= {name: value for name, value in asked.items() if value is not None}
        if fields.get("lora"):
            raise Refusal(
                f"lora={fields['lora']}: a pipeline is loaded already; merge the file into a "
                "model with `lamina models merge`, or ask lamina.super_resolve."
            )
        if fields.get("control") or fields.get("control_scan"):
            raise Refusal(
                f"control={fields.get('control', '')!r} with control_scan="
                f"{fields.get('control_scan', '')!r}: a pipeline is loaded already, and a "
                "control file is taken while a model is loaded; ask lamina.super_resolve."
            )
        if fields.get("adapt_minutes"):
            raise Refusal(
                f"adapt_minutes={fields['adapt_minutes']}: a pipeline keeps the weights that it "
                "was loaded with; ask lamina.super_resolve, whose model learns from the scan."
            )
        (seed,) = self._seeds(generator, 1)
        named = IN_MEMORY if isinstance(scan, Volume) else os.fspath(scan)
        request = SuperResolutionRequest(
            scan=named, seed=seed, model=self.record["name"], **fields
        )
        check_room(scan, request)
        volume, mask = _read(scan), None if protect is None else _read(protect)
        names, walk = callback_on_step_end_tensor_inputs, self._walk(seed)
        with self._watched(callback_on_step_end, names, 1) as on_step:
            restored = super_resolve(
                volume,
                request,
                self.network,
                protect=mask,
                on_step=on_step,
                walk=walk,
                errors=shipped_head(self.record),
            )
        told(restored)
        shown, std = map(OUTPUTS[output_type], (restored.mean, restored.std))
        found = SuperResolutionOutput(shown, std, restored, seed)
        return found if return_dict else (shown, std)


def _read(scan: Scan) -> Volume:
    return scan if isinstance(scan, Volume) else read_scan(os.fspath(scan))


OUTPUTS: dict[str, Callable[[Volume], Any]] = {
    "volume": lambda volume: volume,
    "np": lambda volume: volume.data.numpy(),
    "pt": lambda volume: volume.data,
}
"""By ``output_type``."""
