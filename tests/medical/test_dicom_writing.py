"""Derived series: what dcm2niix and we read back is what was written, and it says what it is."""

from dataclasses import replace

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from test_dicom import converted
from test_nifti import make_affine

from core.refusal import Refusal
from medical.files.dicom import open_series, read_series
from medical.files.dicom_segments import read_segments, write_segments
from medical.files.dicom_writing import About, planes_of, write_series
from medical.files.volume import FileHeader, Volume

ABOUT = About(
    subject="pilot-sub-001", study="key/sub-001", name="T1w", number=1,
    derivation="Drawn by software; no scan of a person", software=("Lamina", "0.1"),
)  # fmt: skip


def drawn(affine, dtype="int16", slope=1.0, shape=(7, 9, 5)):
    low, high = (0, 900) if dtype.startswith("u") or dtype == "float32" else (-50, 900)
    high = 200 if dtype == "uint8" else high
    raw = np.random.default_rng(1).integers(low, high, shape) * slope
    if dtype == "float32":
        raw = raw + 0.123
    header = FileHeader(dtype=dtype, slope=slope)
    return Volume(torch.from_numpy(raw.astype(np.float32)), affine, header)


def canonical(voxels, affine):
    image = nib.as_closest_canonical(nib.Nifti1Image(voxels, affine))
    return np.asarray(image.dataobj), image.affine


AFFINES = [
    make_affine((1.0, 1.0, 1.0), origin=(-88, -122, -84)),
    make_affine((0.9, 1.1, 2.5), (2, 0, 1), (1.0, -1.0, 1.0), (0.2, -0.1, 0.3), (12.5, -31, 40)),
    make_affine((1.2, 0.7, 3.0), (1, 2, 0), (-1.0, 1.0, -1.0), (0.05, 0.3, -0.2), (5, 6, -7)),
]


@pytest.mark.parametrize("affine", AFFINES, ids=["straight", "oblique", "other"])
@pytest.mark.parametrize(("dtype", "slope"), [("int16", 1.0), ("uint8", 1.0), ("int16", 0.5)])
def test_a_round_trip_through_dcm2niix_changes_nothing(tmp_path, affine, dtype, slope):
    volume = drawn(affine, dtype, slope)
    files = write_series(volume, tmp_path / "in", ABOUT)
    assert len(files) == len(list((tmp_path / "in").iterdir()))
    image, again = converted(tmp_path / "in", tmp_path / "out"), read_series(tmp_path / "in")
    wanted, placed = canonical(volume.data.numpy(), volume.affine)
    for voxels, where in (
        (np.asarray(image.dataobj).astype(np.float32), image.affine),
        (again.data.numpy(), again.affine),
    ):
        found, there = canonical(voxels, where)
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_allclose(there, placed, rtol=3e-7, atol=1e-5)


def test_what_is_not_whole_is_rounded_to_sixteen_bits(tmp_path):
    volume = drawn(AFFINES[0], "float32")
    write_series(volume, tmp_path / "in", ABOUT)
    found, _ = canonical(read_series(tmp_path / "in").data.numpy(), np.diag([-1, 1, 1, 1]))
    step = float(volume.data.max() - volume.data.min()) / 32767
    assert np.abs(found - volume.data.numpy()).max() <= step


def test_a_series_says_what_it_is_and_names_nobody(tmp_path):
    write_series(drawn(AFFINES[0]), tmp_path / "a", ABOUT)
    ds = pydicom.dcmread(tmp_path / "a" / "0001.dcm")
    assert ds.SyntheticData == "YES"
    assert list(ds.ImageType) == ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC"]
    assert ds.DerivationDescription == ABOUT.derivation
    assert ds.PatientBirthDate == ds.StudyDate == ""
    assert open_series(tmp_path / "a").synthetic
    write_series(drawn(AFFINES[0]), tmp_path / "b", ABOUT)
    for name in ("0001.dcm", "0005.dcm"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    other = drawn(AFFINES[0])
    write_series(other.with_data(other.data + 1), tmp_path / "c", ABOUT)
    fresh = pydicom.dcmread(tmp_path / "c" / "0001.dcm")
    assert fresh.SOPInstanceUID != ds.SOPInstanceUID
    assert fresh.StudyInstanceUID == ds.StudyInstanceUID


def test_another_patient_is_another_study_and_other_software_makes_other_images(tmp_path):
    def written(name, **changes):
        about = replace(ABOUT, **changes)
        files = write_series(drawn(AFFINES[0]), tmp_path / name, about)
        size = pydicom.dcmread(files[0])
        labels = np.ones((len(files), size.Rows, size.Columns), np.uint8)
        masks = write_segments(labels, ("CSF",), files, tmp_path / f"{name}.dcm", about)
        return pydicom.dcmread(files[0]), pydicom.dcmread(masks)

    one, other, newer = (
        written("a"),
        written("b", subject="other-sub-001"),
        written("c", software=("Lamina", "0.2")),
    )
    for here, there in zip(one, other, strict=True):
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            assert here[name].value != there[name].value, name
    for here, there in zip(one, newer, strict=True):
        assert here.StudyInstanceUID == there.StudyInstanceUID
        assert here.SOPInstanceUID != there.SOPInstanceUID
    assert one[0].FrameOfReferenceUID != other[0].FrameOfReferenceUID


@pytest.mark.parametrize("affine", AFFINES, ids=["straight", "oblique", "other"])
def test_masks_lie_on_their_images(tmp_path, affine):
    volume = drawn(affine)
    labels = np.random.default_rng(2).integers(0, 4, volume.shape).astype(np.uint8)
    grid = volume.with_data(torch.from_numpy(labels), dtype="uint8")
    planes = planes_of(grid).astype(np.uint8)
    files = write_series(volume, tmp_path / "T1w", ABOUT)
    names = ("CSF", "gray_matter", "white_matter")
    one = write_segments(planes, names, files, tmp_path / "dseg.dcm", ABOUT)
    np.testing.assert_array_equal(read_segments(one, 3), planes)
    seg = hd.seg.segread(one)
    assert seg.SyntheticData == "YES"
    assert seg.number_of_segments == 3
    assert seg.get_segment_description(2).segment_label == "gray_matter"
    found = seg.get_volume(combine_segments=True)
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ found.affine
    back, there = canonical(np.asarray(found.array), to_ras)
    wanted, placed = canonical(labels, volume.affine)
    np.testing.assert_array_equal(back, wanted)
    np.testing.assert_allclose(there, placed, atol=1e-5)
    two = write_segments(planes, names, files, tmp_path / "again.dcm", ABOUT)
    assert one.read_bytes() == two.read_bytes()


def test_what_cannot_be_a_series_is_refused(tmp_path):
    sheared = np.eye(4)
    sheared[0, 2] = 0.4
    with pytest.raises(Refusal, match="not at right angles"):
        write_series(drawn(sheared), tmp_path / "in", ABOUT)
    write_series(drawn(AFFINES[0]), tmp_path / "in", ABOUT)
    with pytest.raises(Refusal, match="is not empty"):
        write_series(drawn(AFFINES[0]), tmp_path / "in", ABOUT)
