"""What operations share that say something of every voxel of a scan: maps on the scan's grid."""

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
from core.refusal import Refusal
from core.request import Request
from medical.files.container import scan_name
from medical.operations.head_result import HeadResult

if TYPE_CHECKING:
    from medical.files.volume import Volume

Asked = TypeVar("Asked", bound=Request)
BYTES_ON_DISK = 2.0  # of a voxel's map, packed
COARSE_GB = 0.3  # of a million voxels at 2 mm, beyond those that a head has
COARSE_MILLIONS = 2.0  # that a head has, in ``per_million``


@dataclass(frozen=True, eq=False)
class Maps:
    """What was found in a scan.

    Attributes:
        scan: for its grid.
        values: (D, H, W) by role, the main output first.
        facts: what was found, in numbers.
    """

    scan: "Volume"
    values: Mapping[str, NDArray[np.generic]]
    facts: Facts = field(default_factory=dict)


class MapMRI(HeadResult, ABC, Generic[Asked]):
    """Maps of a scan; see ``core.operations.operation.Operation``.

    Subclasses say what they are called, what may be asked, what maps there are, and ``find``.
    """

    name: ClassVar[str]
    request: ClassVar[type[Request]]
    kind = "mri"
    endings: tuple[str, ...] = (".nii.gz", ".nii")
    noun = "head"
    private = True
    maps: ClassVar[Mapping[str, tuple[str, str]]]
    """Role to what its file's name ends with and the stored type, the main one first."""
    reads_structures: ClassVar[bool] = False
    """Whether the scan is always read at 2 mm by the network of structures."""

    @abstractmethod
    def find(self, request: Asked, scan: "Volume", model: Model, on_step: OnStep) -> Maps:
        """What there is in the scan."""

    def words(self, request: Asked) -> str:
        """Description in the files' headers."""
        del request
        return "Lamina map; research use"

    def title(self, request: Asked) -> str:
        """The scan's name."""
        return scan_name(Path(_scan(request)).name)

    def inputs(self, request: Asked) -> Paths:
        """The scan."""
        return {"scan": Path(_scan(request))}

    def outputs(self, target: Path, request: Asked | None = None) -> Paths:
        """The maps."""
        if not target.name.endswith(self.endings):
            raise Refusal(
                f"{target} is not a NIfTI name: maps are written as .nii or .nii.gz; rename it."
            )
        ending = ".nii.gz" if target.name.endswith(".gz") else ".nii"
        return {
            role: target.with_name(f"{scan_name(target.name)}{mark}{ending}") if mark else target
            for role, (mark, _) in self.maps.items()
        }

    def read(self, request: Asked, *, strict: bool = False) -> Reading:
        """As it came, and what of the scan's header is left behind."""
        from medical.operations.edit_mri import header_facts

        facts, remarks = header_facts(self.prepare(request))
        return Reading(request, facts, remarks)

    def check(self, request: Asked) -> None:
        """Refuse a scan that is none."""
        self.source(request).record()
        if self.coarse(request):
            from medical.anatomy.segmenting import check_extent
            from medical.files.scan import scan_size

            check_extent(*scan_size(_scan(request)))
        self.prepare(request)

    def cost(self, request: Asked) -> Cost:
        """By the voxels of the scan."""
        from medical.files.scan import scan_size

        shape, spacing = scan_size(_scan(request))
        millions = math.prod(shape) / 1e6
        seconds, memory = self.per_million(request)
        disk = BYTES_ON_DISK * millions / 1e3 * len(self.maps)
        more = 0.0
        if self.coarse(request):
            from medical.anatomy.segmenting import coarse_millions

            more = COARSE_GB * max(0.0, coarse_millions(shape, spacing) - COARSE_MILLIONS)
        needed = memory[0] + memory[1] * millions + more
        return Cost(seconds[0] + seconds[1] * millions, needed, disk, disk)

    def coarse(self, request: Asked) -> bool:
        """Whether the scan is read at 2 mm by the network of structures."""
        del request
        return self.reads_structures

    def per_million(self, request: Asked) -> tuple[tuple[float, float], tuple[float, float]]:
        """Seconds and GB: those of any scan, and those of a million voxels."""
        del request
        return (2.0, 1.5), (0.5, 0.15)

    def settled(self, request: Asked) -> Asked:
        """The request itself."""
        return request

    def source(self, request: Asked) -> ModelSource:
        """No network."""
        return Method("no network", self.kind)

    def prepare(self, request: Asked) -> "Volume":
        """The scan."""
        from medical.acquisition.intensity import refuse_mask
        from medical.files.scan import read_scan

        place = _scan(request)
        scan = read_scan(place)
        refuse_mask(scan, str(place))
        return scan

    def draw(self, request: Asked, prepared: "Volume", model: Model, on_step: OnStep) -> Maps:
        """The maps."""
        return self.find(request, prepared, model, on_step)

    def judge(self, request: Asked, drawn: Maps) -> Facts:
        """Nothing: nobody knows the truth."""
        return {}

    def write(self, request: Asked, drawn: Maps, target: Path, *, overwrite: bool) -> Paths:
        """Write the maps."""
        import torch

        from medical.files.nifti import write_volume
        from medical.files.privacy import as_marked

        paths = self.outputs(target, request)
        words = as_marked(self.words(request), synthetic=drawn.scan.header.synthetic)
        for role, (_, dtype) in self.maps.items():
            data = torch.from_numpy(drawn.values[role].astype(np.float32))
            volume = drawn.scan.with_data(data, dtype=dtype)
            write_volume(volume, paths[role], description=words, overwrite=overwrite)
        return paths

    def pictures(self, prepared: "Volume", drawn: Maps) -> dict[str, bytes]:
        """An axial cut of the scan and of the first map, where there is most of it."""
        from medical.operations.head_picture import picture_of_labels, picture_of_map

        values = next(iter(drawn.values.values()))
        draw = picture_of_map if values.dtype.kind == "f" else picture_of_labels
        return {"picture": draw(prepared, values)}

    def numbers(self, drawn: Maps) -> Facts:
        """What was found."""
        return drawn.facts

    def verify(self, request: Asked, paths: Mapping[str, Path]) -> Facts:
        """Hold the grid of the files against the scan's."""
        from medical.files.nifti import read_volume
        from medical.files.volume import same_place

        scan = self.prepare(request)
        for path in (paths[role] for role in self.maps):  # and not its picture
            if not same_place(read_volume(path), scan):
                raise RuntimeError(
                    f"{path.name} does not lie where the scan lies: a map has the grid of its "
                    "scan; make it again."
                )
        return {"shape": " x ".join(map(str, scan.shape))}

    def shown(self, request: Asked, facts: Mapping[str, Any]) -> Facts:
        """What was found."""
        kept = {name: facts[name] for name in ("shape", "method") if name in facts}
        return {"scan": _scan(request), **kept, "use": "research, not diagnosis"}


def _scan(request: Request) -> str:
    return str(getattr(request, "scan", ""))
