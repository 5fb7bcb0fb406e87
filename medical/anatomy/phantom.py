"""The demo's scan: a public template head, scanned in thick slices. The only door to nilearn."""

from __future__ import annotations

import numpy as np
import torch
from nilearn import datasets

from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
from medical.acquisition.intensity import measure_scale
from medical.files.volume import FileHeader, Volume

INTENSITIES = 1000.0
MNI_CODE = 4


def template_head() -> Volume:
    """Return the MNI152 head that nilearn bundles: 1 mm, skull-stripped, intensities in [0, 1].

    ICBM 2009a nonlinear symmetric, Fonov et al. 2011.
    """
    image = datasets.load_mni152_template(resolution=1)
    data = torch.from_numpy(np.ascontiguousarray(image.get_fdata(dtype=np.float32)))
    header = FileHeader(dtype="float32", sform_code=MNI_CODE, qform_code=MNI_CODE, units=10)
    return Volume(measure_scale(data).apply(data), np.asarray(image.affine), header)


def thick_slice_scan(
    thickness_mm: float = 4.0, *, noise_std: float = 0.0, seed: int = 0
) -> Volume:
    """Return the template as a scanner with thick axial slices would have stored it (int16).

    Args:
        thickness_mm: of the contiguous slices, Gaussian profile.
        noise_std: of the scan, intensities in [0, 1].
        seed: of the noise.
    """
    acquisition = Acquisition.slices(2, SliceSampling(thickness_mm), noise_std)
    scan = acquire(template_head(), acquisition, seed=seed)
    data = (scan.data * INTENSITIES).round().clamp(min=0.0)
    return scan.with_data(data, dtype="int16")
