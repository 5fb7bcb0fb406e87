"""What edits and maps of a scan share: how their files are compared, recalled and shown."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class HeadResult:
    """Results on the grid of a scan, which do not say what they were made from."""

    def decoded(self, path: Path) -> dict[str, NDArray[np.generic]]:
        """Affine and voxels."""
        from medical.files.nifti import read_volume  # noqa: PLC0415  nibabel is slow to import

        volume = read_volume(path)
        return {"entry of the affine": volume.affine, "voxel": volume.data.numpy()}

    def recalled(self, file: Path) -> None:
        """None: a head does not say what it was made from."""
