"""NIfTI files: the only door to nibabel."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from medical.volume import FileHeader, Volume


def read_volume(path: str | Path) -> Volume:
    """Return the volume in a NIfTI file, intensities as stored times slope plus intercept."""
    image = nib.load(path)
    header = image.header
    return Volume(
        torch.from_numpy(np.ascontiguousarray(image.get_fdata(dtype=np.float32))),
        np.asarray(image.affine, dtype=np.float64),
        FileHeader(
            dtype=np.dtype(header.get_data_dtype()).name,
            sform_code=int(header["sform_code"]),
            qform_code=int(header["qform_code"]),
            units=int(header["xyzt_units"]),
        ),
    )
