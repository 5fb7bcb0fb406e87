"""A dataset as DICOM: what dcm2niix makes of it is the NIfTI beside it; masks lie on it."""

import json

import nibabel as nib
import numpy as np
import pydicom
import pytest
from test_datasets import BallHeads, contents, maker
from test_dicom import converted
from test_dicom_writing import canonical

from medical.datasets.making import make_dataset
from medical.datasets.series import read_subject_series


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("set") / "out"
    asked = maker(BallHeads(), count=1, spacing_mm=(4, 4, 4), formats=("bids", "dicom"))
    assert make_dataset(asked, out).missing == ()
    return out, asked


@pytest.mark.parametrize("contrast", ["T1w", "FLAIR"])
def test_series_are_the_images_of_bids(dataset, tmp_path, contrast):
    out, _ = dataset
    image = converted(out / "dicom" / "sub-001" / contrast, tmp_path / "nii")
    wanted = nib.load(out / "bids" / "sub-001" / "anat" / f"sub-001_{contrast}.nii.gz")
    found, there = canonical(np.asarray(image.dataobj), image.affine)
    np.testing.assert_array_equal(found, np.asarray(wanted.dataobj))
    np.testing.assert_allclose(there, wanted.affine, rtol=0, atol=1e-5)


def test_masks_are_those_of_bids(dataset):
    out, asked = dataset
    _, tissues, lesions = read_subject_series("sub-001", asked.request, out)
    anat = out / "bids" / "derivatives" / "lamina" / "sub-001" / "anat"
    for found, name in ((tissues, "dseg"), (lesions, "label-lesion_mask")):
        wanted = np.asarray(nib.load(anat / f"sub-001_{name}.nii.gz").dataobj)
        assert wanted.any()
        np.testing.assert_array_equal(found, wanted)


def test_all_of_a_head_is_one_study_and_marked(dataset):
    out, _ = dataset
    heads = [pydicom.dcmread(p, stop_before_pixels=True) for p in (out / "dicom").rglob("*.dcm")]
    assert {ds.SyntheticData for ds in heads} == {"YES"}
    assert len({ds.StudyInstanceUID for ds in heads}) == 1
    assert len({ds.SeriesInstanceUID for ds in heads}) == 4
    assert {str(ds.PatientID) for ds in heads} == {"pilot-sub-001"}
    record = json.loads((out / "volumes" / "sub-001.json").read_text())
    assert len([name for name in record["files"] if name.startswith("dicom/")]) == len(heads)


def test_dicom_alone_is_made_resumed_and_shown(dataset, tmp_path):
    out, _ = dataset
    alone = maker(BallHeads(), count=1, spacing_mm=(4, 4, 4), formats=("dicom",))
    assert make_dataset(alone, tmp_path / "one").missing == ()
    beside, files = contents(out / "dicom"), contents(tmp_path / "one" / "dicom")
    assert files == beside
    assert not (tmp_path / "one" / "bids").exists()
    assert "sub-001" in (tmp_path / "one" / "report.html").read_text()
    (tmp_path / "one" / "dicom" / "sub-001" / "FLAIR" / "0007.dcm").unlink()
    assert make_dataset(alone, tmp_path / "one").missing == ()
    assert contents(tmp_path / "one" / "dicom") == files
