"""No word of a header that may name a person reaches an output; drawn scans are known as such."""

import json
import os

import nibabel as nib
import numpy as np
import pytest
import torch
from dicoms import PATIENT, voxels, write_series

from core.refusal import Refusal
from medical.files.exact import differs, write_changed
from medical.files.nifti import read_volume, write_volume
from medical.files.privacy import DRAWN_HEAD, removal_remarks
from medical.files.scan import read_scan
from medical.files.synthetic import marked_synthetic
from medical.files.volume import FileHeader, Volume
from medical.lesions.request import FindAnomaliesRequest, InsertLesionsRequest
from medical.operations.edit_mri import Edit
from medical.operations.find_mri_anomalies import FindMRIAnomalies
from medical.operations.insert_mri_lesions import InsertMRILesions
from medical.operations.map_mri import Maps
from medical.operations.segment_mri import SegmentMRI
from medical.request import SegmentRequest
from medical.training.dataset import load_heads
from medical.training.heads import find_heads

NAME = b"Muster^Maria"
FREE_FIELDS = ("descrip", "aux_file", "db_name", "intent_name", "data_type", "unused_str")


def with_words(path, kind, *, swapped=False):
    """A file whose every free field, and an extension, hold a name."""
    data = np.random.default_rng(0).integers(0, 900, (5, 6, 7)).astype(np.int16)
    header = kind.header_class(endianness=">" if swapped else "<")
    image = kind(data.astype(">i2" if swapped else "<i2"), np.diag([1.0, 1, 2, 1]), header)
    for name in {*FREE_FIELDS} & set(header):
        size = image.header[name].dtype.itemsize
        image.header[name] = NAME[:size]
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, NAME))
    image.set_sform(np.diag([1.0, 1, 2, 1]), 1)
    nib.save(image, path)
    assert NAME[:9] in path.read_bytes()
    return path


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_free_fields_and_extensions_reach_no_output(tmp_path, kind, swapped):
    source = with_words(tmp_path / "in.nii", kind, swapped=swapped)
    volume = read_volume(source)
    removed = {"descrip", "aux_file", "intent_name", "extension of code 6"}
    assert removed <= set(volume.header.removed)
    assert volume.header.description == ""
    written = write_volume(volume, tmp_path / "out.nii")
    mask = np.zeros(volume.shape, dtype=bool)
    mask[2, 3, 4] = True
    changed = write_changed(source, mask, volume.data.numpy() + 7, tmp_path / "changed.nii")
    for file in (written, changed):
        assert NAME[:9] not in file.read_bytes()
    assert (differs(source, changed) == mask).all()
    before, after = nib.load(source), nib.load(changed)
    np.testing.assert_array_equal(before.affine, after.affine)
    for name in ("slice_start", "slice_end", "cal_max", "xyzt_units", "scl_slope"):
        np.testing.assert_array_equal(before.header[name], after.header[name])


def test_a_description_written_here_is_kept(tmp_path):
    volume = Volume(torch.rand(4, 5, 6), np.eye(4))
    one = write_volume(volume, tmp_path / "a.nii", description=DRAWN_HEAD)
    again = read_volume(one)
    assert again.header.synthetic
    assert again.header.removed == ()
    assert read_volume(write_volume(again, tmp_path / "b.nii")).header.synthetic


@pytest.mark.parametrize(
    "text",
    [
        b"Synthetic T1w SyMRI; DOE^JOHN 19600101",
        b"Lamina spinalis of DOE^JOHN",
        b"lesions, drawn by DOE^JOHN",
        b"Lamina map; research use\0DOE^JOHN",
        b"Lamina SR, mean of 8, seed 1; research use; DOE^JOHN",
        b"Synthetic (Lamina). Not a person.\nDOE^JOHN",
    ],
)
def test_nothing_is_kept_because_it_begins_like_a_description_written_here(tmp_path, text):
    source, mask = tmp_path / "in.nii", np.eye(4, dtype=bool)[:, :, None] & np.ones(4, bool)
    image = nib.Nifti1Image(np.arange(64, dtype=np.int16).reshape(4, 4, 4), np.eye(4))
    image.header["descrip"] = text
    nib.save(image, source)
    volume = read_volume(source)
    assert "descrip" in volume.header.removed
    assert not volume.header.synthetic
    ones = np.ones(volume.shape, np.float32)
    for file in (
        write_volume(volume, tmp_path / "out.nii"),
        write_changed(source, mask, ones, tmp_path / "changed.nii"),
    ):
        assert b"DOE" not in file.read_bytes()
        assert not read_volume(file).header.synthetic


def test_an_edited_series_that_is_drawn_says_so(tmp_path):
    source = write_series(tmp_path / "drawn", voxels(), SyntheticData="YES")
    volume = read_scan(source)
    mask = np.zeros(volume.shape, dtype=bool)
    mask[2, 3, 4] = True
    edited = write_changed(source, mask, volume.data.numpy() + 7, tmp_path / "edited.nii.gz")
    assert read_volume(edited).header.synthetic
    assert (differs(source, edited) == mask).all()


@pytest.mark.parametrize("drawn", [True, False])
def test_maps_of_a_drawn_head_say_so(tmp_path, drawn):
    header = FileHeader(description=DRAWN_HEAD if drawn else "")
    scan = Volume(torch.rand(4, 5, 6), np.eye(4), header)
    for operation, request in (
        (SegmentMRI(), SegmentRequest(scan="x.nii.gz", labels="tissues")),
        (SegmentMRI(), SegmentRequest(scan="x.nii.gz", labels="structures")),
        (FindMRIAnomalies(), FindAnomaliesRequest(scan="x.nii.gz")),
    ):
        ones = {role: np.ones(scan.shape, np.uint8) for role in operation.maps}
        maps = Maps(scan, ones)
        target = tmp_path / "map.nii.gz"
        for path in operation.write(request, maps, target, overwrite=True).values():
            found = read_volume(path).header
            assert found.synthetic == drawn
            assert operation.words(request) in found.description
    source = tmp_path / "in.nii.gz"
    edit = Edit(source, np.ones(scan.shape, bool), scan.data.numpy(), scan)
    write_volume(scan, edit.source)
    asked = InsertLesionsRequest(scan="x.nii.gz", load_ml=1)
    made = InsertMRILesions().write(asked, edit, tmp_path / "head.nii.gz", overwrite=False)
    for path in made.values():
        assert read_volume(path).header.synthetic == drawn


def test_what_is_left_out_is_told_by_name_alone():
    (line,) = removal_remarks(("Manufacturer", *map(str, range(9)), "PatientName"))
    assert line.startswith("left out of every output: PatientName, Manufacturer, 0")
    assert "and 5 more" in line
    assert removal_remarks(()) == ()


def head(path):
    data = torch.zeros(40, 40, 40)
    data[8:32, 8:32, 8:32] = 100 + 50 * torch.rand(24, 24, 24)
    path.parent.mkdir(parents=True, exist_ok=True)
    return data


def test_drawn_heads_are_known_and_not_trained_on_unasked(tmp_path):
    places = {n: tmp_path / f"sub-{n}" / "anat" / f"sub-{n}_T1w.nii.gz" for n in "1234"}
    for number, path in places.items():
        data = head(path)
        mark = "Synthetic (Lamina). Not a person." if number == "1" else None
        write_volume(Volume(data, np.eye(4)), path, description=mark)
    side = places["2"].with_name("sub-2_T1w.json")
    side.write_text(json.dumps({"ImageType": ["DERIVED", "SYNTHETIC"]}))
    table = "participant_id\tsynthetic\nsub-3\ttrue\nsub-4\tfalse\n"
    (tmp_path / "participants.tsv").write_text(table)
    marks = {number: marked_synthetic(path) for number, path in places.items()}
    assert marks == {"1": "its header", "2": side.name, "3": "participants.tsv", "4": ""}
    found = find_heads(tmp_path)
    assert list(found.taken) == ["sub-4"]
    assert "says that it is synthetic" in found.says()
    assert len(load_heads(tmp_path, synthetic=True)) == 4
    places["4"].unlink()
    with pytest.raises(Refusal, match="synthetic"):
        load_heads(tmp_path)


MARKS = {
    "SyntheticData": {"SyntheticData": "Yes"},
    "SyntheticData as a word of JSON": {"SyntheticData": True},
    "ImageType": {"ImageType": ["derived", "synthetic"]},
    "ImageType as one word": {"ImageType": "Synthetic"},
    "ImageType as DICOM writes it": {"ImageType": "DERIVED\\SYNTHETIC"},
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("said", MARKS.values(), ids=MARKS)
@pytest.mark.parametrize("name", ["sub-7_ses-1_T1w.json", "../../../T1w.json", "../../sub-7.json"])
def test_a_mark_is_known_in_any_case_encoding_and_place(tmp_path, name, said, encoding):
    scan = tmp_path / "sub-7" / "ses-1" / "anat" / "sub-7_ses-1_T1w.nii.gz"
    write_volume(Volume(head(scan), np.eye(4)), scan)
    (scan.parent / name).write_text(json.dumps(said), encoding=encoding)
    other = name.endswith("sub-7.json")  # it has no suffix: it speaks of no image
    assert bool(marked_synthetic(scan)) != other
    for no in ({"SyntheticData": "no"}, {"ImageType": ["ORIGINAL"]}, {}):
        (scan.parent / name).write_text(json.dumps(no), encoding=encoding)
        assert not marked_synthetic(scan)


@pytest.mark.parametrize(
    ("table", "drawn"),
    [
        ("participant_id\tsynthetic\nsub-7\tYes\n".encode("utf-16"), True),
        (b"\xef\xbb\xbfParticipant_ID\tage\tSynthetic \r\n7\tn/a\tTRUE\r\n", True),
        (b'"participant_id"\t"synthetic"\n"sub-7"\t"1"\n', True),
        (b"participant_id,synthetic\nsub-7,yes\n", True),
        (b"participant_id\tsynthetic\tsynthetic\nsub-7\tno\tyes\n", True),
        (b"participant_id\tsynthetic\nsub-7\n\0\n", False),
        (b"participant_id\tsynthetic\nsub-70\ttrue\n", False),
        (b"", False),
        (b'participant_id,notes,synthetic\nsub-7,"small, left",yes\n', True),
        (b'participant_id,notes,synthetic,x\nsub-7,"no, yes",no,1\n', False),
        (b"participant_id;synthetic;a,b\nsub-7;yes;1\n", True),
        (b'participant_id,notes,synthetic\nsub-1,"open,no\nsub-7,x,yes\n', True),
        (b'participant_id\tnotes\tsynthetic\nsub-1\t"open\tno\nsub-7\tx\tyes\n', True),
    ],
)
def test_tables_of_other_tools_are_read(tmp_path, table, drawn):
    scan = tmp_path / "sub-7" / "anat" / "sub-7_T1w.nii.gz"
    write_volume(Volume(head(scan), np.eye(4)), scan)
    (tmp_path / "participants.tsv").write_bytes(table)
    assert bool(marked_synthetic(scan)) == drawn


@pytest.mark.timeout(20)
def test_pipes_beside_a_scan_are_not_waited_for(tmp_path):
    scan = tmp_path / "sub-7" / "anat" / "sub-7_T1w.nii.gz"
    write_volume(Volume(head(scan), np.eye(4)), scan)
    for name in ("sub-7/anat/sub-7_T1w.json", "T1w.json", "participants.tsv", ".bidsignore"):
        os.mkfifo(tmp_path / name)
    assert not marked_synthetic(scan)
    assert list(find_heads(tmp_path).taken) == ["sub-7"]


def test_a_dataset_whose_scans_are_links_is_known_by_its_own_table(tmp_path):
    scan = tmp_path / "ds" / "sub-7" / "anat" / "sub-7_T1w.nii.gz"
    stored = write_volume(Volume(head(scan), np.eye(4)), tmp_path / "key.nii.gz")
    scan.symlink_to(stored)
    (tmp_path / "ds" / "participants.tsv").write_text("participant_id\tsynthetic\nsub-7\tyes\n")
    assert marked_synthetic(scan) == "participants.tsv"


def test_what_is_made_of_a_scan_that_only_its_sidecar_marks_says_so_itself(tmp_path):
    source = tmp_path / "scan.nii.gz"
    write_volume(Volume(head(source), np.eye(4)), source)
    plain = write_volume(read_scan(source), tmp_path / "plain.nii.gz")
    assert not read_volume(plain).header.synthetic
    (tmp_path / "scan.json").write_text(json.dumps({"SyntheticData": "Yes"}))
    scan = read_scan(source)
    assert scan.header.synthetic
    mask = np.zeros(scan.shape, dtype=bool)
    mask[20, 20, 20] = True
    edited = write_changed(source, mask, scan.data.numpy() + 7, tmp_path / "edited.nii.gz")
    for path in (edited, write_volume(scan, tmp_path / "again.nii.gz")):
        assert read_volume(path).header.synthetic
        assert read_volume(path).header.removed == ()
    assert (differs(source, edited) == mask).all()


def test_a_dicom_series_says_itself_that_it_is_drawn(tmp_path):
    assert not marked_synthetic(write_series(tmp_path / "a", voxels()))
    assert "0008,001C" in marked_synthetic(
        write_series(tmp_path / "b", voxels(), SyntheticData="YES")
    )
    series = write_series(tmp_path / "c", voxels(), SyntheticData="YES")
    for file in series.iterdir():  # pydicom warns of such a value, others write it
        file.write_bytes(file.read_bytes().replace(b"YES ", b"Yes "))
    assert marked_synthetic(series)
    kinds = ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC"]
    assert marked_synthetic(write_series(tmp_path / "d", voxels(), ImageType=kinds))


def test_the_record_names_fields_and_no_value(tmp_path):
    from medical.operations.edit_mri import header_facts

    facts, remarks = header_facts(
        read_scan(write_series(tmp_path / "b", voxels(), SyntheticData="YES"))
    )
    assert "PatientName" in facts["removed_from_header"]
    assert facts["synthetic_scan"] is True
    assert PATIENT not in json.dumps(facts) + "".join(remarks)
    assert "PatientID" in remarks[0] or "PatientName" in remarks[0]
