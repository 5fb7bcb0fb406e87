"""``strip_mri_skull``: a head without skull and face; every byte of its brain stays."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.models.methods import Method
from core.operations.operation import Cost, Facts, ModelSource, OnStep, Paths
from core.refusal import Refusal
from medical.files.container import scan_name
from medical.lesions.request import StripSkullRequest
from medical.operations.edit_mri import Edit, EditMRI

if TYPE_CHECKING:
    from medical.files.volume import Volume

BRAIN = "brain"
OTHERS = ("FLAIR", "T2w", "T2", "T2star", "T2starw", "PD", "PDw", "bold", "dwi")
"""As names end that say another contrast."""
NETWORK_S, NETWORK_GB = 8.0, 1.0  # of both networks, whatever the scan


class StripMRISkull(EditMRI[StripSkullRequest]):
    """A head of which the brain alone is left, and the mask of what that is."""

    name = "strip_mri_skull"
    request = StripSkullRequest
    draws = False

    def outputs(self, target: Path, request: StripSkullRequest | None = None) -> Paths:
        """The head and the mask of its brain."""
        ending = ".nii.gz" if target.name.endswith(".gz") else ".nii"
        mask = target.with_name(f"{scan_name(target.name)}_label-brain_mask{ending}")
        return {"result": target, BRAIN: mask}

    def source(self, request: StripSkullRequest) -> ModelSource:
        """The extra that finds brains, by its version and weights."""
        from medical.anatomy.stripping import stripper

        name, digest = stripper()
        return Method(name, self.kind, digest)

    def check(self, request: StripSkullRequest) -> None:
        """Refuse a scan that is none or names another contrast, and an extra that lacks."""
        self.source(request)
        named = scan_name(Path(request.scan).name).rsplit("_", 1)[-1]
        if named.lower() in {other.lower() for other in OTHERS}:
            raise Refusal(
                f"{request.scan} is named {named}: brains are found in T1-weighted heads; strip "
                "the T1w of the same session, and take its mask."
            )
        super().check(request)

    def cost(self, request: StripSkullRequest) -> Cost:
        """That of the networks, and of the scan's voxels."""
        cost = super().cost(request)
        seconds, memory = cost.seconds + NETWORK_S, cost.memory_gb + NETWORK_GB
        return Cost(seconds, memory, cost.disk_gb, cost.results_gb)

    def edit(self, request: StripSkullRequest, scan: "Volume", on_step: OnStep) -> Edit:
        """Nothing where there is no brain."""
        from medical.anatomy.stripping import find_brain

        brain = find_brain(scan)
        removed = float((~brain & (scan.data.numpy() != 0)).sum()) * scan.voxel_ml
        facts = {
            "method": "deepbet, two networks for T1-weighted heads",
            "removed_ml": round(removed, 2),
        }
        return Edit(Path(request.scan), ~brain, np.zeros(scan.shape, np.float32), scan, facts)

    def write(
        self, request: StripSkullRequest, drawn: Edit, target: Path, *, overwrite: bool
    ) -> Paths:
        """Write the head, and where its brain is."""
        import torch

        from medical.files.nifti import write_volume
        from medical.files.privacy import as_marked

        paths = super().write(request, drawn, target, overwrite=overwrite)
        data = torch.from_numpy((~drawn.mask).astype(np.float32))
        words = as_marked("Lamina map; research use", synthetic=drawn.grid.header.synthetic)
        mask = drawn.grid.with_data(data, dtype="uint8", description=words)
        write_volume(mask, paths[BRAIN], overwrite=overwrite)
        return paths

    def changed(self, request: StripSkullRequest, paths: Mapping[str, Path]) -> Any:
        """All but the brain."""
        from medical.files.nifti import read_volume

        return read_volume(paths[BRAIN]).data.numpy() == 0

    def verify(self, request: StripSkullRequest, paths: Mapping[str, Path]) -> Facts:
        """The brain is the scan's, byte by byte, and nothing is left around it."""
        from medical.files.nifti import read_volume

        facts = super().verify(request, paths)
        head = read_volume(paths["result"])
        around = head.data.numpy()[self.changed(request, paths)]
        if around.size and around.max() > around.min():
            raise RuntimeError(
                f"{paths['result'].name} still shows something around the brain: nothing may be "
                "left there; make it again."
            )
        brain = head.data.numel() * head.voxel_ml - facts["mask_ml"]
        return {"shape": facts["shape"], "brain_ml": round(brain, 2)}

    def shown(self, request: StripSkullRequest, facts: Mapping[str, Any]) -> Facts:
        """What is left."""
        kept = {name: facts[name] for name in ("brain_ml", "removed_ml") if name in facts}
        return {**super().shown(request, facts), **kept}
