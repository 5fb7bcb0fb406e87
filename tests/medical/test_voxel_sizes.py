"""Voxels as small or large as scanners make them are read, told of truly, and no others."""

import nibabel as nib
import numpy as np
import pytest

from core.refusal import Refusal
from medical.files.nifti import read_size, read_volume
from medical.lesions.request import InpaintMRIRequest, InsertLesionsRequest
from medical.operations.table import OPERATIONS

UNIT_MM = {1: 1000.0, 2: 1.0, 3: 0.001}


def saved(folder, name, size_mm, *, unit=2, data=None):
    data = np.arange(729, dtype=np.int16).reshape(9, 9, 9) if data is None else data
    affine = np.diag([size_mm / UNIT_MM[unit]] * 3 + [1.0])
    image = nib.Nifti1Image(data, affine)
    image.header["xyzt_units"] = unit
    nib.save(image, folder / f"{name}.nii")
    return folder / f"{name}.nii"


@pytest.mark.parametrize("unit", UNIT_MM)
@pytest.mark.parametrize("size", [0.01, 0.06, 1.0, 100.0])
def test_sizes_of_scans_are_read_in_every_unit(tmp_path, size, unit):
    path = saved(tmp_path, "scan", size, unit=unit)
    assert read_volume(path).spacing_mm == pytest.approx((size,) * 3, rel=1e-5)


@pytest.mark.parametrize("unit", UNIT_MM)
@pytest.mark.parametrize("size", [0.005, 0.0099, 101.0, 900.0])
def test_sizes_that_no_scan_has_are_refused(tmp_path, size, unit):
    path = saved(tmp_path, "scan", size, unit=unit)
    words = r"has voxels of .* mm: a scan has 0.01 to 100 mm; repair its affine and unit"
    for read in (read_volume, read_size):
        with pytest.raises(Refusal, match=words):
            read(path)


def test_a_head_of_sixty_micrometers_is_painted_and_measured(tmp_path):
    data = np.full((20, 20, 20), 900, np.int16)
    mask = np.zeros(data.shape, np.uint8)
    mask[8:12, 8:12, 8:12] = 1
    data[mask > 0] = 100
    scan, hole = (saved(tmp_path, n, 0.06, data=d) for n, d in (("scan", data), ("mask", mask)))
    operation = OPERATIONS["inpaint_mri"]
    request = InpaintMRIRequest(scan=str(scan), mask=str(hole))
    drawn = operation.edit(request, operation.prepare(request), lambda *done: None)
    paths = operation.write(request, drawn, tmp_path / "out.nii", overwrite=False)
    told = operation.verify(request, paths)["mask_ml"]
    assert told == pytest.approx(64 * 0.06**3 / 1000, rel=1e-3)
    np.testing.assert_allclose(drawn.values[mask > 0], 900, atol=1)


def test_more_lesions_than_a_head_holds_are_refused_before_they_are_drawn(tmp_path):
    data = np.zeros((30, 30, 30), np.int16)
    data[5:25, 5:25, 5:25] = 900
    scan = saved(tmp_path, "a_FLAIR", 0.06, data=data)
    request = InsertLesionsRequest(scan=str(scan), load_ml=8, count=6)
    operation = OPERATIONS["insert_mri_lesions"]
    with pytest.raises(Refusal, match=r"8 ml of lesions in a head of 0.00173 ml: .* unit"):
        operation.edit(request, operation.prepare(request), lambda *done: None)
