"""Headers as clinics fill them: nothing of them but grid and scale comes through, by any door."""

import json

import pydicom
import pytest
from dicoms import put_bytes, refused, turned, voxels, write_enhanced, write_series
from pydicom.uid import generate_uid

from medical.files.dicom import open_series, read_series
from medical.files.nifti import write_volume
from medical.operations.dicom_results import Job, write_results
from medical.operations.edit_mri import header_facts

WRITERS = {"classic": write_series, "enhanced": write_enhanced}
SECRETS = {
    "PatientName": "Kowalczyk^Agnieszka^Dr",
    "PatientID": "PESEL-71050412345",
    "OtherPatientIDs": "INS-99-112233",
    "PatientBirthDate": "19710504",
    "PatientAddress": "ul. Polna 7, 00-625 Warszawa",
    "PatientTelephoneNumbers": "+48 600 700 800",
    "PatientComments": "sister of Zofia Kowalczyk",
    "AdditionalPatientHistory": "fell from a horse in Sopot",
    "ReferringPhysicianName": "Nowak^Jan",
    "PerformingPhysicianName": "Lis^Ewa",
    "OperatorsName": "Bak^Piotr",
    "RequestingPhysician": "Wrona^Anna",
    "InstitutionName": "Szpital Bielanski",
    "InstitutionAddress": "Cegl\u00f3wska 80",
    "InstitutionalDepartmentName": "Neuroradiologia 3",
    "StationName": "MRSKYRA-7",
    "DeviceSerialNumber": "SN-166032",
    "ProtocolName": "MS follow-up for Kowalczyk",
    "StudyDescription": "Glowa Kowalczyk kontrola",
    "SeriesDescription": "t2_flair_AK",
    "ImageComments": "asked for by Dr Nowak",
    "AccessionNumber": "ACC-20391",
    "StudyDate": "20230917",
    "AcquisitionTime": "081533",
    "PatientWeight": "68.250",
}


def filled(folder, kind):
    """A series whose every other field says something of a person, private ones inside too."""
    WRITERS[kind](folder, voxels(), cosines=turned((0.2, -0.1, 0.3)))
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        ds.SpecificCharacterSet = "ISO_IR 100"
        for name, value in SECRETS.items():
            setattr(ds, name, value)
        asked = pydicom.Dataset()
        asked.RequestedProcedureDescription = "MR of Agnieszka Kowalczyk"
        asked.add_new((0x0029, 0x0010), "LO", "SIEMENS CSA HEADER")
        asked.add_new((0x0029, 0x1010), "OB", b"tPatientName = Kowalczyk, Agnieszka")
        ds.RequestAttributesSequence = [asked]
        ds.add_new((0x0029, 0x0010), "LO", "SIEMENS CSA HEADER")
        ds.add_new((0x0029, 0x1020), "OB", b"tReferringPhysician = Nowak, Jan ")
        ds.add_new((0x6000, 0x0022), "LO", "drawn by Dr Lis")
        ds.save_as(path)
    return folder


def has_letters(word):
    """Whether a word is more than a number, which identifiers may hold by chance."""
    return any(map(str.isalpha, word))


def traces(content):
    """Words of the headers that stand in bytes."""
    words = {part for value in SECRETS.values() for part in value.replace("^", " ").split()}
    return sorted(
        w for w in words if len(w) > 4 and has_letters(w) and w.encode("latin-1") in content
    )


@pytest.mark.parametrize("kind", WRITERS)
def test_nothing_of_a_clinics_header_comes_out_and_all_of_it_is_named(tmp_path, kind):
    folder = filled(tmp_path / "in", kind)
    assert len(traces(b"".join(path.read_bytes() for path in folder.iterdir()))) > 20
    scan = read_series(folder)
    assert {*SECRETS, "RequestedProcedureDescription", "private fields"} <= {*scan.header.removed}
    file = write_volume(scan, tmp_path / "out.nii")
    made = write_results(
        Job("inpaint_mri", folder, True, {}), {"result": file}, tmp_path / "dicom"
    )
    written = [file, *(path for each in made for path in each.iterdir())]
    for path in written:
        assert traces(path.read_bytes()) == []
    facts, remarks = header_facts(scan)
    assert facts["removed_from_header"] == list(scan.header.removed)
    assert traces(json.dumps([facts, remarks]).encode()) == []
    assert "PatientName" in remarks[0]


@pytest.mark.parametrize("kind", WRITERS)
def test_what_goes_out_refers_to_its_source_by_identifiers_alone(tmp_path, kind):
    frame = generate_uid()
    folder = WRITERS[kind](tmp_path / "in", voxels(), FrameOfReferenceUID=frame)
    file = write_volume(read_series(folder), tmp_path / "out.nii")
    (made,) = write_results(Job("inpaint_mri", folder, True, {}), {"result": file}, tmp_path / "d")
    sources = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    for path in made.iterdir():
        head = pydicom.dcmread(path)
        told = [(s.ReferencedSOPClassUID, s.ReferencedSOPInstanceUID) for s in
                head.SourceImageSequence]  # fmt: skip
        assert told == [(s.SOPClassUID, s.SOPInstanceUID) for s in sources]
        assert head.FrameOfReferenceUID == frame
        assert head.StudyInstanceUID != sources[0].StudyInstanceUID


@pytest.mark.parametrize("marks", [{}, {"SyntheticData": "YES"}])
def test_no_result_of_a_scan_claims_that_identity_is_removed(tmp_path, marks):
    pytest.importorskip("highdicom")
    scan = write_series(tmp_path / "in", voxels(), FrameOfReferenceUID=generate_uid(), **marks)
    volume = read_series(scan)
    file = write_volume(volume, tmp_path / "out.nii")
    labels = volume.with_data((volume.data > 500).float(), dtype="uint8")
    mask = write_volume(labels, tmp_path / "mask.nii")
    jobs = {
        "image": (Job("inpaint_mri", scan, True, {}), {"result": file}),
        "labels": (Job("segment_mri", scan, False, {"1": "CSF"}), {"result": mask}),
        "file": (Job("inpaint_mri", file, True, {}), {"result": file, "mask": mask}),
    }
    for name, (job, paths) in jobs.items():
        write_results(job, paths, tmp_path / name)
        files = sorted((tmp_path / name).rglob("*.dcm"))
        assert files
        for head in map(pydicom.dcmread, files):
            assert head.PatientIdentityRemoved == "NO"
            if head.Modality == "SEG":
                continue
            assert head.RecognizableVisualFeatures == "YES"
            said = "; ".join(head.DeidentificationMethod)
            assert "a face may be in the voxels" in said
            assert all(len(part) <= 64 for part in head.DeidentificationMethod)
            for word in ("image UIDs", "frame UID"):
                assert (word in said) is (name != "file")


@pytest.mark.parametrize("spelled", [b"YES", b"yes", b"Yes "])
def test_burned_in_text_is_known_in_any_spelling(tmp_path, spelled):
    folder = write_series(tmp_path / "in", voxels(), BurnedInAnnotation="NO")
    assert open_series(folder)
    put_bytes(folder, "BurnedInAnnotation", spelled)
    refused(folder, "text is burned into its pixels")
