"""The geometry contract: what a NIfTI file says about space comes back as it was."""

import gzip
import itertools
import os

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from medical.files.nifti import is_sheared, read_size, read_volume, write_volume
from medical.files.volume import Volume, finer_grid

ORIENTATIONS = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]


def rotation(angles):
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        turn[[i, j], [i, j]] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def make_affine(
    spacing, order=(0, 1, 2), signs=(1.0, 1.0, 1.0), angles=(0, 0, 0), origin=(0, 0, 0)
):
    affine = np.eye(4)
    axes = np.zeros((3, 3))
    for column, (row, sign) in enumerate(zip(order, signs, strict=True)):
        axes[row, column] = sign * spacing[column]
    affine[:3, :3] = rotation(angles) @ axes
    affine[:3, 3] = origin
    return affine


def save(path, data, affine, *, sform=1, qform=1, units=10, slope=None, inter=None, descrip=b""):
    image = nib.Nifti1Image(data, affine)
    image.set_qform(affine, qform)
    image.set_sform(affine, sform)
    image.header["xyzt_units"] = units
    image.header["descrip"] = descrip
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    nib.save(image, path)
    return path


@pytest.fixture
def voxels():
    return np.random.default_rng(0).integers(0, 900, (5, 6, 7)).astype(np.int16)


def test_the_size_of_a_scan_is_read_without_its_voxels(tmp_path):
    path = tmp_path / "scan.nii.gz"
    write_volume(Volume(torch.rand(3, 4, 5), make_affine((1.0, 2.0, 3.0), (2, 0, 1))), path)
    shape, spacing = read_size(path)
    assert shape == (3, 4, 5)
    assert spacing == pytest.approx(read_volume(path).spacing_mm)
    with pytest.raises(ValueError, match="does not exist"):
        read_size(tmp_path / "none.nii.gz")


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_all_48_orientations_come_back(tmp_path, voxels, order, signs):
    affine = make_affine((0.9, 1.1, 4.0), order, signs, origin=(-90, 12.5, 33))
    source = save(tmp_path / "in.nii", voxels, affine)
    volume = read_volume(source)
    out = nib.load(write_volume(volume, tmp_path / "out.nii"))
    np.testing.assert_array_equal(out.affine, nib.load(source).affine)
    assert nib.aff2axcodes(out.affine) == nib.aff2axcodes(affine)
    np.testing.assert_allclose(out.get_qform(), out.affine, atol=1e-5)
    np.testing.assert_array_equal(np.asanyarray(out.dataobj), voxels)
    assert volume.spacing_mm == pytest.approx((0.9, 1.1, 4.0), rel=1e-6)


angle = st.floats(-np.pi, np.pi, allow_nan=False)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    spacing=st.tuples(*[st.floats(0.3, 8.0)] * 3),
    orientation=st.sampled_from(ORIENTATIONS),
    angles=st.tuples(angle, angle, angle),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    codes=st.sampled_from([(1, 1), (2, 0), (4, 0), (0, 1), (4, 4), (1, 2)]),
    units=st.sampled_from([0, 2, 10, 18]),
    dtype=st.sampled_from(["int16", "uint16", "uint8", "int32", "float32", "float64"]),
    scl=st.sampled_from([None, (0.25, -3.0), (2.0, 100.0)]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
@example(
    spacing=(1.0, 1.0, 3.0), orientation=((0, 2, 1), (1.0, -1.0, 1.0)),
    angles=(-1.5703125, 0.0, 0.0), origin=(0.0, 0.0, 0.0), shape=(2, 2, 2), codes=(1, 1),
    units=0, dtype="int16", scl=None, suffix=".nii",
)  # fmt: skip
def test_random_headers_come_back(
    tmp_path_factory, spacing, orientation, angles, origin, shape, codes, units, dtype, scl, suffix
):
    folder = tmp_path_factory.mktemp("nifti")
    affine = make_affine(spacing, *orientation, angles, origin)
    raw = np.random.default_rng(1).integers(0, 200, shape).astype(dtype)
    slope, inter = scl or (None, None)
    source = save(
        folder / f"in{suffix}",
        raw,
        affine,
        sform=codes[0],
        qform=codes[1],
        units=units,
        slope=slope,
        inter=inter,
        descrip=b"site A scan",
    )
    before = nib.load(source)
    after = nib.load(write_volume(read_volume(source), folder / f"out{suffix}"))

    np.testing.assert_allclose(after.affine, before.affine, rtol=1e-6, atol=1e-4)
    turned = 1e-3 * max(spacing)  # a half turn's quaternion in float32 is off by 5e-4 rad
    np.testing.assert_allclose(after.get_qform(), after.affine, rtol=1e-4, atol=1e-3 + turned)
    np.testing.assert_allclose(after.header.get_zooms(), before.header.get_zooms(), rtol=1e-5)
    assert int(after.header["sform_code"]) == (codes[0] or codes[1])
    assert int(after.header["qform_code"]) == (codes[1] or codes[0])
    assert int(after.header["xyzt_units"]) == units
    assert after.get_data_dtype() == before.get_data_dtype()
    assert (after.dataobj.slope, after.dataobj.inter) == (
        before.dataobj.slope,
        before.dataobj.inter,
    )
    assert after.header["descrip"].tobytes().rstrip(b"\0") == b""
    np.testing.assert_array_equal(after.dataobj.get_unscaled(), before.dataobj.get_unscaled())


def test_a_sheared_affine_has_no_qform(tmp_path, voxels):
    affine = make_affine((1.0, 1.0, 3.0))
    affine[0, 2] = 0.8
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, 2)
    nib.save(image, tmp_path / "in.nii")
    out = nib.load(write_volume(read_volume(tmp_path / "in.nii"), tmp_path / "out.nii"))
    assert is_sheared(affine)
    assert int(out.header["qform_code"]) == 0
    assert int(out.header["sform_code"]) == 2
    np.testing.assert_allclose(out.affine, affine, atol=1e-6)
    assert out.header.get_zooms()[2] == pytest.approx(np.hypot(0.8, 3.0), rel=1e-6)


@settings(max_examples=80)
@given(
    num=st.tuples(*[st.integers(2, 40)] * 3),
    factor=st.tuples(*[st.integers(1, 6)] * 3),
    fine=st.tuples(*[st.floats(0.4, 2.0)] * 3),
    orientation=st.sampled_from(ORIENTATIONS),
    angles=st.tuples(angle, angle, angle),
)
def test_a_finer_grid_has_the_same_corners(num, factor, fine, orientation, angles):
    spacing = tuple(f * s for f, s in zip(factor, fine, strict=True))
    affine = make_affine(spacing, *orientation, angles, (-31.0, 7.0, 64.0))
    grid = finer_grid(Volume(torch.zeros(num), affine), fine)
    assert grid.shape == tuple(n * f for n, f in zip(num, factor, strict=True))
    for corner in itertools.product((0, 1), repeat=3):
        old = affine @ [*(c * n - 0.5 for c, n in zip(corner, num, strict=True)), 1]
        new = grid.affine @ [*(c * n - 0.5 for c, n in zip(corner, grid.shape, strict=True)), 1]
        np.testing.assert_allclose(new, old, atol=1e-6)


def test_the_corner_shift_is_the_written_formula():
    affine = make_affine((1.0, 1.0, 4.0), angles=(0.2, 0.1, -0.4))
    grid = finer_grid(Volume(torch.zeros(8, 8, 10), affine), (1.0, 1.0, 1.0))
    np.testing.assert_allclose(grid.affine[:3, 3], affine[:3, 3] + affine[:3, 2] * (1 - 4) / 8)
    np.testing.assert_allclose(grid.affine[:3, 2], affine[:3, 2] / 4)


def test_an_uneven_factor_keeps_the_center_and_the_spacing():
    affine = make_affine((1.0, 1.0, 3.3), origin=(5.0, 6.0, 7.0))
    grid = finer_grid(Volume(torch.zeros(4, 4, 11), affine), (1.0, 1.0, 1.0))
    assert grid.shape == (4, 4, 36)
    assert np.linalg.norm(grid.affine[:3, 2]) == pytest.approx(1.0)
    center_old = affine @ [1.5, 1.5, 5.0, 1]
    np.testing.assert_allclose(grid.affine @ [1.5, 1.5, 17.5, 1], center_old)


def test_an_axis_that_is_fine_enough_is_left_alone():
    affine = make_affine((0.5, 1.0, 4.0), angles=(0.3, 0.2, 0.1))
    grid = finer_grid(Volume(torch.zeros(4, 4, 4), affine), (1.0, 1.0, 4.0))
    assert grid.shape == (4, 4, 4)
    np.testing.assert_array_equal(grid.affine, affine)
    with pytest.raises(ValueError, match="spacing_mm=-1 along axis 2"):
        finer_grid(Volume(torch.zeros(4, 4, 4), affine), (1.0, 1.0, -1.0))


def test_results_are_rounded_and_clipped_to_the_stored_type(tmp_path):
    source = save(tmp_path / "in.nii", np.full((2, 2, 2), 7, np.uint8), np.eye(4))
    volume = read_volume(source)
    data = torch.tensor([-3.0, 0.4, 0.6, 254.7, 255.4, 900.0, 1.5, 2.5]).reshape(2, 2, 2)
    out = nib.load(write_volume(volume.with_data(data), tmp_path / "out.nii"))
    assert np.asanyarray(out.dataobj).ravel().tolist() == [0, 0, 1, 255, 255, 255, 2, 2]
    maps = nib.load(write_volume(volume.with_data(data, dtype="float32"), tmp_path / "std.nii"))
    np.testing.assert_array_equal(maps.get_fdata().ravel(), data.double().ravel())


def test_units_other_than_mm_scale_the_spacing(tmp_path, voxels):
    source = save(tmp_path / "in.nii", voxels, make_affine((500.0, 500.0, 900.0)), units=3)
    assert read_volume(source).spacing_mm == pytest.approx((0.5, 0.5, 0.9))


def bad_files(folder):
    """Name, path and the words its refusal must hold."""
    rng = np.random.default_rng(0)
    good = rng.random((6, 6, 6)).astype(np.float32)
    holes = good.copy()
    holes[2, 3, 4] = np.nan
    save(folder / "nan.nii.gz", holes, np.eye(4))
    holes[2, 3, 4] = np.inf
    save(folder / "inf.nii.gz", holes, np.eye(4))
    fine = np.arange(64.0).reshape(4, 4, 4)
    save(folder / "fine.nii.gz", 1e-300 * fine, np.eye(4))
    save(folder / "lifted.nii.gz", 1e12 + fine, np.eye(4))
    save(folder / "frames.nii.gz", np.zeros((4, 4, 4, 3), np.int16), np.eye(4))
    save(folder / "flat.nii.gz", np.zeros((8, 8, 1), np.int16), np.eye(4))
    save(folder / "nowhere.nii.gz", good, np.eye(4), sform=0, qform=0)
    singular = nib.Nifti1Image(good, np.eye(4))
    singular.header["srow_z"] = 0.0
    singular.header["sform_code"] = 1
    singular.header["vox_offset"] = 352
    (folder / "singular.nii").write_bytes(singular.header.binaryblock + b"\0" * 4 + good.tobytes())
    whole = rng.integers(0, 30000, (40, 40, 40)).astype(np.int16)
    blob = save(folder / "whole.nii.gz", whole, np.eye(4)).read_bytes()
    (folder / "cut.nii.gz").write_bytes(blob[: len(blob) // 2])
    (folder / "cut.nii").write_bytes(gzip.decompress(blob)[:-1000])
    rgb = np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, np.eye(4)), folder / "rgb.nii.gz")
    nib.save(nib.Nifti1Image(good.astype(np.complex64), np.eye(4)), folder / "complex.nii.gz")
    (folder / "text.nii.gz").write_text("hello, this is no scan")
    (folder / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(400))
    (folder / "empty.nii.gz").write_bytes(b"")
    (folder / "folder.nii.gz").mkdir()
    os.mkfifo(folder / "pipe.nii.gz")
    nib.save(nib.analyze.AnalyzeImage(good, np.eye(4)), folder / "old.img")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nan.nii.gz", "NaN or infinite in 1 voxel: "),
        ("inf.nii.gz", "NaN or infinite in 1 voxel:"),
        ("fine.nii.gz", "intensities from 0 to 6.3[0-9]*e-299: float32, .* apart; subtract"),
        ("lifted.nii.gz", "intensities from 1000000000000 to 1000000000063: float32"),
        ("frames.nii.gz", r"shape \(4, 4, 4, 3\)"),
        ("flat.nii.gz", "at least two slices"),
        ("nowhere.nii.gz", "neither sform nor qform"),
        ("singular.nii", "invertible"),
        ("cut.nii.gz", "whole"),
        ("cut.nii", "whole"),
        ("rgb.nii.gz", "one real number per voxel"),
        ("complex.nii.gz", "one real number per voxel"),
        ("text.nii.gz", "not a NIfTI"),
        ("photo.png", "not a NIfTI"),
        ("empty.nii.gz", "is empty"),
        ("folder.nii.gz", "is a folder"),
        ("absent.nii.gz", "does not exist"),
        ("pipe.nii.gz", "no regular file but a pipe"),
        ("old.img", "single-file NIfTI"),
    ],
)
def test_bad_input_is_refused_in_three_parts(tmp_path, name, words):
    bad_files(tmp_path)
    with pytest.raises(ValueError, match=words) as caught:
        read_volume(tmp_path / name)
    sentence = str(caught.value)
    assert name in sentence
    assert ": " in sentence
    assert ";" in sentence


def test_nothing_is_written_over_a_file_or_left_behind(tmp_path, voxels):
    volume = read_volume(save(tmp_path / "in.nii.gz", voxels, np.eye(4)))
    before = (tmp_path / "in.nii.gz").read_bytes()
    with pytest.raises(ValueError, match=r"in\.nii\.gz"):
        write_volume(volume.with_data(volume.data * 0), tmp_path / "in.nii.gz")
    assert (tmp_path / "in.nii.gz").read_bytes() == before
    holes = volume.data.clone()
    holes[0, 0, 0] = float("nan")
    for bad, name in [(volume.with_data(holes), "nan.nii.gz"), (volume, "out.mgz")]:
        with pytest.raises(ValueError, match=name):
            write_volume(bad, tmp_path / name)
    with pytest.raises(ValueError, match="takes 81 bytes"):
        write_volume(volume, tmp_path / "long.nii.gz", description="x" * 81)
    assert [p.name for p in tmp_path.iterdir()] == ["in.nii.gz"]
    write_volume(volume.with_data(volume.data * 0), tmp_path / "in.nii.gz", overwrite=True)
    assert read_volume(tmp_path / "in.nii.gz").data.max() == 0


def test_nifti_2_stays_nifti_2(tmp_path, voxels):
    nib.save(nib.Nifti2Image(voxels, make_affine((1, 1, 2))), tmp_path / "in.nii")
    write_volume(read_volume(tmp_path / "in.nii"), tmp_path / "out.nii")
    assert isinstance(nib.load(tmp_path / "out.nii"), nib.Nifti2Image)


def test_fields_where_scanners_write_names_are_blanked(tmp_path):
    image = nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4))
    image.header["db_name"], image.header["aux_file"] = b"DOE^JANE", b"doe_jane.par"
    nib.save(image, tmp_path / "in.nii")
    write_volume(read_volume(tmp_path / "in.nii"), tmp_path / "out.nii")
    assert b"doe" not in (tmp_path / "out.nii").read_bytes().lower()


@pytest.mark.parametrize("ending", [".Nii", ".nii.GZ", ".Nii.Gz", ".NII", ".NII.GZ"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_endings_come_in_any_case(tmp_path, ending, kind):
    plain = tmp_path / f"a{ending.lower()}"
    nib.save(kind(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4)), plain)
    plain.rename(tmp_path / f"b{ending}")
    assert read_volume(tmp_path / f"b{ending}").data.flatten().tolist() == [*range(24)]


def test_nothing_is_said_of_a_header_but_by_ourselves(tmp_path, capfd):
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(np.ones((2, 3, 4), dtype=np.int16), np.eye(4)), path)
    content = bytearray(path.read_bytes())
    content[:4] = (349).to_bytes(4, "little")
    path.write_bytes(content)
    assert read_volume(path).shape == (2, 3, 4)
    assert capfd.readouterr().err == ""


def test_a_zero_that_a_scale_in_float32_misses_is_zero(tmp_path):
    """A code of 100 stands for 0: float32 of scale and intercept makes it 2e-7 of the latter."""
    random = np.random.default_rng(0)
    codes = np.full((20, 20, 20), 100, np.uint16)
    codes[4:8, 4:8, 4:8] = 104
    missed = 0
    for k in range(40):
        slope, path = random.uniform(0.1, 1.0), tmp_path / f"{k}.nii"
        image = nib.Nifti1Image(codes, np.eye(4))
        image.header.set_slope_inter(slope, -100 * slope)
        nib.save(image, path)
        missed += int((np.asarray(nib.load(path).dataobj)[0, 0, 0]) != 0)
        assert int((read_volume(path).data > 0).sum()) == 64
    assert missed > 5


@pytest.mark.parametrize("first", [4.5e-4, 5.37e-4])
def test_a_qform_near_a_half_turn_is_read_as_the_standard_has_it(tmp_path, first):
    """nibabel takes a quaternion's first number for 0 up to 6e-4, the standard up to 3e-4."""
    axis = np.array([0.6, 0.64, 0.48])
    b, c, d = (axis / np.linalg.norm(axis) * np.sqrt(1 - first**2)).astype(np.float32)
    path = tmp_path / "scan.nii"
    image = nib.Nifti1Image(np.arange(8000, dtype=np.int16).reshape(20, 20, 20), None)
    image.header["qform_code"], image.header["sform_code"] = 1, 0
    for name, value in zip("bcd", (b, c, d), strict=True):
        image.header[f"quatern_{name}"] = value
    nib.save(image, path)
    a = np.sqrt(1 - float(np.dot([float(b), float(c), float(d)], [float(b), float(c), float(d)])))
    told = read_volume(path).affine[:3, :3]
    np.testing.assert_allclose(told, nib.quaternions.quat2mat([a, b, c, d]), atol=1e-6)
    off = np.abs(told - nib.quaternions.quat2mat([0.0, b, c, d])).max()
    assert off > 4e-4


def test_a_qform_of_nifti_2_nearer_to_a_half_turn_is_read_as_one(tmp_path):
    """The standard's own reader does so below 1e-7 of the square; nibabel takes the root."""
    axis = np.array([0.6, 0.64, 0.48])
    b, c, d = axis / np.linalg.norm(axis) * np.sqrt(1 - 9e-8)
    image = nib.Nifti2Image(np.arange(8000, dtype=np.int16).reshape(20, 20, 20), None)
    image.header["qform_code"], image.header["sform_code"] = 1, 0
    for name, value in zip("bcd", (b, c, d), strict=True):
        image.header[f"quatern_{name}"] = value
    nib.save(image, tmp_path / "scan.nii")
    told = read_volume(tmp_path / "scan.nii").affine[:3, :3]
    np.testing.assert_allclose(told, nib.quaternions.quat2mat([0.0, b, c, d]), atol=1e-9)
