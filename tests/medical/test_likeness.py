"""Drawn heads held against real ones: patches, intensities, regional volumes."""

import numpy as np
import pytest

from medical.datasets.audited import audit_of, audit_verdict, audited_section, keep_audit
from medical.datasets.likeness import likeness, set_likeness, unlike
from medical.datasets.realism import (
    dataset_told_apart,
    patch_features,
    real_heads,
    regional_distance,
    regions,
    told_apart,
)

SHAPE = (120, 140, 120)


@pytest.fixture(scope="module")
def head():
    """Labels of a ball of three tissues, and an image of class means with noise."""
    axes = np.meshgrid(*[np.linspace(-1.05, 1.05, n) for n in SHAPE], indexing="ij")
    radius = np.sqrt(sum(a**2 for a in axes))
    labels = np.stack([radius < edge for edge in (1.0, 0.93, 0.75)]).sum(0).astype(np.uint8)
    noise = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    image = np.array([0, 310, 660, 1000], np.float32)[labels] + 20 * noise * (labels > 0)
    return image.astype(np.float32), labels


def test_fifteen_real_heads_are_held_and_told_from_themselves_by_chance():
    real = real_heads()["patches"]
    assert real.shape[0] == 15
    assert np.isfinite(real).all()
    same = dataset_told_apart([*real[::2]], real[1::2])
    assert 0.3 < same < 0.7


def test_a_head_of_class_means_is_refused_with_reasons(head):
    image, labels = head
    found = likeness(image, labels, np.zeros_like(labels), 0)
    assert found is not None
    reasons = unlike(found)
    assert any("told from real ones" in reason for reason in reasons)
    assert found == likeness(image, labels, np.zeros_like(labels), 0)
    good = {"told_apart": 0.6, "intensity_distance": 0.01, "contrast_to_noise": 3.0}
    assert unlike(good) == []
    assert "intensities are 0.500" in unlike({**good, "intensity_distance": 0.5})[0]
    assert "0.10 spreads" in unlike({**good, "contrast_to_noise": 0.1})[0]


def test_no_patch_lies_on_lesions_and_little_brain_is_not_measured(head):
    image, labels = head
    everywhere = np.ones_like(labels)
    assert len(patch_features(image / 1000, labels, everywhere, 0)) == 0
    assert likeness(image, labels, everywhere, 0) is None
    assert likeness(image, np.minimum(labels, 1), np.zeros_like(labels), 0) is None


def test_other_heads_are_told_and_the_same_are_not():
    random = np.random.default_rng(2)
    real = random.standard_normal((15, 32, 12))
    assert told_apart(real[0], np.concatenate(real[1:])) < 0.75
    assert told_apart(real[0] + 2, np.concatenate(real[1:])) > 0.95


def test_the_regional_distance_grows_with_what_is_shifted():
    random = np.random.default_rng(3)
    real, same = random.standard_normal((40, 54)), random.standard_normal((40, 54))
    near, far = regional_distance(same, real), regional_distance(same + 1, real)
    assert near < 0.5
    assert far == pytest.approx(1.0, abs=0.35)


def test_regions_are_shares_of_the_brain(head):
    shares = regions(head[1])
    assert len(shares) == 54
    assert shares.sum() == pytest.approx(1)


def test_a_dataset_is_measured_from_its_records():
    real = real_heads()
    like = [
        {"patches": p.tolist(), "regions": r.tolist()}
        for p, r in zip(real["patches"][:5], real["regions"][:5], strict=True)
    ]
    records = [{"quality": {"likeness": each}} for each in like]
    found = set_likeness(records)
    assert found is not None
    assert found["heads"] == 5
    assert found["told_apart"] < 0.6
    few = set_likeness(records[:2])
    assert few is not None
    assert few["told_apart"] is None
    assert set_likeness([{"quality": {}}]) is None


FACTS = {
    "heads": 2, "people": 60, "evidence": "the scans of 60 people", "passed": False,
    "found": [{"head": "sub-001", "person": "sub-05"}], "misses": "",
    "reasons": ["1 of 2 heads show a person: sub-001 (sub-05)", "few controls"],
    "controls": {"copies": {"made": 20, "found": 20}},
    "attacks": {"box": {"what": "intensities", "bar": 5.1}},
    "false_alarms": {"people": 60, "taken_for_others": 0}, "contributors": None,
    "membership": None, "cannot_say": ["More."], "protocol": "How.", "sha256": {},
    "nearest": [{"head": "sub-001", "person": "sub-05"}],
}  # fmt: skip


def test_the_report_tells_an_audit_and_names_nobody(tmp_path):
    assert "Not audited" in audited_section(tmp_path)
    assert audit_verdict(tmp_path) == "not audited"
    keep_audit(tmp_path, FACTS)
    text = audited_section(tmp_path)
    assert "1 of 2 heads show a person" in text
    assert "few controls" in text
    assert "sub-05" not in text + str(audit_of(tmp_path))
    assert audit_verdict(tmp_path) == "not passed"
