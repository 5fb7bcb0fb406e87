"""What operations share that change a head inside a mask and leave every other byte as it was."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.models.methods import Method
from core.operations.operation import Cost, Facts, Model, ModelSource, OnStep, Paths, Reading
from core.progress import counted
from core.refusal import Refusal
from core.request import Request
from medical.files.container import scan_name
from medical.operations.head_result import HeadResult

if TYPE_CHECKING:
    from medical.files.volume import Volume

Asked = TypeVar("Asked", bound=Request)
SECONDS, SECONDS_PER_MILLION = 2.0, 1.5  # on one core of a server CPU, a head of 8 million voxels
BASE_GB, GB_PER_MILLION = 0.5, 0.15
LITTLE_ML = 0.01  # of which four decimals say too little
BYTES_ON_DISK = 6.0  # of a voxel: the head and its mask, packed


@dataclass(frozen=True, eq=False)
class Edit:
    """A head with changed voxels.

    Attributes:
        source: the file it was read from.
        mask: (D, H, W) which voxels are others.
        values: (D, H, W) intensities.
        grid: the scan, for the mask's geometry.
        facts: what was done, in numbers.
    """

    source: Path
    mask: NDArray[np.bool_]
    values: NDArray[np.float32]
    grid: "Volume"
    facts: Facts = field(default_factory=dict)


class EditMRI(HeadResult, ABC, Generic[Asked]):
    """A head changed inside a mask; see ``core.operations.operation.Operation``.

    Subclasses say what they are called, what may be asked, and ``edit``.

    Attributes:
        draws: Its images have voxels that no scanner measured.
        draws_mask: It writes the mask, too.
    """

    name: ClassVar[str]
    request: ClassVar[type[Request]]
    kind = "mri"
    endings: tuple[str, ...] = (".nii.gz", ".nii")
    noun = "head"
    private = True
    draws = True
    draws_mask = False

    @abstractmethod
    def edit(self, request: Asked, scan: "Volume", on_step: OnStep) -> Edit:
        """The changed head."""

    def title(self, request: Asked) -> str:
        """The scan's name."""
        return scan_name(Path(_place(request, "scan")).name)

    def inputs(self, request: Asked) -> Paths:
        """The scan, and the mask where one is given."""
        named = {role: _place(request, role) for role in ("scan", "mask")}
        return {role: Path(name) for role, name in named.items() if name}

    def outputs(self, target: Path, request: Asked | None = None) -> Paths:
        """The head, and the mask where it was drawn."""
        mask = target.with_name(f"{scan_name(target.name)}_label-lesion_mask{_ending(target)}")
        return {"result": target, "mask": mask} if self.draws_mask else {"result": target}

    def read(self, request: Asked, *, strict: bool = False) -> Reading:
        """As it came, and what of the scan's header is left behind."""
        facts, remarks = header_facts(self.prepare(request))
        return Reading(request, facts, remarks)

    def check(self, request: Asked) -> None:
        """Refuse a scan that is none, or a mask on another grid."""
        scan = self.prepare(request)
        if mask := _place(request, "mask"):
            read_mask(mask, scan)

    def cost(self, request: Asked) -> Cost:
        """By the voxels of the scan."""
        from medical.files.scan import scan_size

        millions = math.prod(scan_size(_place(request, "scan"))[0]) / 1e6
        disk = BYTES_ON_DISK * millions / 1e3
        seconds = SECONDS + SECONDS_PER_MILLION * millions
        return Cost(seconds, BASE_GB + GB_PER_MILLION * millions, disk, disk)

    def settled(self, request: Asked) -> Asked:
        """The request itself."""
        return request

    def source(self, request: Asked) -> ModelSource:
        """No network: what is known of the method."""
        return Method("no network", self.kind)

    def prepare(self, request: Asked) -> "Volume":
        """The scan."""
        from medical.acquisition.intensity import refuse_mask
        from medical.files.scan import read_scan

        place = _place(request, "scan")
        scan = read_scan(place)
        refuse_mask(scan, str(place))
        return scan

    def draw(self, request: Asked, prepared: "Volume", model: Model, on_step: OnStep) -> Edit:
        """The changed head."""
        return self.edit(request, prepared, on_step)

    def judge(self, request: Asked, drawn: Edit) -> Facts:
        """Nothing that ``edit`` did not see to."""
        return {}

    def write(self, request: Asked, drawn: Edit, target: Path, *, overwrite: bool) -> Paths:
        """Write the head, all else of it as it was, and the mask that was drawn."""
        import torch

        from medical.files.exact import write_changed
        from medical.files.nifti import write_volume
        from medical.files.privacy import DRAWN_LESIONS, as_marked

        paths = self.outputs(target)
        write_changed(drawn.source, drawn.mask, drawn.values, target, overwrite=overwrite)
        if "mask" in paths:
            data = torch.from_numpy(drawn.mask.astype(np.float32))
            words = as_marked(DRAWN_LESIONS, synthetic=drawn.grid.header.synthetic)
            mask = drawn.grid.with_data(data, dtype="uint8", description=words)
            write_volume(mask, paths["mask"], overwrite=overwrite)
        return paths

    def pictures(self, prepared: "Volume", drawn: Edit) -> dict[str, bytes]:
        """An axial cut before and after, where most was changed."""
        from medical.operations.head_picture import picture_of_change

        after = np.where(drawn.mask, drawn.values, prepared.data.numpy())
        return {"picture": picture_of_change(prepared, after, drawn.mask)}

    def numbers(self, drawn: Edit) -> Facts:
        """What was done."""
        return drawn.facts

    def changed(self, request: Asked, paths: Mapping[str, Path]) -> NDArray[np.bool_]:
        """Where voxels may differ from the scan's, (D, H, W)."""
        from medical.files.nifti import read_volume

        mask_file = paths.get("mask") or Path(_place(request, "mask"))
        return read_volume(mask_file).data.numpy() > 0

    def verify(self, request: Asked, paths: Mapping[str, Path]) -> Facts:
        """Hold the file against the scan, byte by byte: nothing outside the mask is another."""
        from medical.files.exact import differs

        scan = self.prepare(request)
        mask = self.changed(request, paths)
        outside = int((differs(Path(_place(request, "scan")), paths["result"]) & ~mask).sum())
        if outside:
            raise RuntimeError(
                f"{paths['result'].name} differs from the scan in {counted(outside, 'voxel')} "
                "outside the "
                "mask: none may; make it again."
            )
        volume = float(mask.sum()) * scan.voxel_ml
        told = round(volume, 4) if volume > LITTLE_ML else float(f"{volume:.4g}")
        return {"mask_ml": told, "shape": " x ".join(map(str, scan.shape))}

    def shown(self, request: Asked, facts: Mapping[str, Any]) -> Facts:
        """What was changed."""
        kept = {name: facts[name] for name in ("shape", "mask_ml", "method") if name in facts}
        return {"scan": _place(request, "scan"), **kept, "use": "research, not diagnosis"}


def header_facts(scan: "Volume") -> tuple[Facts, tuple[str, ...]]:
    """What the record and a person are told of a scan's header: what is left out, a mark."""
    from medical.files.privacy import removal_remarks

    facts: Facts = (
        {"removed_from_header": list(scan.header.removed)} if scan.header.removed else {}
    )
    marked = ("the scan is marked as synthetic: no scanner made it",) * scan.header.synthetic
    return facts | ({"synthetic_scan": True} if marked else {}), (
        *removal_remarks(scan.header.removed),
        *marked,
    )


def read_mask(path: str, scan: "Volume") -> NDArray[np.bool_]:
    """A mask on the scan's grid, (D, H, W).

    Raises:
        Refusal: It lies on another grid, or nothing is in it.
    """
    from medical.files.nifti import read_volume
    from medical.files.volume import same_place

    mask = read_volume(path)
    if not same_place(mask, scan):
        raise Refusal(
            f"{path} has shape {mask.shape} and spacing {_spacing(mask)} mm, the scan "
            f"{scan.shape} and {_spacing(scan)} mm: a mask lies on the grid of its scan; resample "
            "it to the scan by nearest neighbors."
        )
    found = mask.data.numpy() > 0
    if not found.any():
        raise Refusal(f"{path} is 0 everywhere: a mask says where to change; give one that does.")
    return found


def _spacing(volume: "Volume") -> str:
    return " x ".join(f"{s:.4g}" for s in volume.spacing_mm)


def _place(request: Request, role: str) -> str:
    return str(getattr(request, role, ""))


def _ending(target: Path) -> str:
    return ".nii.gz" if target.name.endswith(".gz") else ".nii"
