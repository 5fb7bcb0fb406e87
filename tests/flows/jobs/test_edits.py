"""Lesions in, out and over: the load asked for, nothing else changed, refused before work."""

import gzip
import json
import struct

import numpy as np
import pytest
import torch
from dicoms import PATIENT, write_series

from core.records import sha256_path
from flows.commands.command_line import main
from medical.files.exact import differs
from medical.files.nifti import read_volume, write_volume
from medical.files.volume import FileHeader, Volume


def head(path, dtype="int16", slope=1.0, spacing=2.0):
    """A ball of white in gray matter where MNI has its brain, with two ventricles."""
    shape = tuple(round(e / spacing) for e in (160, 190, 150))
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = (-79.0, -113.0, -70.0)
    x, y, z = np.indices(shape) * spacing + affine[:3, 3].reshape(3, 1, 1, 1)
    radius = np.sqrt((x / 68) ** 2 + ((y + 18) / 85) ** 2 + ((z - 8) / 62) ** 2)
    tissue = np.select([radius < 0.82, radius < 0.95, radius < 1.0], [1000, 650, 300], 0.0)
    inner = (np.abs(np.abs(x) - 14) < 6) & (np.abs(y + 18) < 30) & (np.abs(z - 16) < 8)
    tissue[inner] = 300
    tissue += np.random.default_rng(0).normal(0, 15, shape) * (tissue > 0)
    header = FileHeader(dtype=dtype, slope=slope, sform_code=4, qform_code=4)
    volume = Volume(torch.from_numpy(tissue.clip(0).astype(np.float32)), affine, header)
    return write_volume(volume, path)


def stored(path):
    """Header and voxels as the file has them, with nothing of ours in between."""
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if path.name.endswith(".gz") else raw
    return raw[:348], raw[int(struct.unpack_from("<f", raw, 108)[0]) :]


@pytest.mark.parametrize(
    ("name", "dtype", "slope", "contrast"),
    [("a_T1w.nii.gz", "int16", 1.0, ()), ("b.nii", "float64", 0.5, ("--contrast", "FLAIR")),
     ("c_T2w.nii.gz", "uint16", 0.1, ())],
)  # fmt: skip
def test_lesions_are_put_in_and_taken_out(places, capsys, name, dtype, slope, contrast):
    scan, out = head(places / name, dtype, slope), places / "out.nii.gz"
    words = ["mri", "insert-lesions", str(scan), str(out), "--load-ml", "8", "--seed", "3"]
    assert main([*words, *contrast]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [str(out), str(places / "out_label-lesion_mask.nii.gz")]
    mask = read_volume(places / "out_label-lesion_mask.nii.gz").data.numpy() > 0
    assert mask.sum() * 8 / 1000 == pytest.approx(8, rel=0.05)
    assert not (differs(scan, out) & ~mask).any()
    assert stored(scan)[0] == stored(out)[0]
    assert len(stored(scan)[1]) == len(stored(out)[1])
    before, after = (read_volume(p).data.numpy()[mask].mean() for p in (scan, out))
    assert after < 0.9 * before if name == "a_T1w.nii.gz" else after > 1.2 * before
    record = json.loads((places / "out.json").read_text())
    assert record["extra"]["load_ml"]["delivered"] == pytest.approx(8, rel=0.01)
    assert main(["reproduce", str(out)]) == 0
    filled = places / "filled.nii.gz"
    mask_file = str(places / "out_label-lesion_mask.nii.gz")
    assert main(["mri", "fill-lesions", str(out), mask_file, str(filled)]) == 0
    assert not (differs(scan, filled) & ~mask).any()
    assert read_volume(filled).data.numpy()[mask].mean() == pytest.approx(before, rel=0.05)


def test_a_region_is_painted_over_from_around_it(places):
    scan, out = head(places / "head.nii.gz"), places / "out.nii.gz"
    volume = read_volume(scan)
    hole = torch.zeros_like(volume.data)
    hole[58:64, 56:62, 40:46] = 1
    write_volume(volume.with_data(hole, dtype="uint8"), places / "hole.nii.gz")
    assert main(["mri", "inpaint", str(scan), str(places / "hole.nii.gz"), str(out)]) == 0
    painted = read_volume(out).data
    assert float(painted[hole > 0].mean()) == pytest.approx(1000, rel=0.05)
    assert not (differs(scan, out) & ~(hole.numpy() > 0)).any()
    assert json.loads((places / "out.json").read_text())["extra"]["method"].endswith("no network")


def test_what_cannot_be_done_is_refused_before_work(places, capsys):
    scan, small = head(places / "head.nii.gz"), head(places / "small.nii.gz", spacing=4.0)
    out = str(places / "out.nii.gz")
    assert main(["mri", "fill-lesions", str(scan), str(small), out]) == 2
    assert "a mask lies on the grid of its scan" in capsys.readouterr().err
    assert main(["mri", "insert-lesions", str(scan), out]) == 2
    assert "does not say its contrast" in capsys.readouterr().err
    words = ["mri", "insert-lesions", str(scan), out, "--contrast", "T1w"]
    assert main([*words, "--regions", "cerebellar"]) == 2
    assert main([*words, "--load-ml", "0.1", "--count", "50"]) == 2
    assert "a lesion has at least 3 voxels" in capsys.readouterr().err
    empty = read_volume(scan).with_data(torch.zeros(read_volume(scan).shape), dtype="uint8")
    write_volume(empty, places / "empty.nii.gz")
    assert main(["mri", "inpaint", str(scan), str(places / "empty.nii.gz"), out]) == 2
    assert "is 0 everywhere" in capsys.readouterr().err
    assert not (places / "out.nii.gz").exists()


def test_a_load_beyond_what_was_measured_is_said(places, capsys):
    scan, out = head(places / "x_FLAIR.nii.gz"), places / "out.nii.gz"
    assert main(["mri", "insert-lesions", str(scan), str(out), "--load-ml", "75"]) == 0
    assert "75 ml lies outside" in capsys.readouterr().err
    record = json.loads((places / "out.json").read_text())
    assert "29 in all" in record["extra"]["beyond_measured"][0]


def as_series(folder, scan):
    """A head as the DICOM series that a scanner would have sent."""
    data = read_volume(scan).data.numpy().astype(np.uint16)  # (right, anterior, superior)
    sent = data[::-1, ::-1].transpose(2, 1, 0)  # (slices, rows, columns)
    write_series(
        folder, np.ascontiguousarray(sent), spacing=(2.0, 2.0, 2.0), origin=(-79, -75, -70)
    )
    return folder


def test_a_dicom_series_stands_wherever_a_scan_does(places, capsys):
    scan = as_series(places / "head_T1w", head(places / "head.nii.gz"))
    out, words = places / "out.nii.gz", ["--load-ml", "8"]
    assert main(["mri", "insert-lesions", str(scan), str(out), *words]) == 0
    mask_file = places / "out_label-lesion_mask.nii.gz"
    mask = read_volume(mask_file).data.numpy() > 0
    assert not (differs(scan, out) & ~mask).any()
    assert mask.sum() * 8 / 1000 == pytest.approx(8, rel=0.05)
    assert main(["reproduce", str(out)]) == 0
    filled, painted = places / "filled.nii.gz", places / "painted.nii.gz"
    assert main(["mri", "fill-lesions", str(scan), str(mask_file), str(filled)]) == 0
    assert main(["mri", "inpaint", str(scan), str(mask_file), str(painted)]) == 0
    assert main(["mri", "segment", str(scan), str(places / "labels.nii.gz")]) == 0
    held = sha256_path(scan)
    assert main(["mri", "inpaint", str(scan), str(mask_file), str(scan / "o.nii.gz")]) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert sha256_path(scan) == held
    (scan / "003.dcm").unlink()
    capsys.readouterr()
    assert main(["reproduce", str(out)]) == 2
    assert "holds other bytes than it did" in capsys.readouterr().err
    assert main(["mri", "segment", str(scan), str(places / "two.nii.gz")]) == 2
    assert "has a gap" in capsys.readouterr().err
    for file in places.glob("*"):
        assert file.is_dir() or PATIENT.encode() not in file.read_bytes()
