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
    """The MNI152 head that nilearn bundles: 1 mm, skull-stripped, intensities in [0, 1].

    ICBM 2009a nonlinear symmetric, Fonov et al. 2011.
    """
    image = datasets.load_mni152_template(resolution=1)
    data = torch.from_numpy(np.ascontiguousarray(image.get_fdata(dtype=np.float32)))
    header = FileHeader(dtype="float32", sform_code=MNI_CODE, qform_code=MNI_CODE, units=10)
    return Volume(measure_scale(data).apply(data), np.asarray(image.affine), header)


def template_labels() -> Volume:
    """The tissues of that template: 0 background, 1 CSF, 2 gray and 3 white matter, 1 mm.

    The mean of 152 young adults, so it is no single person's anatomy.
    """
    maps = (
        datasets.load_mni152_brain_mask(resolution=1),
        datasets.load_mni152_gm_template(resolution=1),
        datasets.load_mni152_wm_template(resolution=1),
    )
    brain, gray, white = (image.get_fdata(dtype=np.float32) for image in maps)
    tissue = np.where(gray + white < 0.5, 1, np.where(gray > white, 2, 3)) * (brain > 0)
    header = FileHeader(dtype="uint8", sform_code=MNI_CODE, qform_code=MNI_CODE, units=10)
    data = torch.from_numpy(np.ascontiguousarray(tissue, dtype=np.float32))
    return Volume(data, np.asarray(maps[0].affine), header)


def thick_slice_scan(
    thickness_mm: float = 4.0, *, noise_std: float = 0.0, seed: int = 0
) -> Volume:
    """The template as a scanner with thick axial slices would have stored it (int16).

    Args:
        thickness_mm: Of the contiguous slices, Gaussian profile.
        noise_std: Of the scan, intensities in [0, 1].
        seed: Of the noise.
    """
    acquisition = Acquisition.slices(2, SliceSampling(thickness_mm), noise_std)
    scan = acquire(template_head(), acquisition, seed=seed)
    data = (scan.data * INTENSITIES).round().clamp(min=0.0)
    return scan.with_data(data, dtype="int16")
