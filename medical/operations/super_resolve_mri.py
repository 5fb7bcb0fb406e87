"""``super_resolve_mri``: a finer volume from a thick-slice scan, with maps of how sure it is.

Everything heavy is imported where it is needed: forms and commands read this without torch.
"""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.operations.operation import Cost, Facts, Model, ModelSource, OnStep, Paths, Reading
from core.refusal import Refusal
from medical.files.container import scan_name
from medical.request import SuperResolutionRequest

if TYPE_CHECKING:
    from core.models.controls import Control
    from medical.files.volume import Volume
    from medical.operations.restoration import Restoration

# Seconds of one core: FIXED + (ONCE * side + samples * steps * LINEAR) * n, n in millions of
# voxels of the result and side its cube root, as matrices along an axis take. Beside other work an
# Intel Xeon took 4.1 s where this says 3.6 (91 x 109 x 91, 2 samples of 2 steps), 10.7 and 22.5
# where it says 10.5 and 21.1 (180 x 220 x 180, 1 of 1 and 2 of 2), and with the start of the
# process, which takes 5 to 10 s, 39 (256 cubed, 1 of 1: 27), 338 and 361 (512 cubed, 1 and 2 of 1:
# 344 and 411); an AMD EPYC is 1.6 times as fast
FIXED_S, ONCE_S, LINEAR_S = 1.5, 0.4, 0.5
# Measured on an Intel Xeon: 0.67 GB of 0.9 million voxels and 0.90 of 7.1 (2 samples), 0.85 of
# 7.1, 1.02 of 17 and 4.87 of 134 (1 sample; the last two with the check of the files, which takes
# less since), 5.77 of 134 (2 samples, whose mean and spread are two more arrays)
BASE_GB, GB_PER_MILLION, GB_OF_SPREAD = 0.66, 0.03, 0.008
BYTES_ON_DISK = 16.0  # of a voxel's results and unfinished work
RESULT_BYTES = 6.0  # of a voxel: the volume and its uncertainty, packed
LEARNING_GB = 0.5  # beside the rest, while the model learns from the scan
LARGEST_PICTURE = 2_000_000  # bytes


class SuperResolveMRI:
    """A finer volume from a scan; see ``core.operations.operation.Operation``."""

    name = "super_resolve_mri"
    kind = "mri"
    request = SuperResolutionRequest
    endings: tuple[str, ...] = (".nii.gz", ".nii")
    noun = "scan"
    private = True
    draws = True

    def title(self, request: SuperResolutionRequest) -> str:
        """The scan's name."""
        return scan_name(Path(request.scan).name)

    def inputs(self, request: SuperResolutionRequest) -> Paths:
        """The scan, and the mask, the adapter and the control where there are any."""
        beside = ("protect", "lora", "control", "control_scan")
        named = {"scan": request.scan} | {name: getattr(request, name) for name in beside}
        return {role: Path(name) for role, name in named.items() if name}

    def outputs(self, target: Path, request: SuperResolutionRequest | None = None) -> Paths:
        """The volume and its two maps."""
        from medical.operations.restoration import output_paths

        return output_paths(target)

    def read(self, request: SuperResolutionRequest, *, strict: bool = False) -> Reading:
        """As it came, with what the scan shows and what is assumed of it."""
        from medical.files.scan import read_scan
        from medical.operations.edit_mri import header_facts
        from medical.operations.problem import prepare
        from medical.operations.remarks import remarks

        scan = read_scan(request.scan)
        problem = prepare(scan, request)
        facts, said = header_facts(scan)
        return Reading(request, facts, (*said, *remarks(problem, request)))

    def check(self, request: SuperResolutionRequest) -> None:
        """Refuse a scan or mask that is no volume, a mask on another grid, a grid not finer."""
        self.source(request).record()
        self.prepare(request)

    def cost(self, request: SuperResolutionRequest) -> Cost:
        """By the voxels of the restored grid, samples and steps."""
        from medical.files.scan import scan_size

        return self.cost_of(*scan_size(request.scan), request)

    def cost_of(
        self,
        shape: tuple[int, ...],
        spacing: tuple[float, ...],
        request: SuperResolutionRequest,
    ) -> Cost:
        """The same of a scan in memory.

        Args:
            shape: Of the scan, (D, H, W).
            spacing: Of its voxels, in mm.
            request: What is asked.
        """
        finer = [max(1.0, s / w) for s, w in zip(spacing, request.spacing_mm, strict=True)]
        n = math.prod(shape) * math.prod(finer) / 1e6
        once_s = ONCE_S * n ** (1 / 3)
        seconds = FIXED_S + (once_s + request.samples * request.steps * LINEAR_S) * n
        memory_gb, per_million = BASE_GB + GB_PER_MILLION * n, n / 1e3
        memory_gb += GB_OF_SPREAD * n if request.samples > 1 else 0.0
        if request.adapt_minutes:
            seconds += request.steps * LINEAR_S * n + 60 * request.adapt_minutes
            memory_gb += LEARNING_GB
        disk_gb, results_gb = BYTES_ON_DISK * per_million, RESULT_BYTES * per_million
        return Cost(seconds, memory_gb, disk_gb, results_gb)

    def settled(self, request: SuperResolutionRequest) -> SuperResolutionRequest:
        """The request itself."""
        return request

    def source(self, request: SuperResolutionRequest) -> ModelSource:
        """The installed model that is named, with adapter and control where there are any."""
        from core.models.adapters import Lora
        from core.models.installed import Installed

        lora = Lora.of(request.lora, request.lora_scale) if request.lora else None
        return Installed(request.model, self.kind, lora, self._control(request), request.backend)

    def _control(self, request: SuperResolutionRequest) -> "Control | None":
        if not request.control:
            return None
        from core.models.controls import named
        from medical.operations.controlled import CHANNELS

        return named(request.control, request.control_scale, tuple(CHANNELS), self.kind)

    def prepare(self, request: SuperResolutionRequest) -> "Volume":
        """The scan, after refusing it or its mask where they cannot be restored."""
        from medical.acquisition.intensity import refuse_mask
        from medical.files.nifti import read_volume
        from medical.files.scan import read_scan
        from medical.operations.adaptation import check_teaches
        from medical.operations.problem import prepare, protected_voxels

        scan = read_scan(request.scan)
        refuse_mask(scan, request.scan)
        try:
            problem = prepare(scan, request)
            if request.adapt_minutes:
                check_teaches(problem)
        except Refusal as error:
            raise Refusal(f"{request.scan}: {error}") from error
        if request.control or request.control_scan:
            from medical.operations.controlled import control_shown

            control = self._control(request)
            control_shown(request, scan, problem, control.channels if control else 0)
        if request.protect:
            protected_voxels(read_volume(request.protect), scan, problem)
        return scan

    def draw(
        self, request: SuperResolutionRequest, prepared: "Volume", model: Model, on_step: OnStep
    ) -> "Restoration":
        """The restoration: mean, spread and consistency."""
        from medical.operations.adaptation import steps_of
        from medical.operations.error_map import shipped_head
        from medical.operations.super_resolve import super_resolve

        network, taught = model.network, 0
        if request.adapt_minutes:
            taught = steps_of(request.adapt_minutes)
            total = taught + request.samples * request.steps
            learning = partial(_within, on_step, 0, total)
            from medical.training.own_scan import adapted_network

            network = adapted_network(prepared, request, model, learning)
            on_step = partial(_within, on_step, taught, total)
        # the head knows the plain weights' errors
        changed = taught or {"lora", "loras", "control"} & model.record.keys()
        errors = None if changed else shipped_head(model.record)
        return super_resolve(prepared, request, network, on_step=on_step, errors=errors)

    def judge(self, request: SuperResolutionRequest, drawn: "Restoration") -> Facts:
        """Nothing: nobody knows the truth."""
        return {}

    def write(
        self,
        request: SuperResolutionRequest,
        drawn: "Restoration",
        target: Path,
        *,
        overwrite: bool,
    ) -> Paths:
        """Write the volume and its maps."""
        return drawn.write(target, overwrite=overwrite)

    def numbers(self, drawn: "Restoration") -> Facts:
        """How the scan was taken to be made, and how well the result explains it."""
        return dict(drawn.record())

    def verify(self, request: SuperResolutionRequest, paths: Mapping[str, Path]) -> Facts:
        """Hold grid and values of the files against the scan and the request."""
        from medical.files.nifti import read_volume
        from medical.files.scan import read_scan
        from medical.operations.verification import check_restored

        result, std = read_volume(paths["result"]), read_volume(paths["std"])
        protect = read_volume(request.protect) if request.protect else None
        return check_restored(read_scan(request.scan), result, std, request, protect)

    def decoded(self, path: Path) -> dict[str, NDArray[np.generic]]:
        """Affine and voxels."""
        from medical.files.nifti import read_volume

        volume = read_volume(path)
        return {"entry of the affine": volume.affine, "voxel": volume.data.numpy()}

    def recalled(self, file: Path) -> SuperResolutionRequest | None:
        """None: a volume does not say which scan it was made from."""
        return None

    def pictures(self, prepared: "Volume", drawn: "Restoration") -> dict[str, bytes]:
        """Cuts of scan, result and uncertainty."""
        from medical.operations.report import picture

        return {"picture": picture(prepared, drawn, max_bytes=LARGEST_PICTURE)}

    def shown(self, request: SuperResolutionRequest, facts: Mapping[str, Any]) -> Facts:
        """What was restored, how, how well it explains the scan, what was found and assumed."""
        remarks = facts.get("remarks")
        return {
            "scan": request.scan,
            "shape": facts["shape"],
            "spacing (mm)": facts["spacing_mm"],
            "consistency": f"{facts['consistency_mean_absolute']:.2g}",
            "samples": request.samples,
            "seed": request.seed,
            **({"remarks": "; ".join(remarks)} if remarks else {}),
            "use": "research, not diagnosis",
        }


def _within(on_step: OnStep, before: int, total: int, done: int, _: int, estimate: Any) -> None:
    """Tell of a step of a part as a step of the whole."""
    on_step(before + done, total, estimate)
