"""DICOM series written for tests, as scanners write them, by pydicom."""

import struct

import numpy as np
import pydicom
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

from core.refusal import Refusal
from medical.files.dicom import read_series
from medical.files.scan import scan_size

PATIENT = "Muster^Maria"


def turned(angles=(0.0, 0.0, 0.0), plane="axial"):
    """Direction cosines of rows and columns, (6,), of a plane turned by angles."""
    base = {
        "axial": ((1, 0, 0), (0, 1, 0)),
        "sagittal": ((0, 1, 0), (0, 0, -1)),
        "coronal": ((1, 0, 0), (0, 0, -1)),
    }[plane]
    a, b, c = angles
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.concatenate([x @ y @ z @ np.array(each) for each in base])


def voxels(shape=(6, 12, 10), *, signed=False, seed=0):
    """(slices, rows, columns) with no symmetry."""
    low, dtype = (-200, np.int16) if signed else (0, np.uint16)
    return np.random.default_rng(seed).integers(low, 900, shape).astype(dtype)


def _about(data, **fields):
    ds = Dataset()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = PATIENT, "4711", "19700101"
    ds.Modality, ds.Manufacturer, ds.InstitutionName = "MR", "Nobody", "Clinic of the Test"
    ds.StudyInstanceUID, ds.FrameOfReferenceUID = generate_uid(), generate_uid()
    ds.SeriesInstanceUID = fields.pop("SeriesInstanceUID", None) or generate_uid()
    ds.StudyDate, ds.StudyTime, ds.SeriesNumber, ds.AcquisitionNumber = "20200202", "101010", 3, 1
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "A1", "Doc^Tor"
    ds.ImageType, ds.MRAcquisitionType = ["ORIGINAL", "PRIMARY", "M"], "2D"
    ds.ScanningSequence, ds.RepetitionTime, ds.EchoTime, ds.FlipAngle = "SE", 500, 10, 90
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = data.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = int(data.dtype.kind == "i")
    ds.add_new((0x0019, 0x0010), "LO", "PRIVATE MAKER")
    ds.add_new((0x0019, 0x1001), "LO", PATIENT)
    for name, value in fields.items():
        setattr(ds, name, value)
    return ds


def _save(ds, path, kind):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta = meta
    ds.save_as(path, enforce_file_format=True)


def write_series(
    folder, data, *, cosines=None, spacing=(1.1, 0.9, 3.0), origin=(-50.5, -70.25, 20.125),
    slope=None, inter=0.0, names=None, **fields,
):  # fmt: skip
    """A classic series, a file for each slice; its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    cosines = turned() if cosines is None else cosines
    normal = np.cross(cosines[:3], cosines[3:])
    fields.setdefault("SeriesInstanceUID", generate_uid())
    study = generate_uid()
    for k, plane in enumerate(data):
        ds = _about(data, **fields)
        ds.StudyInstanceUID = study
        ds.InstanceNumber = k + 1
        ds.ImageOrientationPatient = [f"{c:.10f}"[:16] for c in cosines]
        place = np.array(origin) + normal * spacing[2] * k
        ds.ImagePositionPatient = [f"{p:.10f}"[:16] for p in place]
        ds.PixelSpacing = [spacing[0], spacing[1]]
        ds.SliceThickness, ds.SpacingBetweenSlices = spacing[2], spacing[2]
        if slope is not None:
            each = slope[k] if isinstance(slope, list) else slope
            ds.RescaleSlope, ds.RescaleIntercept = str(each), str(inter)
        ds.PixelData = plane.tobytes()
        name = f"{k:03d}.dcm" if names is None else names[k]
        _save(ds, folder / name, MRImageStorage)
    return folder


def write_enhanced(
    folder, data, *, cosines=None, spacing=(1.1, 0.9, 3.0), origin=(-50.5, -70.25, 20.125),
    slope=None, inter=0.0, order=None, **fields,
):  # fmt: skip
    """An enhanced series, all in one file; its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    cosines = turned() if cosines is None else cosines
    normal = np.cross(cosines[:3], cosines[3:])
    order = list(range(len(data))) if order is None else order
    ds = _about(data, **fields)
    ds.InstanceNumber, ds.NumberOfFrames = 1, len(data)
    shared = Dataset()
    turn, size = Dataset(), Dataset()
    turn.ImageOrientationPatient = [f"{c:.10f}"[:16] for c in cosines]
    size.PixelSpacing, size.SliceThickness = [spacing[0], spacing[1]], spacing[2]
    size.SpacingBetweenSlices = spacing[2]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [turn], [size]
    scale = Dataset()
    scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = (
        str(slope or 1),
        str(inter),
        "US",
    )
    shared.PixelValueTransformationSequence = [scale]
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in order:
        frame, plane, content = Dataset(), Dataset(), Dataset()
        place = np.array(origin) + normal * spacing[2] * k
        plane.ImagePositionPatient = [f"{p:.10f}"[:16] for p in place]
        content.StackID, content.InStackPositionNumber = "1", k + 1
        content.DimensionIndexValues = [1, k + 1]
        frame.PlanePositionSequence, frame.FrameContentSequence = [plane], [content]
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    ds.PixelData = np.stack([data[k] for k in order]).tobytes()
    _save(ds, folder / "enhanced.dcm", EnhancedMRImageStorage)
    return folder


def elements(content, name):
    """Places of an element's bytes: start, length of its value, width of that length."""
    tag = tag_for_keyword(name)
    mark = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    place = content.find(mark)
    while place >= 0:
        code = content[place + 4 : place + 6]
        long = code in (b"OB", b"OW", b"SQ", b"UN", b"UT")
        start = place + (12 if long else 8)
        width = "<I" if long else "<H"
        (length,) = struct.unpack_from(width, content, start - struct.calcsize(width))
        yield place, start, length, width
        place = content.find(mark, start)


def put_element(content, found, value):
    """The bytes with another value for one of their ``elements``, whatever it is."""
    _, start, length, width = found
    value += b" " * (len(value) % 2)
    told = struct.pack(width, len(value))
    return content[: start - len(told)] + told + value + content[start + length :]


def put_bytes(folder, name, value):
    """A value in the headers of all files that no DICOM library would write."""
    for path in folder.iterdir():
        content = path.read_bytes()
        for found in reversed(list(elements(content, name))):
            content = put_element(content, found, value)
        path.write_bytes(content)


def change(folder, **fields):
    """Other header fields in every file."""
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        for name, value in fields.items():
            if value is None:
                del ds[name]
            else:
                setattr(ds, name, value)
        ds.save_as(path)


def refused(folder, *words):
    """Hold a folder to its refusal, by both readers, and the refusal to naming nobody."""
    with pytest.raises(Refusal) as error:
        read_series(folder)
    said = str(error.value)
    for word in words:
        assert word in said
    assert PATIENT not in said
    with pytest.raises(Refusal):
        scan_size(folder)
