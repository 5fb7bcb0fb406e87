"""A result name without ending: derived DICOM beside the files, the same voxels in space."""

import json
from types import SimpleNamespace

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from ball_series import ball
from dicoms import PATIENT, voxels, write_series
from grids import opened
from pydicom.uid import generate_uid
from test_dicom import converted

from core.records import sha256_file
from core.refusal import Refusal
from flows.commands.command_line import main
from flows.jobs.dicom_copies import write_dicom
from medical.files.dicom_segments import read_segments
from medical.files.nifti import write_volume
from medical.files.scan import read_scan
from medical.files.volume import FileHeader, Volume
from medical.operations import dicom_results
from medical.operations.dicom_results import Job, check_dicom, write_results


def in_space(folder, nifti, out):
    """Hold what dcm2niix makes of a series against a NIfTI file, voxel by voxel by place."""
    found, file = converted(folder, out), nib.load(nifti)
    one, two = (nib.as_closest_canonical(each) for each in (found, file))
    np.testing.assert_allclose(one.affine, two.affine, rtol=3e-7, atol=1e-5)
    return np.asarray(one.dataobj, float), np.asarray(two.dataobj, float)


def test_a_region_painted_over_comes_out_as_a_series(places, capsys):
    scan = ball(places / "in", FrameOfReferenceUID=(frame := generate_uid()))
    out, volume = places / "out", read_scan(scan)
    hole = 0 * volume.data
    hole[14:18, 15:20, 12:16] = 1
    mask = write_volume(volume.with_data(hole, dtype="uint8"), places / "hole.nii.gz")
    assert main(["mri", "inpaint", str(scan), str(mask), str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{out}.nii.gz", str(out / "result")]
    found, file = in_space(out / "result", f"{out}.nii.gz", places / "back")
    np.testing.assert_array_equal(found, file)
    heads = [pydicom.dcmread(path) for path in sorted((out / "result").iterdir())]
    sources = {pydicom.dcmread(path).SOPInstanceUID for path in scan.iterdir()}
    for head in heads:
        assert head.SyntheticData == "YES"
        assert list(head.ImageType)[:2] == ["DERIVED", "SECONDARY"]
        assert "inpaint MRI" in head.DerivationDescription
        assert {each.ReferencedSOPInstanceUID for each in head.SourceImageSequence} == sources
        assert head.SOPInstanceUID not in sources
        assert head.FrameOfReferenceUID == frame
    noted = json.loads((places / "out.json").read_text())["extra"]["dicom"]
    files = sorted((out / "result").iterdir())
    assert noted == {f"out/result/{path.name}": sha256_file(path) for path in files}
    raw = b"".join(path.read_bytes() for path in (out / "result").iterdir())
    assert PATIENT.encode() not in raw
    assert b"Clinic of the Test" not in raw
    assert b"Muster" not in raw
    assert main(["reproduce", f"{out}.nii.gz"]) == 0


def test_labels_come_out_as_a_segmentation_of_the_scan(places, capsys):
    scan, out = ball(places / "in"), places / "out"
    assert main(["mri", "segment", str(scan), str(out)]) == 0
    assert str(out / "result.dcm") in capsys.readouterr().out
    made = hd.seg.segread(out / "result.dcm")
    kinds = {made.get_segment_description(k).algorithm_identification.family.meaning
             for k in made.segment_numbers}  # fmt: skip
    assert kinds == {"Found in its image: segment MRI"}
    assert "SyntheticData" not in made
    names = [made.get_segment_description(k).segment_label for k in made.segment_numbers]
    assert names == ["CSF", "gray_matter", "white_matter"]
    shown, file = in_space(out / "scan", f"{out}.nii.gz", places / "back")
    assert shown.shape == file.shape
    assert "SyntheticData" not in pydicom.dcmread(out / "scan" / "0001.dcm")
    labels = read_segments(out / "result.dcm", 3)  # slices from below, rows from the front
    # by place: a voxel of the segmentation against that of the NIfTI file
    volume, points = opened(f"{out}.nii.gz")
    order = json.loads((places / "out.json").read_text())["extra"]["labels"]
    assert order["3"] == "white matter"
    for k in (1, 2, 3):
        assert (labels == k).sum() == (volume == k).sum()
    head = pydicom.dcmread(out / "scan" / "0001.dcm")
    row, column = np.array(head.ImageOrientationPatient, float).reshape(2, 3)
    start, step = np.array(head.ImagePositionPatient, float), float(head.SliceThickness)
    where = np.argwhere(labels == 1)
    space = (
        start + where[:, :1] * step * np.cross(row, column)
        + where[:, 1:2] * float(head.PixelSpacing[0]) * column
        + where[:, 2:] * float(head.PixelSpacing[1]) * row
    )  # fmt: skip
    np.testing.assert_allclose(
        (space * [-1, -1, 1]).mean(0), points[volume == 1].mean(0), atol=1e-2
    )


def test_finer_voxels_maps_and_drawn_lesions_come_out_where_they_lie(tmp_path):
    affine = np.diag([-0.9, 1.1, 4.0, 1.0])
    affine[:3, :3] = np.linalg.qr(affine[:3, :3] + 0.1)[0] * [0.9, 1.1, 4.0]
    affine[:3, 3] = (12.5, -31.0, 40.0)
    random = torch.Generator().manual_seed(0)
    thick = Volume(900 * torch.rand(9, 8, 6, generator=random), affine, FileHeader())
    fine = affine @ np.diag([1.0, 1.0, 0.25, 1.0])
    grown = Volume(900 * torch.rand(9, 8, 24, generator=random), fine, FileHeader())
    mask = (torch.rand(9, 8, 24, generator=random) > 0.8).float()
    volumes = {
        "result": grown,
        "consistency": thick,
        "mask": Volume(mask, fine, FileHeader(dtype="uint8")),
    }
    paths = {role: write_volume(v, tmp_path / f"{role}.nii") for role, v in volumes.items()}
    scan = write_volume(thick, tmp_path / "scan.nii")
    made = write_results(Job("insert_mri_lesions", scan, True, {}), paths, tmp_path / "out")
    assert [path.name for path in made] == ["result", "consistency", "mask.dcm"]
    for role in ("result", "consistency"):
        found, file = in_space(tmp_path / "out" / role, paths[role], tmp_path / f"back-{role}")
        assert np.abs(found - file).max() < 900 / 32767
    assert read_segments(tmp_path / "out" / "mask.dcm", 1).sum() == mask.sum()
    told = pydicom.dcmread(tmp_path / "out" / "mask.dcm")
    assert told.SyntheticData == "YES"
    segment = told.SegmentSequence[0]
    algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Drawn with its image"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Lesion"


@pytest.mark.parametrize("name", [".", ".."])
def test_a_folder_without_a_name_of_its_own_is_refused(places, capsys, monkeypatch, name):
    scan = write_series(places / "in", voxels())
    (places / "empty").mkdir()
    monkeypatch.chdir(places / "empty")
    assert main(["mri", "segment", str(scan), name]) == 2
    said = capsys.readouterr().err
    assert "is no name of a result" in said
    assert "Traceback" not in said


def test_what_reads_back_otherwise_leaves_nothing_and_can_be_tried_again(tmp_path, monkeypatch):
    volume = Volume(900 * torch.rand(9, 8, 6), np.diag([1.0, 1.0, 2.0, 1.0]), FileHeader())
    scan, out = write_volume(volume, tmp_path / "scan.nii"), tmp_path / "out"
    job = Job("inpaint_mri", scan, True, {})
    out.mkdir()
    with monkeypatch.context() as change:
        change.setattr(dicom_results, "same_corners", lambda *_: False)
        with pytest.raises(RuntimeError, match="reads back as another volume"):
            write_results(job, {"result": scan}, out)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["out", "scan.nii"]
    check_dicom(scan, out)
    assert write_results(job, {"result": scan}, out) == [out / "result"]
    assert len(list((out / "result").iterdir())) == 6


def test_what_came_into_the_folder_meanwhile_is_left_as_it_is(tmp_path):
    volume = Volume(900 * torch.rand(9, 8, 6), np.diag([1.0, 1.0, 2.0, 1.0]), FileHeader())
    scan, out = write_volume(volume, tmp_path / "scan.nii"), tmp_path / "out"
    check_dicom(scan, out)
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    done = SimpleNamespace(name="inpaint_mri", draws=True, inputs=lambda _: {"scan": scan})
    with pytest.raises(Refusal, match="was given other files while"):
        write_dicom(done, None, {"result": scan}, {}, out)
    assert (out / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "scan.nii"]


def test_what_cannot_go_out_as_dicom_is_refused_before_work(places, capsys):
    scan = ball(places / "in")
    full = places / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    for target, words in ((full, "holds something"), (scan, "is an input of this job")):
        assert main(["mri", "segment", str(scan), str(target)]) == 2
        assert words in capsys.readouterr().err
    volume = read_scan(scan)
    skewed = volume.affine.copy()
    skewed[:3, 0] += 0.2 * skewed[:3, 1]
    file = write_volume(volume.with_data(volume.data, skewed), places / "skewed.nii.gz")
    assert main(["mri", "segment", str(file), str(places / "out")]) == 2
    assert "not at right angles" in capsys.readouterr().err
    assert sorted(path.name for path in places.iterdir()) == ["full", "in", "skewed.nii.gz"]
