"""Random damage in DICOM series: the volume as written, or a refusal, and never a traceback."""

import random
import struct
from functools import partial

import numpy as np
import pytest
import torch
from damages import check_sentence, damaged, outcome
from dicoms import PATIENT, elements, put_element, turned, voxels, write_enhanced, write_series

from medical.files.nifti import read_volume, write_volume
from medical.files.scan import read_scan, scan_size
from medical.files.synthetic import marked_synthetic

GROUP = 100
GROUPS = [pytest.param(seed, marks=[pytest.mark.slow] * (seed > 0)) for seed in range(20)]
HEADER = 1100  # bytes before the pixels of such a file, about
WRITERS = {"classic": write_series, "enhanced": write_enhanced}
NUMBERS = (
    "Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "SamplesPerPixel", "PixelSpacing", "ImagePositionPatient",
    "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "SliceThickness",
    "SpacingBetweenSlices", "InstanceNumber",
)  # fmt: skip
WORDS = (
    "Modality", "ImageType", "PhotometricInterpretation", "BurnedInAnnotation", "SyntheticData",
    "MRAcquisitionType", "SeriesInstanceUID", "SpecificCharacterSet", "ComplexImageComponent",
    "PatientName", "PatientBirthDate",
)  # fmt: skip
VALUES = (
    b"", b"0", b"-1", b"1", b"NaN", b"inf", b"-Infinity", b"1e39", b"1e400", b"abc", b"1\\2",
    b"1\\2\\3", b"0.9\\x", b"\\\\", b"1,5", b"65535", b"99999999", b"4294967296", b"0x10",
    b"1 2", b"\0\0", b"\xff\xfe", b"\xe9\xff", b"YES", b"yes", b"P", b"ORIGINAL\\PRIMARY\\P",
    b"SYNTHETIC", b"MR", b"ISO 2022 IR 6", b"nobody\\s", b"3D",
)  # fmt: skip


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Series of either kind, small and oblique: their files' bytes by name."""
    found = {}
    for kind, write in WRITERS.items():
        folder = tmp_path_factory.mktemp(kind)
        data = voxels((4, 6, 5), signed=True)
        write(folder, data, cosines=turned((0.2, -0.1, 0.3)), slope=0.5, inter=-3.0)
        found[kind] = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return found


def edited(draw, content):
    """The bytes with other values for a few elements, some of them binary, or without them."""
    for _ in range(draw.choice([1, 1, 2, 3])):
        found = list(elements(content, draw.choice(NUMBERS if draw.random() < 0.8 else WORDS)))
        if not found:
            continue
        found_here = draw.choice(found)
        place, start, length, _ = found_here
        value = draw.choice(VALUES)
        if content[place + 4 : place + 6] in (b"US", b"UL"):
            number = draw.choice([0, 1, 2, 7, 8, 12, 32, 40000, 65535])
            value = draw.choice([struct.pack("<H", number), b"", struct.pack("<HH", number, 1)])
        if draw.random() < 0.15:
            content = content[:place] + content[start + length :]
            continue
        content = put_element(content, found_here, value)
    return content


def held(folder):
    """The volume, held against what is told without its voxels and against a copy of it."""
    volume, (shape, spacing) = read_scan(folder), scan_size(folder)
    assert (volume.shape, volume.spacing_mm) == (shape, pytest.approx(spacing))
    assert torch.isfinite(volume.data).all()
    assert np.isfinite(volume.affine).all()
    target = folder.with_name("copy.nii")
    try:
        copy = read_volume(write_volume(volume, target))
        torch.testing.assert_close(copy.data, volume.data, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(copy.affine, volume.affine, rtol=1e-6, atol=1e-3)
    finally:
        target.unlink(missing_ok=True)
    return marked_synthetic(folder)


@pytest.mark.parametrize("how", ["bytes", "elements"])
@pytest.mark.parametrize("seed", GROUPS)
def test_a_damaged_series_is_read_as_it_is_or_refused(series, tmp_path, seed, how):
    draw = random.Random(f"{seed}{how}")
    folder, numbers = tmp_path / "in", {"refused": 0, "read": 0}
    folder.mkdir()
    for _ in range(GROUP):
        kind = draw.choice(sorted(WRITERS))
        hit = draw.sample(sorted(series[kind]), draw.choice([1, len(series[kind])]))
        turn = draw.random()
        for name, content in series[kind].items():
            again = random.Random(turn)  # the same damage in all files that are hit
            change = {"bytes": partial(damaged, header=HEADER), "elements": edited}[how]
            (folder / name).write_bytes(change(again, content) if name in hit else content)
        _, said = outcome(partial(held, folder))
        if said:
            check_sentence(said, str(folder))
            assert PATIENT not in said
        numbers["refused" if said else "read"] += 1
        for path in folder.iterdir():
            path.unlink()
        assert not [path for path in tmp_path.iterdir() if path != folder]
    assert numbers["refused"] > 0.2 * GROUP
    assert numbers["read"] > 0.1 * GROUP
