"""Labels of a head by command: on its own grid, with volumes, and refused before work."""

import json

import numpy as np
import pytest
import torch

from flows.commands.command_line import main
from medical.anatomy.structures import STRUCTURES
from medical.files.nifti import read_volume, write_volume
from medical.files.volume import Volume


def ball(path, affine, spacing=4.0):
    """Fluid around gray around white matter with fluid inside, as large as a head."""
    shape = tuple(round(e / spacing) for e in (170, 210, 180))
    places = (np.indices(shape) - (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2) * spacing
    radius = np.linalg.norm(places / np.array([68, 85, 62]).reshape(3, 1, 1, 1), axis=0)
    kinds = np.digitize(radius, [0.2, 0.75, 0.9, 1.0])
    labels = np.array([1, 3, 2, 1, 0])[kinds]
    t1 = np.array([0, 200, 500, 750], np.float32)[labels]
    t1 += (t1 > 0) * np.random.default_rng(0).normal(0, 30, shape).astype(np.float32)
    write_volume(Volume(torch.from_numpy(t1), affine), path)
    return labels


@pytest.fixture
def affine():
    return np.array([[0, -4.0, 0, 80], [-4.0, 0, 0, 90], [0, 0, 4.0, -60], [0, 0, 0, 1]])


def test_tissues_are_written_with_their_volumes(places, capsys, affine):
    labels = ball(places / "head.nii.gz", affine)
    out = places / "labels.nii.gz"
    assert main(["mri", "segment", str(places / "head.nii.gz"), str(out)]) == 0
    printed = capsys.readouterr().out.splitlines()
    found = read_volume(out)
    assert printed[0] == str(out)
    assert np.allclose(found.affine, affine)
    assert found.header.dtype == "uint8"
    assert (found.data.numpy() == labels).mean() > 0.95
    white = float((found.data.numpy() == 3).sum()) * 64 / 1000
    assert printed[-1] == f"white matter: {white:.0f} ml"
    record = json.loads((places / "labels.json").read_text())
    assert record["extra"]["volume_ml"]["white matter"] == pytest.approx(white, abs=0.01)
    assert record["model"]["name"] == "tissue rule"
    assert main(["reproduce", str(out)]) == 0
    assert main(["mri", "segment", str(places / "head.nii.gz"), str(out)]) == 2
    assert "nothing is overwritten unasked" in capsys.readouterr().err


def test_structures_are_written_on_the_scans_own_grid(places, affine):
    labels = ball(places / "head.nii.gz", affine)
    out = places / "labels.nii"
    words = [str(places / "head.nii.gz"), str(out), "--labels", "structures"]
    assert main(["mri", "segment", *words]) == 0
    found = read_volume(out)
    assert np.allclose(found.affine, affine)
    assert found.shape == labels.shape
    record = json.loads((places / "labels.json").read_text())
    assert record["extra"]["labels"] == {str(k): name for k, name in enumerate(STRUCTURES)}
    assert record["model"]["name"] == "structures-2mm"
    brain = (found.data.numpy() > 0) & (found.data.numpy() < len(STRUCTURES) - 1)
    # the picture of a head is recognized as one, if not in detail
    assert (brain == (labels > 0)).mean() > 0.9


def test_what_is_no_head_is_refused(places, capsys, affine):
    write_volume(Volume(torch.zeros(20, 20, 20), affine), places / "none.nii.gz")
    for words, reason in (
        ([], "0.0 ml: tissues are found in a skull-stripped brain"),
        (["--labels", "structures"], "0 everywhere"),
        (["--labels", "lobes"], "labels"),
    ):
        given = ["mri", "segment", str(places / "none.nii.gz"), str(places / "out.nii.gz")]
        assert main([*given, *words]) == 2
        assert reason in capsys.readouterr().err
        assert not (places / "out.nii.gz").exists()
    assert main(["mri", "segment", str(places / "none.nii.gz"), str(places / "out.txt")]) == 2
    assert "not a NIfTI name" in capsys.readouterr().err
