"""Anomaly maps by command: three files on the scan's grid, and contrasts that are refused."""

import json

import numpy as np
import pytest
import torch

from flows.commands.command_line import main
from medical.files.nifti import read_volume, write_volume
from medical.files.volume import Volume


def flair(path):
    """A coarse FLAIR of a ball with a bright spot."""
    shape = (43, 53, 45)
    places = (np.indices(shape) - (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2) * 4.0
    radius = np.linalg.norm(places / np.array([68, 85, 62]).reshape(3, 1, 1, 1), axis=0)
    image = np.array([480, 620, 100, 0], np.float32)[np.digitize(radius, [0.75, 0.9, 1.0])]
    image[16:19, 24:27, 26:29] = 800
    return write_volume(Volume(torch.from_numpy(image), np.diag([4.0, 4.0, 4.0, 1.0])), path)


def test_a_map_and_two_masks_on_the_scans_grid(places):
    scan, out = flair(places / "p_FLAIR.nii.gz"), places / "out.nii.gz"
    assert main(["mri", "anomalies", str(scan), str(out), "--healthy-ml", "5"]) == 0
    score = read_volume(out)
    assert score.shape == (43, 53, 45)
    assert 0 <= float(score.data.min()) <= float(score.data.max()) <= 1
    assert float(score.data[17, 25, 27]) > float(score.data[26, 26, 26])
    told = json.loads((places / "out.json").read_text())["extra"]
    for role in ("mask", "bright"):
        mask = read_volume(places / f"out_{role}.nii.gz")
        assert mask.header.dtype == "uint8"
        assert float(mask.data.sum()) * 64 / 1000 == pytest.approx(told["above_ml"][role])
    found = (score.data > told["bounds"]["score"]).float().sum() * 64 / 1000
    assert float(found) == pytest.approx(told["above_ml"]["mask"], abs=0.3)
    assert told["painted_healthy_heads_show_ml"] == 5
    assert told["bounds_are"] == "measured"


@pytest.mark.parametrize(
    ("name", "words", "reason"),
    [
        ("p_T1w.nii.gz", (), "on T1 alone lesions have intensities of healthy tissue"),
        ("p_FLAIR.nii.gz", ("--contrast", "T1w"), r"voxel AUC of intensity .41 and .47"),
        ("p_T2w.nii.gz", (), "measured on FLAIR alone"),
        ("p.nii.gz", (), "does not say its contrast"),
        ("p_FLAIR.nii.gz", ("--healthy-ml", "9"), "healthy_ml"),
    ],
)
def test_what_cannot_be_mapped_is_refused(places, capsys, name, words, reason):
    scan, out = flair(places / name), places / "out.nii.gz"
    assert main(["mri", "anomalies", str(scan), str(out), *words]) == 2
    assert reason in capsys.readouterr().err.replace("-ml", "_ml")
    assert not out.exists()
