"""Scans as people bring them: damaged, cut, or with a header that lies."""

import gzip
import struct
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.refusal import Refusal
from medical.files.container import check_size
from medical.files.nifti import read_size, read_volume, write_volume
from medical.files.volume import FileHeader, Grid, Volume, finer_grid, same_place

AFFINE = np.diag([-1.0, 1.0, 4.0, 1.0])
VOXELS = np.random.default_rng(0).integers(0, 900, (10, 12, 6)).astype(np.int16)


def blob(data=VOXELS, *, sform=1, qform=1, kind=nib.Nifti1Image):
    """The bytes of a single-file scan, not packed."""
    image = kind(data, AFFINE)
    image.set_sform(AFFINE, sform)
    image.set_qform(AFFINE, qform)
    return bytearray(image.to_bytes())


def told(begin, form, *values, **fields):
    """A scan whose header holds other values from byte ``begin`` on."""
    found = blob(**fields)
    struct.pack_into(form, found, begin, *values)
    return bytes(found)


def put(folder, name, content):
    path = folder / name
    path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (told(42, "<3h", 30000, 30000, 30000), "header asks for 54000000000352: "),
        (told(42, "<3h", 10, 12, 12), r"header asks for 3232: .* dimensions true; copy"),
        (told(108, "<f", 0), r"begin at byte 0 \(vox_offset\), inside the header: "),
        (told(108, "<f", float("inf")), "scan"),
        (told(80, "<f", 0, sform=0), r"size \(0.0, 1.0, 4.0\) \(pixdim\), and has no sform: "),
        (told(84, "<2f", 0, 0, sform=0), r"size \(1.0, 0.0, 0.0\)"),
        (bytes(blob(VOXELS * 1e300)), r"up to 8.9\de\+302: .* float32, at most 3.4e\+38; divide"),
        (told(112, "<2f", 3e38, 0), "float32, at most"),
        (told(292, "<f", 1e29), r"puts voxels 1e\+29 mm from .*: at most 10000 mm can be told"),
        (told(324, "<f", -8.8e11), "puts voxels 8.8e.11 mm from the scanner's center: .*; repair"),
        (told(123, "<b", 1), "puts voxels 2.4e.04 mm from the scanner's center: .*unit of length"),
    ],
)
def test_a_header_that_lies_is_refused_by_name(tmp_path, name, content, words):
    path = put(tmp_path, name, content)
    with pytest.raises(Refusal, match=words) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_dimensions_that_lie_are_refused_before_any_voxel_is_read(tmp_path):
    path = put(tmp_path, "scan.nii.gz", told(42, "<3h", 30000, 30000, 30000))
    with pytest.raises(Refusal, match="header asks for 54000000000352"):
        read_size(path)
    with (tmp_path / "huge.nii").open("wb") as file:
        file.truncate(2**50 // 2**10)  # a hole that takes no room
    with pytest.raises(Refusal, match=r"1099\.5 GB: a scan is held in memory"):
        check_size(tmp_path / "huge.nii", 2**40)


def test_nifti_2_is_held_to_the_same_rules(tmp_path):
    content = blob(kind=nib.Nifti2Image, sform=0)
    struct.pack_into("<d", content, 112, 0.0)
    with pytest.raises(Refusal, match=r"size \(0.0, 1.0, 4.0\)"):
        read_volume(put(tmp_path, "scan.nii.gz", bytes(content)))
    content = blob(kind=nib.Nifti2Image)
    struct.pack_into("<q", content, 168, 348)
    with pytest.raises(Refusal, match=r"scan\.nii"):
        read_volume(put(tmp_path, "scan.nii", bytes(content)))


def test_an_sform_says_the_size_where_pixdim_is_zero(tmp_path):
    path = put(tmp_path, "scan.nii.gz", told(80, "<3f", 0, 0, 0, qform=0))
    assert read_volume(path).spacing_mm == (1.0, 1.0, 4.0)


def test_a_gzip_file_is_held_against_its_checksum_to_its_end(tmp_path):
    plain = bytes(blob())
    packed = bytearray(gzip.compress(plain, 0, mtime=0))
    packed[1000] ^= 0x3F  # stored, not compressed: only the checksum can tell
    (tmp_path / "voxel.nii.gz").write_bytes(packed)
    with pytest.raises(Refusal, match=r"voxel.nii.gz is damaged .* checksum; copy or export"):
        read_volume(tmp_path / "voxel.nii.gz")
    after = bytearray(gzip.compress(plain + bytes(9000), 0, mtime=0))
    after[-500] ^= 1  # behind the last voxel
    (tmp_path / "after.nii.gz").write_bytes(after)
    with pytest.raises(Refusal, match="is damaged"):
        read_volume(tmp_path / "after.nii.gz")
    for length in (1200, -8, -1):
        (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(plain)[:length])
        with pytest.raises(Refusal, match="it ends before its checksum"):
            read_volume(tmp_path / "cut.nii.gz")


def test_gzip_that_is_odd_and_whole_is_read(tmp_path):
    plain = bytes(blob())
    packed = gzip.compress(plain, mtime=0)
    for name, content in {
        "members": gzip.compress(plain[:700]) + gzip.compress(plain[700:]),
        "zeros": packed + bytes(512),
        "garbage": packed + b"garbage after the end" * 10,
        "longer": gzip.compress(plain + bytes(9999)),
    }.items():
        (tmp_path / f"{name}.nii.gz").write_bytes(content)
        read = read_volume(tmp_path / f"{name}.nii.gz")
        np.testing.assert_array_equal(read.data.numpy(), VOXELS)


@pytest.mark.parametrize("more", [1, 2, 4])
def test_one_volume_with_further_axes_of_one_is_a_scan(tmp_path, more):
    image = nib.Nifti1Image(VOXELS.reshape(*VOXELS.shape, *[1] * more), AFFINE)
    image.header["slice_end"], image.header["slice_code"] = 5, 1
    nib.save(image, tmp_path / "in.nii.gz")
    volume = read_volume(tmp_path / "in.nii.gz")
    assert volume.shape == read_size(tmp_path / "in.nii.gz")[0] == VOXELS.shape
    np.testing.assert_array_equal(volume.data.numpy(), VOXELS)
    out = nib.load(write_volume(volume, tmp_path / "out.nii.gz"))
    assert out.shape == VOXELS.shape
    assert (int(out.header["slice_end"]), int(out.header["slice_code"])) == (5, 1)
    np.testing.assert_array_equal(out.affine, AFFINE)


@pytest.mark.parametrize("shape", [(10, 12, 6, 2), (10, 12, 1, 6), (10, 12, 6, 1, 3), (12, 6)])
def test_several_volumes_or_a_picture_are_refused(tmp_path, shape):
    nib.save(nib.Nifti1Image(np.ones(shape, np.int16), AFFINE), tmp_path / "in.nii.gz")
    with pytest.raises(Refusal, match="shape"):
        read_volume(tmp_path / "in.nii.gz")


def place(affine, shape=(40, 48, 12), units=2):
    return Volume(torch.zeros(shape), affine, replace(FileHeader(), units=units))


def scaled(factor, shift=0.0):
    affine = AFFINE.copy()
    affine[:3] *= factor
    affine[:3, 3] += shift
    return affine


def test_a_mask_lies_where_its_millimeters_say():
    scan, in_meters = place(AFFINE), place(scaled(1e-3), units=1)
    assert same_place(scan, in_meters)
    assert same_place(in_meters, scan)
    assert not same_place(place(scaled(1e-3, 5e-3), units=1), in_meters)  # 5 mm away
    assert not same_place(place(AFFINE, units=1), scan)
    wider = AFFINE.copy()
    wider[0, 0] = -1.009  # over 40 voxels a third of a voxel
    assert not same_place(place(wider), scan)
    rounded = AFFINE + np.float64(1e-4)
    rounded[3] = AFFINE[3]
    assert same_place(place(rounded), scan)
    assert not same_place(place(AFFINE, (40, 48, 13)), scan)
    grid = finer_grid(in_meters, (1.0, 1.0, 1.0))
    assert isinstance(grid, Grid)
    assert same_place(place(grid.affine, grid.shape, units=1), in_meters, grid)
    assert not same_place(place(grid.affine, grid.shape), in_meters, grid)


damage = st.lists(st.tuples(st.integers(0, 355), st.integers(0, 255)), min_size=1, max_size=6)


@settings(max_examples=300)
@given(damage, st.sampled_from(["scan.nii", "scan.nii.gz"]), st.sampled_from([0, 1]))
def test_any_damage_to_a_header_gives_a_volume_or_a_refusal(bytes_changed, name, sform):
    content = blob(sform=sform)
    for position, value in bytes_changed:
        content[position] = value
    with TemporaryDirectory() as folder:
        path = put(Path(folder), name, bytes(content))
        try:
            volume = read_volume(path)
            assert torch.isfinite(volume.data).all()
            assert min(volume.spacing_mm) > 0
            written = read_volume(write_volume(volume, Path(folder) / "out.nii"))
            assert written.shape == volume.shape
        except Refusal:
            pass
        assert not list(Path(folder).glob(".part-*"))


@settings(max_examples=100)
@given(st.data())
def test_any_damage_to_a_gzip_file_gives_the_same_voxels_or_a_refusal(data):
    packed = bytearray(gzip.compress(bytes(blob()), mtime=0))
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    packed = packed[: data.draw(st.integers(1, len(packed)))]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nii.gz"
        path.write_bytes(packed)
        try:
            found = read_volume(path).data.numpy()
        except Refusal:
            return
        np.testing.assert_array_equal(found, VOXELS)
