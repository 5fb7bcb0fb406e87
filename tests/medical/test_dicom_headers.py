"""Headers of DICOM files that say what no scan can be: refused, with the reason."""

import tracemalloc

import pydicom
import pytest
from dicoms import change, put_bytes, refused, voxels, write_enhanced, write_series
from pydicom.datadict import tag_for_keyword

from core.refusal import Refusal
from medical.files.dicom import open_series, read_series
from medical.files.scan import scan_size

WRITERS = {"classic": write_series, "enhanced": write_enhanced}


@pytest.mark.parametrize(
    ("spelled", "synthetic"),
    [
        ({"SyntheticData": "Yes"}, True),
        ({"SyntheticData": "yes "}, True),
        ({"SyntheticData": "NO"}, False),
        ({"ImageType": ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC"]}, True),
        ({"ImageType": ["DERIVED", "SECONDARY", "OTHER", "Synthetic"]}, True),
    ],
)
def test_the_mark_is_known_in_any_spelling(tmp_path, spelled, synthetic):
    with pydicom.config.disable_value_validation():
        folder = write_series(tmp_path / "in", voxels(), **spelled)
    assert open_series(folder).synthetic is synthetic
    assert read_series(folder).header.synthetic is synthetic


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("value", [b"abc", b"1\\2", b"NaN", b"inf", b"1e39", b"\xff\xfe"])
def test_a_scale_that_is_no_number_is_refused(tmp_path, kind, name, value):
    folder = WRITERS[kind](tmp_path / "in", voxels(), slope=2.0)
    put_bytes(folder, name, value)
    refused(folder)


def test_a_syntax_that_is_none_is_refused_without_a_word_of_the_header(tmp_path, caplog):
    folder = write_series(tmp_path / "in", voxels())
    put_bytes(folder, "TransferSyntaxUID", b"1>2.840.10008.1.2.1\0")
    with pytest.raises(Refusal, match="no pixels that can be read"):
        read_series(folder)
    assert not caplog.records


SHARED, FRAMES = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(("stored", "value"), [("LO", "x"), ("LO", ["x", "y"]), ("US", 3)])
@pytest.mark.parametrize("name", [SHARED, FRAMES, "ImageType"])
def test_a_field_that_is_stored_as_another_kind_says_nothing(tmp_path, kind, stored, value, name):
    folder = WRITERS[kind](tmp_path / "in", voxels())
    stored_as(folder, lambda ds: ds, name, stored, value)
    if kind == "classic" or name == "ImageType":
        assert read_series(folder).shape == (10, 12, 6)
    else:
        refused(folder)


@pytest.mark.parametrize(("stored", "value"), [("LO", "x"), ("LO", ["x", "y"]), ("US", 3)])
@pytest.mark.parametrize("name", ["MRImageFrameTypeSequence", "PlanePositionSequence"])
def test_a_group_of_a_frame_that_is_stored_as_another_kind_is_none(tmp_path, stored, value, name):
    folder = write_enhanced(tmp_path / "in", voxels())
    stored_as(folder, lambda ds: ds[FRAMES].value[0], name, stored, value)
    if name == "PlanePositionSequence":
        refused(folder)
    else:
        assert read_series(folder).shape == (10, 12, 6)


def stored_as(folder, part, name, stored, value):
    """Another kind and value for a field of each file, or of a part of it."""
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        where = part(ds)
        tag = tag_for_keyword(name)
        if tag in where:
            del where[tag]
        where.add_new(tag, stored, value)
        ds.save_as(path)


def test_a_slope_of_zero_is_refused(tmp_path):
    folder = write_series(tmp_path / "in", voxels(), slope=0)
    refused(folder, "the RescaleSlope 0", "one intensity")


@pytest.mark.parametrize("name", ["Rows", "Columns"])
@pytest.mark.parametrize("kind", WRITERS)
def test_an_image_without_its_size_is_refused(tmp_path, kind, name):
    folder = WRITERS[kind](tmp_path / "in", voxels(), NumberOfFrames=6)
    change(folder, **{name: None})
    refused(folder, "how many rows and columns")


def test_frames_without_places_are_refused(tmp_path):
    folder = write_enhanced(tmp_path / "in", voxels())
    change(folder, NumberOfFrames=5)
    refused(folder, "the places of 6 frames, and holds 5")
    folder = write_series(tmp_path / "two", voxels(), NumberOfFrames=2)
    refused(folder, "the places of 1 frame, and holds 2")


@pytest.mark.parametrize("kind", WRITERS)
def test_headers_that_ask_for_gigabytes_are_refused_before_anything_is(tmp_path, kind):
    folder = WRITERS[kind](tmp_path / "in", voxels())
    change(folder, Rows=40000, Columns=40000)
    tracemalloc.start()
    refused(folder, "where its header asks for")
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_packed_headers_that_ask_for_gigabytes_are_refused_before_anything_is(tmp_path):
    folder = write_series(tmp_path / "in", voxels())
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        ds.compress(pydicom.uid.RLELossless)
        ds.Rows = ds.Columns = 40000
        ds.save_as(path)
    refused(folder, "no packing is that tight")


def test_the_size_of_a_series_is_told_without_its_voxels(tmp_path):
    folder = write_series(tmp_path / "in", voxels((4, 400, 300)), MRAcquisitionType="3D")
    tracemalloc.start()
    shape, _ = scan_size(folder)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert shape == read_series(folder).shape
    assert most < 4 * 400 * 300


@pytest.mark.parametrize("kind", WRITERS)
def test_every_second_slice_missing_is_seen_by_what_the_header_says(tmp_path, kind):
    folder = WRITERS[kind](tmp_path / "in", voxels(), spacing=(1.0, 1.0, 6.0))
    put_bytes(folder, "SpacingBetweenSlices", b"3.0")
    refused(folder, "slices 6 mm apart", "of 2 slices 1 would be missing")


def test_slices_with_a_gap_between_them_are_read(tmp_path):
    folder = write_series(tmp_path / "in", voxels(), spacing=(1.0, 1.0, 6.0))
    put_bytes(folder, "SliceThickness", b"5.0")
    assert read_series(folder).spacing_mm[2] == pytest.approx(6)
    put_bytes(folder, "SpacingBetweenSlices", b"1.0")  # as some scanners tell the gap
    assert read_series(folder).spacing_mm[2] == pytest.approx(6)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "the phase of the signal"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]}, "the phase"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "R_IR", "R", "IR"]}, "the real part"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "IMAGINARY"]}, "the imaginary part"),
        ({"ComplexImageComponent": "PHASE"}, "the phase"),
    ],
)
def test_images_of_no_magnitude_are_refused(tmp_path, fields, words):
    folder = write_series(tmp_path / "in", voxels(), **fields)
    refused(folder, words, "the magnitude images")


def test_frames_of_no_magnitude_are_refused(tmp_path):
    folder = write_enhanced(tmp_path / "in", voxels())
    (path,) = folder.iterdir()
    ds = pydicom.dcmread(path)
    kind = pydicom.Dataset()
    kind.FrameType, kind.ComplexImageComponent = ["ORIGINAL", "PRIMARY", "M", "NONE"], "REAL"
    ds.PerFrameFunctionalGroupsSequence[2].MRImageFrameTypeSequence = [kind]
    ds.save_as(path)
    refused(folder, "the real part of the signal")
