"""An audit: who is shown is found and named, strangers are not, and what it cannot say is said."""

import shutil

import numpy as np
import pytest
import torch

from core.refusal import Refusal
from medical.anatomy.filters import blurred
from medical.anatomy.pool import CANONICAL
from medical.audit.auditing import audit
from medical.audit.controls import copied
from medical.audit.evidence import Strangers, standing_out
from medical.audit.membership import membership
from medical.audit.page import audit_page
from medical.audit.places import HeadFile, digest_of, evenly, heads_of, people_of
from medical.audit.request import AuditRequest
from medical.audit.seen import Seen, box_of, painted, seen_in, seen_labels
from medical.audit.sources import RealPeople
from medical.files.nifti import write_volume
from medical.files.volume import Volume
from medical.operations.audit_mri_dataset import AuditMRIDataset


def someone(seed: int) -> Volume:
    """A ball with folds of its own: gray and white matter and fluid, T1-weighted."""
    random = np.random.default_rng(seed)
    shape, step = (48, 58, 46), 3.0
    x, y, z = ((np.arange(n) - (n - 1) / 2) * step for n in shape)
    x, y, z = np.meshgrid(x, y, z, indexing="ij")
    radius = np.sqrt((x / 64) ** 2 + (y / 80) ** 2 + (z / 62) ** 2)
    noise = random.standard_normal((2, *shape)).astype(np.float32)
    folds = blurred(noise[0], 1.6)
    radius += 0.13 * folds / folds.std()
    inner = np.sqrt((x / 14) ** 2 + (y / 30) ** 2 + (z / 10) ** 2) < random.uniform(0.8, 1.1)
    outer = np.sqrt((x / 64) ** 2 + (y / 80) ** 2 + (z / 62) ** 2) < 1
    labels = np.select([~outer, inner, radius < 0.68, radius < 0.9], [0, 1, 3, 2], 1)
    image = np.array([0, 200, 500, 750], np.float32)[labels]
    image += (labels > 0) * 25 * noise[1]
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = [-70, -103, -65]
    return Volume(torch.from_numpy(image.clip(0)), affine)


def put(volume: Volume, folder, subject: str) -> None:
    anat = folder / subject / "anat"
    anat.mkdir(parents=True)
    write_volume(volume, anat / f"{subject}_T1w.nii.gz")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("audit")
    for k in range(14):
        put(someone(k), root / "people", f"sub-{k:02d}")
    put(someone(77), root / "made", "sub-001")
    put(copied(someone(5), 3), root / "made", "sub-002")
    return root


@pytest.fixture(scope="module")
def found(places):
    request = AuditRequest(
        dataset=str(places / "made"), against=str(places / "people"), controls=4
    )
    seen = []
    result = audit(request, lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == 2 + 14 + 3 * 4
    assert result.facts["sha256"] == {
        "heads": digest_of(heads_of(places / "made")),
        "people": digest_of(people_of(places / "people", 12)),
        "maps": "",
    }
    return result


@pytest.mark.slow
def test_a_copy_is_found_and_named_and_a_stranger_is_not(found):
    assert not found.passed
    (shown,) = found.facts["found"]
    assert (shown["head"], shown["person"]) == ("sub-002", "sub-05")
    assert "1 of 2 heads show a person: sub-002 (sub-05)" in found.facts["reasons"][0]


@pytest.mark.slow
def test_controls_are_found_and_nobody_is_taken_for_another(found):
    for name in ("copies", "renderings"):
        assert found.facts["controls"][name] == {"made": 4, "found": 4}
    assert found.facts["false_alarms"]["taken_for_others"] <= 1


@pytest.mark.slow
def test_the_page_says_the_verdict_and_what_it_cannot_say(found):
    page = audit_page("made", found.facts)
    assert "not passed" in page
    assert "sub-05" in page
    assert "not among these people" in page
    assert "://" not in page


def looked_at(name: str, seed: int, noise: float = 0.0) -> Seen:
    """Somebody on the lattice that heads share, with some of the voxels wrong."""
    random = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(-1.2, 1.2, n) for n in CANONICAL.shape), indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    folds = blurred(random.standard_normal(radius.shape).astype(np.float32), 2.0)
    inner = radius + 0.14 * folds / folds.std()
    labels = np.select([radius > 1, inner < 0.65, inner < 0.9], [0, 3, 2], 1)
    other = np.random.default_rng([seed, 1])
    wrong = (other.random(labels.shape) < noise) & (labels > 0)
    labels = np.where(wrong, other.integers(1, 4, labels.shape), labels).astype(np.uint8)
    return Seen(name, labels, box_of(painted(labels)))


def test_a_noisy_copy_is_found_by_every_attack_on_folds():
    people = [looked_at(f"sub-{k:02d}", k) for k in range(12)]
    source = RealPeople(people)
    assert source.strangers.false_alarms()[0] <= 1
    heads = [looked_at("copy", 4, noise=0.3), looked_at("stranger", 99)]
    scores = source.scores(heads)
    for attack in ("block", "hemisphere", "bent"):
        assert scores[attack][0].argmax() == 4, attack
    copy, stranger = source.strangers.findings([h.name for h in heads], scores)
    assert (copy.linked, copy.person) == (True, "sub-04")
    assert not stranger.linked


def test_strangers_cross_the_bar_seldom_and_copies_do():
    random = np.random.default_rng(0)
    score = random.normal(0, 0.1, (40, 40)).astype(np.float32)
    np.fill_diagonal(score, 1.0)
    strangers = Strangers.of([str(k) for k in range(40)], {"one": score, "two": score.T.copy()})
    wrong, of = strangers.false_alarms()
    assert (wrong <= 1, of) == (True, 40)
    heads = random.normal(0, 0.1, (20, 40)).astype(np.float32)
    heads[7, 13] = 1.0
    names = [f"head-{k}" for k in range(20)]
    linked = [f for f in strangers.findings(names, {"one": heads, "two": heads}) if f.linked]
    assert [(f.head, f.person) for f in linked] == [("head-7", "13")]
    assert strangers.bar("one", 40) > strangers.bar("one", 1)


def test_ones_own_column_is_left_out():
    scores = np.array([[9.0, 1.0, 2.0, 1.0], [0.0, 9.0, 1.0, 5.0]], np.float32)
    assert standing_out(scores, np.array([0, 1]))[1].tolist() == [2, 3]


def test_who_was_mixed_in_is_told_from_who_was_not():
    random = np.random.default_rng(1)
    people = random.normal(size=(30, 4000)).astype(np.float32)
    members = np.arange(30) < 20
    weights = random.normal(size=(60, 20)).astype(np.float32)
    told = membership(weights @ people[members], people, members)
    assert told is not None
    assert told.auc > 0.95
    other = membership(random.normal(size=(60, 4000)).astype(np.float32), people, members)
    assert other is not None
    assert 0.25 < other.auc < 0.75
    assert membership(people, people, np.ones(30, bool)) is None


def test_a_digest_of_heads_follows_their_bytes_and_names(places):
    heads = people_of(places / "people", 12)
    assert digest_of(heads) == digest_of(people_of(places / "people", 12))
    assert len({digest_of(heads), digest_of(heads[:5]), digest_of(heads[5:]), digest_of([])}) == 4
    renamed = [HeadFile("sub-x", head.path) for head in heads]
    assert digest_of(renamed) != digest_of(heads)


def test_files_are_heads_in_whatever_case_and_further_ones_of_a_person_are_told(tmp_path):
    for name in ("sub-1_T1w.NII.GZ", "sub-1_run-2_T1w.nii", "sub-1_T1w.json", "sub-1_T1w.txt"):
        path = tmp_path / "sub-1" / "anat" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert {head.path.name for head in heads_of(tmp_path)} == {
        "sub-1_T1w.NII.GZ",
        "sub-1_run-2_T1w.nii",
    }
    request = AuditRequest(dataset=str(tmp_path), against=str(tmp_path))
    assert AuditMRIDataset().read(request).remarks == (
        f"of each person of {tmp_path} one head is held: 1 other left out",
    )


def test_a_head_is_seen_the_same_however_its_file_has_its_axes():
    head = someone(17)
    known = seen_in(head, "as it is")
    axes = [((0, 1, 2), (0,)), ((1, 2, 0), (0, 1, 2))]  # LAS is the first
    for order, flips in axes:
        found = seen_in(turned(head, order, flips), "turned")
        np.testing.assert_array_equal(found.labels, known.labels)
        np.testing.assert_array_equal(found.box, known.box)


def turned(volume, order, flips):
    """The same voxels at the same places, their axes in another order, some the other way."""
    affine = volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, order]
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (volume.data.shape[order[axis]] - 1)
        affine[:3, axis] *= -1
    return Volume(volume.data.permute(order).flip(flips), affine)


def test_a_damaged_head_is_named_to_its_owner_alone(places, tmp_path):
    shutil.copytree(places / "people", tmp_path / "people")
    damaged = tmp_path / "people" / "sub-00" / "anat" / "sub-00_T1w.nii.gz"
    damaged.write_bytes(b"cut short")
    request = AuditRequest(dataset=str(places / "made"), against=str(tmp_path / "people"))
    with pytest.raises(Refusal, match="sub-00_T1w") as caught:
        audit(request)
    assert "(a person)" in caught.value.unnamed
    assert "sub-00_T1w" not in caught.value.unnamed


def test_what_is_no_dataset_is_refused(places, tmp_path):
    with pytest.raises(Refusal, match="heads are held against people by their anatomy"):
        heads_of(tmp_path)
    with pytest.raises(Refusal, match="heads of 2 people"):
        people_of(places / "made", 12)
    assert [h.name for h in evenly(heads_of(places / "people"), 2)] == ["sub-00", "sub-07"]
    grid = Volume(torch.full((4, 4, 4), 163.0), np.eye(4))
    with pytest.raises(Refusal, match="not 0 to 3"):
        seen_labels(grid, "sub-1")
    head = someone(1)
    with pytest.raises(Refusal, match="without their skull"):
        seen_in(Volume(head.data, np.diag([4.0, 4.0, 4.0, 1.0])), "sub-1")
