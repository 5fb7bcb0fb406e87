"""The demo's scan and the picture of a restoration."""

import io

import matplotlib.image
import numpy as np
import pytest
import torch

from medical.acquisition.acquisition import Acquisition
from medical.acquisition.intensity import IntensityScale
from medical.anatomy.phantom import template_head, thick_slice_scan
from medical.files.volume import Volume
from medical.operations.report import picture
from medical.operations.restoration import Restoration, output_paths


def restoration(shape=(40, 50, 44)):
    axes = [torch.linspace(-1, 1, n) for n in shape]
    d, h, w = torch.meshgrid(*axes, indexing="ij")
    data = 700.0 * ((d**2 + h**2 + w**2) < 0.7)
    mean = Volume(data, np.eye(4))
    std = Volume(0.1 * data * (d > 0), np.eye(4))
    scan = Volume(data[:, :, ::4].contiguous(), np.diag([1.0, 1.0, 4.0, 1.0]))
    none = Acquisition((None, None, None))
    return scan, Restoration(mean, std, scan, 1e-4, 1.0, none, IntensityScale(0.0, 700.0), 8, 0)


def test_the_picture_is_a_small_png_with_scan_result_and_uncertainty():
    scan, result = restoration()
    png = picture(scan, result)
    assert png.startswith(b"\x89PNG")
    assert len(png) < 200_000
    image = matplotlib.image.imread(io.BytesIO(png))[..., :3]
    width = image.shape[1] // 3
    thirds = [image[:, i * width : (i + 1) * width] for i in range(3)]
    colored = [float((third.max(-1) - third.min(-1)).max()) for third in thirds]
    assert colored[0] < 0.05
    assert colored[1] < 0.05
    assert colored[2] > 0.3


def test_a_picture_that_cannot_fit_is_refused():
    with pytest.raises(ValueError, match="max_bytes=100"):
        picture(*restoration(), max_bytes=100)


def test_names_of_the_maps_follow_the_result():
    paths = output_paths("/data/a.b.nii")
    assert [p.name for p in paths.values()] == ["a.b.nii", "a.b_std.nii", "a.b_consistency.nii"]
    with pytest.raises(ValueError, match="not a NIfTI name"):
        output_paths("out.mha")


def test_the_demo_scan_is_the_template_in_thick_slices():
    head, scan = template_head(), thick_slice_scan(4.0)
    assert head.spacing_mm == pytest.approx((1.0, 1.0, 1.0))
    assert float(head.data.min()) >= 0.0
    assert scan.spacing_mm == pytest.approx((1.0, 1.0, 4.0))
    assert scan.shape[:2] == head.shape[:2]
    assert scan.shape[2] == head.shape[2] // 4
    assert scan.header.dtype == "int16"
    assert torch.equal(scan.data, scan.data.round())
    center = [(n - 1) / 2 for n in head.shape]
    slices = [(n - 1) / 2 for n in scan.shape]
    np.testing.assert_allclose(scan.affine @ [*slices, 1], head.affine @ [*center, 1], atol=1e-9)
    assert float(scan.data.mean()) / 1000 == pytest.approx(float(head.data.mean()), rel=0.02)
