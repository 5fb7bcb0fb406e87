"""A folder of DICOM files as the volume that dcm2niix makes of it, or refused with the reason."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicoms import change, refused, turned, voxels, write_enhanced, write_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.refusal import Refusal
from medical.files.dicom import open_series, read_series
from medical.files.nifti import read_volume, write_volume
from medical.files.scan import read_scan, scan_size

WRITERS = {"classic": write_series, "enhanced": write_enhanced}
OBLIQUE = (0.2, -0.1, 0.3)


def converted(folder, out):
    """What dcm2niix makes of a folder."""
    program = Path(sys.executable).with_name("dcm2niix")
    out.mkdir()
    words = [program, "-z", "n", "-b", "n", "-f", "x", "-o", out, folder]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    (file,) = out.glob("*.nii")
    assert said.returncode == 0, said.stdout
    return nib.load(file)


def agree(folder, out):
    """Hold our reading against dcm2niix's, on the very same grid."""
    volume, image = read_scan(folder), converted(folder, out)
    assert volume.shape == image.shape
    np.testing.assert_array_equal(
        volume.data.numpy(), np.asarray(image.dataobj).astype(np.float32)
    )
    # 1e-5, and where numbers are large the last digits of dcm2niix's float32
    np.testing.assert_allclose(volume.affine, image.affine, rtol=3e-7, atol=1e-5)
    shape, spacing = scan_size(folder)
    assert shape == volume.shape
    assert spacing == pytest.approx(volume.spacing_mm)
    return volume


@pytest.mark.parametrize("acquired", ["2D", "3D"])
@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), OBLIQUE])
@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
@pytest.mark.parametrize("kind", WRITERS)
def test_voxels_and_affine_are_those_of_dcm2niix(tmp_path, kind, plane, angles, acquired):
    WRITERS[kind](
        tmp_path / "in", voxels(), cosines=turned(angles, plane), MRAcquisitionType=acquired
    )
    agree(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_slices_come_in_any_order_of_files_and_from_any_end(tmp_path, plane):
    cosines, data = turned(OBLIQUE, plane), voxels()
    names = [f"IM{k}" for k in (4, 0, 5, 2, 1, 3)]
    write_series(tmp_path / "in", data, cosines=cosines, names=names)
    volume = agree(tmp_path / "in", tmp_path / "out")
    write_series(tmp_path / "back", data, cosines=cosines, spacing=(1.1, 0.9, -3.0))
    backwards = agree(tmp_path / "back", tmp_path / "out2")
    assert volume.spacing_mm == pytest.approx(backwards.spacing_mm)
    write_enhanced(tmp_path / "frames", data, cosines=cosines, order=[3, 1, 0, 5, 4, 2])
    frames = read_series(tmp_path / "frames")
    np.testing.assert_array_equal(frames.data.numpy(), volume.data.numpy())
    np.testing.assert_allclose(frames.affine, volume.affine, atol=1e-9)


@pytest.mark.parametrize("kind", WRITERS)
def test_slope_and_intercept_are_kept(tmp_path, kind):
    WRITERS[kind](tmp_path / "in", voxels(signed=True), slope=0.1, inter=-5.0)
    volume = agree(tmp_path / "in", tmp_path / "out")
    header = volume.header
    assert (header.dtype, header.slope, header.intercept) == ("int16", pytest.approx(0.1), -5)
    again = read_volume(write_volume(volume, tmp_path / "again.nii.gz"))
    np.testing.assert_array_equal(again.data.numpy(), volume.data.numpy())


def test_each_slice_may_have_a_scale_of_its_own(tmp_path):
    write_series(tmp_path / "in", voxels(), slope=[1, 2, 0.5, 3, 1, 2])
    assert agree(tmp_path / "in", tmp_path / "out").header.dtype == "float32"


grids = st.fixed_dictionaries(
    {
        "angles": st.tuples(*[st.floats(-0.6, 0.6)] * 3),
        "plane": st.sampled_from(["axial", "sagittal", "coronal"]),
        "spacing": st.tuples(st.floats(0.3, 3), st.floats(0.3, 3), st.floats(0.5, 8)),
        "origin": st.tuples(*[st.floats(-200, 200)] * 3),
        "acquired": st.sampled_from(["2D", "3D"]),
    }
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grid=grids, kind=st.sampled_from(sorted(WRITERS)))
def test_every_pixel_lies_where_its_header_says(tmp_path_factory, grid, kind):
    """By the standard's own formula (PS3.3 C.7.6.2.1), without a second reader."""
    folder, data = tmp_path_factory.mktemp("grid"), voxels((3, 5, 4))
    cosines, (between_rows, between_columns, step) = (
        turned(grid["angles"], grid["plane"]),
        grid["spacing"],
    )
    WRITERS[kind](
        folder, data, cosines=cosines, spacing=grid["spacing"], origin=grid["origin"],
        MRAcquisitionType=grid["acquired"],
    )  # fmt: skip
    volume = read_series(folder)
    normal = np.cross(cosines[:3], cosines[3:])
    back = np.linalg.inv(volume.affine)
    for k, row, column in np.ndindex(data.shape):
        place = (
            np.array(grid["origin"])
            + cosines[:3] * between_columns * column
            + cosines[3:] * between_rows * row
            + normal * step * k
        )
        index = back @ [-place[0], -place[1], place[2], 1]
        assert np.abs(index - index.round()).max() < 1e-3
        i, j, m = index[:3].round().astype(int)
        assert volume.data[i, j, m] == data[k, row, column]


def test_a_series_with_gaps_is_refused(tmp_path):
    folder = write_series(tmp_path / "in", voxels((9, 4, 5)))
    (folder / "005.dcm").unlink()
    refused(folder, "a gap of 6 mm after slice 5 of 8", "3 mm apart", "copy the missing ones")


def test_two_series_in_one_folder_are_refused(tmp_path):
    write_series(tmp_path / "in", voxels())
    write_series(tmp_path / "in", voxels(), names=[f"b{k}" for k in range(6)])
    refused(tmp_path / "in", "images of 2 series (6, 6 images)", "a folder of its own")


@pytest.mark.parametrize(
    "name", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
)
def test_a_series_without_its_place_is_refused(tmp_path, name):
    folder = write_series(tmp_path / "in", voxels())
    change(folder, **{name: None})
    refused(folder, f"{name} is not said by 6 of 6 images")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Modality": "CT"}, "the modality CT"),
        ({"PhotometricInterpretation": "RGB"}, "no color"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME2"),
        ({"BurnedInAnnotation": "YES"}, "text is burned into its pixels"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "is a localizer"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "a mosaic"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.5, 0.5, 0]}, "at right angles"),
        ({"ImagePositionPatient": [0, 0, 0]}, "images of one place"),
        ({"PixelSpacing": [0, 1]}, "one positive size"),
        ({"ImagePositionPatient": [90000, 0, 0]}, ""),
    ],
)
def test_what_is_no_scan_is_refused(tmp_path, fields, words):
    folder = write_series(tmp_path / "in", voxels())
    change(folder, **fields)
    refused(folder, words)


def test_localizers_by_their_planes_are_refused(tmp_path):
    folder = write_series(tmp_path / "in", voxels((3, 6, 6)))
    ds = pydicom.dcmread(folder / "001.dcm")
    ds.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    ds.save_as(folder / "001.dcm")
    refused(folder, "turned differently, as localizers are")


def test_slices_that_shift_sideways_are_refused(tmp_path):
    folder = write_series(tmp_path / "in", voxels())
    for k, path in enumerate(sorted(folder.iterdir())):
        ds = pydicom.dcmread(path)
        ds.ImagePositionPatient = [k * 1.0, 0, k * 3.0]
        ds.save_as(path)
    refused(folder, "an even stack")


def test_one_slice_no_image_and_damage_are_refused(tmp_path):
    refused(write_series(tmp_path / "one", voxels((1, 4, 4))), "holds one slice")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no DICOM image")
    folder = write_series(tmp_path / "cut", voxels())
    cut = folder / "002.dcm"
    cut.write_bytes(cut.read_bytes()[:-40])
    with pytest.raises(Refusal, match="no pixels that can be read"):
        read_series(folder)


def test_pixels_that_nothing_here_unpacks_are_refused(tmp_path):
    folder = write_series(tmp_path / "in", voxels())
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLossless
        ds.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8 no picture \xff\xd9"])
        ds["PixelData"].VR = "OB"
        ds.save_as(path)
    with pytest.raises(Refusal, match=r"compressed as JPEG Lossless.*install pylibjpeg"):
        read_series(folder)


def test_pixels_that_are_packed_without_loss_are_read(tmp_path):
    folder, data = write_series(tmp_path / "in", voxels()), voxels()
    plain = read_series(folder)
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        ds.compress(pydicom.uid.RLELossless)
        ds.save_as(path)
    np.testing.assert_array_equal(read_series(folder).data.numpy(), plain.data.numpy())
    assert plain.data.numpy().sum() == data.sum()


def test_other_files_in_the_folder_are_passed_over(tmp_path):
    folder = write_series(tmp_path / "in", voxels())
    (folder / "README.txt").write_text("from the scanner")
    (folder / ".hidden").write_text("x")
    assert read_series(folder).shape == (10, 12, 6)


def test_what_the_header_says_beside_the_grid_is_left_behind_and_named(tmp_path):
    folder = write_series(tmp_path / "in", voxels())
    removed = open_series(folder).removed
    for name in ("PatientName", "PatientID", "PatientBirthDate", "InstitutionName",
                 "AccessionNumber", "StudyInstanceUID", "private fields"):  # fmt: skip
        assert name in removed
    assert "PixelSpacing" not in removed
    written = write_volume(read_series(folder), tmp_path / "out.nii")
    assert b"Muster" not in written.read_bytes()


def test_a_series_that_no_scanner_made_is_known(tmp_path):
    assert not open_series(write_series(tmp_path / "in", voxels())).synthetic
    assert open_series(write_series(tmp_path / "made", voxels(), SyntheticData="YES")).synthetic
