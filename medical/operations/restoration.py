"""What super-resolution hands back: a product, how sure it is, and how it fits the scan."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from core.refusal import Refusal
from medical.acquisition.acquisition import Acquisition
from medical.acquisition.intensity import IntensityScale
from medical.acquisition.slice_width import WidthEstimate
from medical.files.nifti import write_volume
from medical.files.volume import Volume

SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Restoration:
    """A restored scan and what to know about it.

    Attributes:
        mean: the product, the mean of all samples, stored as the scan was.
        std: root mean square error to be expected, or where nothing predicts it the standard
            deviation over the samples, on the scan's intensity scale; zero where the mask
            protects.
        consistency_map: degrade(mean) - scan, on the scan's grid and intensity scale.
        consistency: mean absolute value of that map, intensities in [0, 1].
        seam: energy of slice-to-slice changes at window borders over that elsewhere; 1 is
            seamless.
        acquisition: how the scan was taken to be made, along the file's axes.
        scale: the intensity scale used inside.
        samples: how many were drawn; one alone has no spread, and its ``std`` is zero.
        num_protected: voxels where the product is the scan itself, interpolated by cubic
            B-splines.
        sampler: what walked from noise to each sample.
        num_filled: voxels of the scan with a number for no tissue, taken as background.
        width: of slices as the scan shows it; None where it was told.
        calibrated: whether ``std`` is the error to be expected.
        remarks: what was found of the scan and what was assumed, one line each.
    """

    mean: Volume
    std: Volume
    consistency_map: Volume
    consistency: float
    seam: float
    acquisition: Acquisition
    scale: IntensityScale
    samples: int
    num_protected: int
    sampler: str = "flow_map"
    num_filled: int = 0
    width: WidthEstimate | None = None
    calibrated: bool = False
    remarks: tuple[str, ...] = ()

    def record(self) -> dict[str, object]:
        """The numbers for the record beside the files."""
        filled: dict[str, object] = {"filled_voxels": self.num_filled} if self.num_filled else {}
        shown = {} if self.width is None else {"estimated_slice_width": self.width.record()}
        return {
            "shape": list(self.mean.shape),
            "spacing_mm": [round(s, 6) for s in self.mean.spacing_mm],
            "acquisition": asdict(self.acquisition),
            "intensity_scale": self.scale.record(),
            "consistency_mean_absolute": self.consistency,
            "seam_energy": self.seam,
            "sampler": self.sampler,
            "uncertainty": self._uncertainty(),
            "protected_voxels": self.num_protected,
            **filled,
            **shown,
            **({"remarks": list(self.remarks)} if self.remarks else {}),
        }

    def _uncertainty(self) -> str:
        if self.calibrated:
            return "root mean square error to be expected, in the scan's units"
        if self.samples > 1:
            return "standard deviation over the samples"
        return "unknown: one sample has no spread, and the map of it is zero"

    def write(self, path: str | Path, *, overwrite: bool = False) -> dict[str, Path]:
        """Write the product and its two maps; return their paths by name.

        Args:
            path: of the product; the maps go beside it as ``_std`` and ``_consistency``.
            overwrite: whether existing files may be replaced.
        """
        paths = output_paths(path)
        if not overwrite:
            check_absent(paths)
        for name, volume in (
            ("std", self.std),
            ("consistency", self.consistency_map),
            ("result", self.mean),
        ):
            write_volume(volume, paths[name], overwrite=overwrite)
        return paths


def output_paths(path: str | Path) -> dict[str, Path]:
    """Where result, std and consistency map go for one output name."""
    path = Path(path)
    suffix = next((s for s in SUFFIXES if path.name.endswith(s)), None)
    if suffix is None or path.name == suffix:
        raise Refusal(
            f"{path} is not a NIfTI name: results are written as .nii or .nii.gz; rename it."
        )
    stem = path.name.removesuffix(suffix)
    return {
        "result": path,
        "std": path.with_name(f"{stem}_std{suffix}"),
        "consistency": path.with_name(f"{stem}_consistency{suffix}"),
    }


def check_absent(paths: dict[str, Path]) -> None:
    """Raise if any of these files exists, so that a long job fails before it starts."""
    for path in paths.values():
        if path.exists():
            raise Refusal(
                f"{path} exists: results do not replace files unless told; choose another name "
                "or allow overwriting."
            )
