"""What is unlike the scans of training is said, with what was measured of such scans."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
from medical.files.nifti import read_volume
from medical.files.volume import FileHeader, Volume
from medical.operations.familiarity import likeness, unlike
from medical.operations.problem import prepare
from medical.operations.remarks import remarks
from medical.request import SuperResolutionRequest

DATA = Path(os.environ.get("LAMINA_DATA", Path(__file__).parents[3] / "shared" / "data"))
HEADS = sorted((DATA / "t1-heads").glob("sub-*/anat/sub-*_T1w.nii.gz"))[5::6]
THICK = DATA / "thick-slices"
OTHERS = [
    (["another contrast"], sorted((DATA / "ms-lesions").glob("*/T2.nii.gz"))),
    (["a skull", "another contrast"], sorted(THICK.glob("*/study1_T2W.nii.gz"))),
    (["a skull", "another contrast"], sorted(THICK.glob("*/study1_FLAIR.nii.gz"))),
    (["a skull"], sorted(THICK.glob("*/study1_T1W.nii.gz"))),
]


def ball(
    rim=0.45, inside=0.95, radius=68.0, shell=False, fluid=None, skin=0.9, spacing=(2.0, 2.0, 4.0)
):
    """A brain of two shades, perhaps with fluid in its middle, under bone and skin."""
    size = [int(200 / s) for s in spacing]
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(size, spacing, strict=True)]
    d, h, w = np.meshgrid(*axes, indexing="ij")
    depth = radius - np.sqrt(d**2 + h**2 + w**2)
    data = np.where(depth > 5, inside, rim) * (depth > 0)
    if fluid is not None:
        data = np.where(depth > radius - 22, fluid, data)
    if shell:
        data = np.where((depth <= 0) & (depth > -12), 0.03, data)
        data = np.where((depth <= -12) & (depth > -18), skin, data)
    affine = np.diag([*spacing, 1.0])
    return Volume(torch.from_numpy(900 * data).float(), affine, FileHeader(dtype="int16"))


def said(volume, **asked):
    request = SuperResolutionRequest(scan="s", **asked)
    lines = remarks(prepare(volume, request), request)
    return [line for line in lines if line.startswith("unlike training: ")]


def test_a_scan_of_the_kind_is_like_training():
    assert said(ball()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rim": 0.9, "inside": 0.5}, "another contrast than T1-weighted"),
        ({"shell": True}, "a skull, it seems"),
        ({"radius": 50.0}, "0.55 liters of tissue"),
        ({"spacing": (2.0, 2.0, 8.0)}, "slices 8 mm apart"),
    ],
)
def test_what_is_unlike_is_named(changes, words):
    lines = said(ball(**changes))
    assert len(lines) == 1
    assert words in lines[0]
    assert "measured" in lines[0]


T2: dict[str, Any] = {"rim": 0.7, "inside": 0.4, "fluid": 0.95}


@pytest.mark.parametrize(
    "contrast", [T2 | {"skin": 0.4}, {"rim": 0.9, "inside": 0.95, "skin": 0.25}]
)
def test_a_contrast_under_a_skull_is_named_beside_the_skull(contrast):
    skull, other = said(ball(shell=True, **contrast))
    assert "a skull, it seems" in skull
    assert "another contrast than T1-weighted" in other


def figures(key, *words):
    kept = json.loads((Path(__file__).parents[2] / "docs" / "results.json").read_text())[key]
    found = [x["value"] for x in kept["figures"] if x["name"].endswith(words)]
    assert found
    return found


def test_what_was_measured_of_such_is_what_the_page_of_results_says():
    (skull,) = said(ball(shell=True))
    contrast = unlike(likeness_of(ball(**T2)), 4.0, 1.0)[0]
    (with_skull,) = figures("others", "Colin27, with skull: gain")
    assert f"{with_skull:.1f} dB above back-projection" in skull
    others = figures("others", "T2: gain", "FLAIR: gain")
    (usual,) = figures("factors", "4 mm: gain")
    assert f"{min(others):.1f} to {max(others):.1f} dB above back-projection" in contrast
    assert contrast.endswith(f"heads of the kind have {usual:.1f}")


def likeness_of(volume):
    return prepare(volume, SuperResolutionRequest(scan="s")).likeness


def test_finer_voxels_than_of_training_are_named_and_other_models_are_not_spoken_for():
    (line,) = said(ball(), spacing_mm=(0.5, 0.5, 0.5))
    assert "voxels of 0.5 mm" in line
    assert said(ball(shell=True), model="my-heads") == []
    assert said(ball(shell=True), edition=2) == []


def test_next_to_no_tissue_is_said():
    assert likeness(torch.zeros(20, 20, 20), (4.0, 4.0, 4.0)) is None
    assert "hardly any tissue" in unlike(None, 4.0, 1.0)[0]


@pytest.mark.skipif(not HEADS, reason="no heads in LAMINA_DATA")
def test_unseen_heads_are_like_training_and_others_are_not():
    thick = Acquisition.slices(2, SliceSampling(4.0))
    for path in HEADS[:3]:
        assert said(acquire(read_volume(path), thick)) == []
    for words, paths in OTHERS:
        for path in paths[:2]:
            scan = read_volume(path)
            lines = "".join(said(scan if max(scan.spacing_mm) > 2 else acquire(scan, thick)))
            seen = [w for w in ("a skull", "another contrast") if w in lines]
            assert seen == words, path
