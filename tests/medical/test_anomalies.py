"""Anomaly maps: painted lesions, a head that learns from them, bounds of healthy heads."""

import numpy as np
import pytest
import torch

from core.refusal import Refusal
from medical.anatomy.random_heads import LabelMap
from medical.anatomy.segmenting import WINDOW
from medical.files.volume import Volume
from medical.lesions.anomalies import GROUPS, WIDE_VOXELS, AnomalyHead, read_features, shipped_head
from medical.lesions.atlas import lesion_atlas
from medical.lesions.painted import in_mni, painted_flair, tissues_of
from medical.training import anomalies
from medical.training.anomalies import (
    BOUNDS_ML,
    calibrated,
    head_of,
    learned,
    lesions_in,
    write_head,
)
from medical.training.segmenter import network


@pytest.fixture(scope="module")
def head():
    """Fluid, cortex, white matter and ventricles as nested balls of a brain's size."""
    shape = (144, 176, 128)
    places = np.indices(shape) - (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2
    radius = np.linalg.norm(places / np.array([68, 85, 62]).reshape(3, 1, 1, 1), axis=0)
    kinds = np.array([2, 3, 24, 507, 0])[np.digitize(radius, [0.82, 0.93, 0.99, 1.02])]
    inner = (np.abs(np.abs(places[0]) - 14) < 6) & (np.abs(places[1]) < 30)
    kinds[inner & (np.abs(places[2]) < 8)] = 4
    return LabelMap.of(kinds)


@pytest.fixture(scope="module")
def lesions(head):
    return lesions_in(head, lesion_atlas(), 3)


def test_lesions_lie_in_white_matter_and_are_bright(head, lesions):
    tissues = tissues_of(head)
    assert (lesions > 0).sum() > 200
    assert (tissues[lesions > 0] == 3).mean() > 0.95
    corner = in_mni(tissues) @ [*(np.array(tissues.shape) / 2), 1]
    assert np.abs(corner[:3] - [0, -16, 9]).max() < 8
    images = [painted_flair(head, lesions, seed) for seed in range(2)]
    for image in images:
        white = np.median(image[(tissues == 3) & (lesions == 0)])
        assert np.median(image[lesions > 0]) > 1.08 * white
        assert image[tissues == 0].max() == 0
    assert np.array_equal(images[1], painted_flair(head, lesions, 1))


def test_a_head_learns_what_is_bright_in_white_matter(monkeypatch):
    monkeypatch.setattr(anomalies, "STEPS", 800)
    random = np.random.default_rng(0)
    features = random.random((20_000, len(GROUPS) + len(WIDE_VOXELS) + 3), np.float32)
    truth = ((features[:, 0] > 0.5) & (features[:, -3] > 0.8)).astype(np.float32)
    found = head_of(learned(features, truth))
    scores = found(features)
    assert scores.min() >= 0
    assert scores[truth > 0].mean() > 0.8
    assert scores[truth == 0].mean() < 0.1


@pytest.fixture
def segmenter(monkeypatch):
    """Takes all that is bright for white matter."""
    net = network()

    def forward(z, t, r, cond):
        said = torch.full_like(z, -20.0)
        said[:, 3:4] = torch.where(cond.concat > 0.3, 20.0, -30.0)
        return said

    monkeypatch.setattr(net, "forward", forward)
    return net


def test_features_are_those_of_the_voxels_of_the_head(segmenter):
    data = torch.zeros(WINDOW)
    data[10:30, 10:30, 10:30] = 100.0
    data[18:20, 18:20, 18:20] = 150.0
    read = read_features(Volume(data, np.diag([-2.0, 2.0, 2.0, 1.0])), segmenter)
    assert read.features.shape == (8000, len(GROUPS) + len(WIDE_VOXELS) + 3)
    assert read.brightness.max() == pytest.approx(1.5)
    assert (read.laid_out(read.brightness) > 1.4).sum() == 8
    assert np.median(read.features[:, 0]) > 0.9


def test_bounds_are_what_healthy_heads_pass(head, segmenter, tmp_path):
    count = len(GROUPS) + len(WIDE_VOXELS) + 3
    weights = {"weight0": np.zeros((1, count), np.float32), "offset0": np.zeros(1, np.float32)}
    weights["weight0"][0, -3] = 1.0  # brightness itself
    ones = np.ones(count, np.float32)
    plain = AnomalyHead(((weights["weight0"], weights["offset0"]),), 0 * ones, ones, {})
    bounds = calibrated(plain, [head], segmenter, paintings=1)
    assert list(bounds) == [f"{ml:g}" for ml in BOUNDS_ML]
    assert sorted(bounds.values(), reverse=True) == list(bounds.values())
    write_head({**weights, "middle": 0 * ones, "spread": ones}, {"bounds": bounds}, tmp_path)
    kept = shipped_head(tmp_path)
    assert kept.bounds[1.0] == kept.bound(1.0) == tuple(bounds["1"])
    assert kept.bound(2.0) > kept.bound(3.0) > kept.bound(5.0)
    from medical.training.anomalies import FIRST_HEALTHY, painted_read

    read = painted_read(head, np.zeros(head.kinds.shape, np.uint16), segmenter, FIRST_HEALTHY)
    assert (kept(read.features) > kept.bounds[1.0][0]).sum() == pytest.approx(1000, abs=30)


def test_features_do_not_depend_on_where_intensities_begin(segmenter):
    data = torch.zeros(WINDOW)
    data[10:30, 10:30, 10:30] = 100 + 10 * torch.rand(20, 20, 20)
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    plain = read_features(Volume(data, affine), segmenter)
    below = read_features(Volume(data - 200, affine), segmenter)
    np.testing.assert_array_equal(plain.voxels, below.voxels)
    np.testing.assert_allclose(plain.features, below.features, atol=1e-3)


def test_a_skull_is_refused_before_the_network_runs():
    with pytest.raises(Refusal, match="strip the skull"):
        read_features(Volume(torch.rand(60, 60, 60) + 1, np.diag([4.0, 4, 4, 1])), network())
