"""Structures: the vocabulary, painted heads, the grid that comes back, and learning at all."""

import numpy as np
import pytest
import torch

from core.conditioning import Conditioning
from core.refusal import Refusal
from core.seeds import generator
from medical.anatomy.random_heads import LabelMap, draw_cut, outer_kinds, paint, whole_cut
from medical.anatomy.refining import learn_look
from medical.anatomy.segmenting import Upright, find_labels, scores
from medical.anatomy.structures import (
    FREESURFER,
    OUTSIDE,
    STRUCTURES,
    UNTAUGHT,
    kinds_of,
    painted_labels,
    structure_of_kinds,
)
from medical.evaluation.structures import as_tissues, dice
from medical.files.volume import Volume
from medical.training.segmenter import Scoring, batches, find_maps, network


def labels(size=64):
    """A head of nested balls: tissue outside, fluid, cortex, white matter, ventricles."""
    places = np.indices((size,) * 3) - (size - 1) / 2
    radius = np.linalg.norm(places, axis=0) / (size / 2)
    bounds, kinds = [0.25, 0.55, 0.72, 0.8, 0.95], [4, 2, 3, 24, 507, 0]
    return np.array(kinds)[np.digitize(radius, bounds)]


def test_a_label_that_nobody_knows_is_refused_by_its_number():
    with pytest.raises(Refusal, match=r"labels \[77, 2035\] are not in the vocabulary"):
        kinds_of(np.array([0, 2, 77, 2035]))
    known = sorted({k for group in FREESURFER.values() for k in group} | set(UNTAUGHT))
    assert sorted(k for group in painted_labels() for k in group) == known
    taught = structure_of_kinds()[kinds_of(np.array(known))]
    assert [k for k, row in zip(known, taught, strict=True) if not row.any()] == list(UNTAUGHT)
    assert taught.sum(1).max() == 1


@pytest.mark.parametrize("label", [136, 137, 163, 164])
def test_a_label_without_a_name_is_painted_and_not_taught(label):
    whole = labels()
    whole[28:36, 28:36, 28:36] = label
    image, truth = paint(whole_cut(LabelMap.of(whole)), generator(1))
    middle = tuple(n // 2 for n in truth.shape[1:])
    assert float(truth[(slice(None), *middle)].sum()) == 0
    assert float(image[(0, *middle)]) > 0


def test_painted_heads_differ_in_contrast_and_have_one_truth():
    head = LabelMap.of(labels())
    cut = draw_cut(head, (32, 32, 32), generator(2))
    assert float(cut.shares.sum(0).min()) == float(cut.shares.sum(0).max()) == 1
    images, stripped = [], 0
    for seed in range(12):
        image, truth = paint(cut, generator(seed))
        assert image.shape == (1, 32, 32, 32)
        assert torch.allclose(truth.sum(0), torch.ones(()))
        gone = float(truth[OUTSIDE].sum()) == 0
        stripped += gone
        outside = cut.shares[torch.from_numpy(outer_kinds())].sum(0) == 1
        assert (float(image[0][outside].max()) == 0) == gone
        images.append(image.flatten())
    assert 2 <= stripped <= 10
    close = torch.corrcoef(torch.stack(images)).abs()
    assert float(close.fill_diagonal_(0).max()) < 0.999


def test_the_network_learns_from_painted_heads():
    torch.manual_seed(0)
    net, scoring = network(), Scoring()
    x, cond = batches([LabelMap.of(labels())])(2, generator(3))
    assert cond.concat is not None
    x, cond = x[..., ::2, ::2, ::2], Conditioning(concat=cond.concat[..., ::2, ::2, ::2])
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    losses, error = [], torch.zeros(0)
    for _ in range(20):
        loss, error = scoring.loss(net, x, cond, scoring.draw(x, generator(4)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert error.shape == (2,)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_what_is_found_comes_back_on_the_scans_own_grid(axes, signs):
    whole = np.zeros((30, 44, 36), np.float32)
    whole[4:12, 20:40, 10:30] = 1.0
    affine = np.diag([1.5, 2.0, 2.5, 1.0])
    turn = np.zeros((4, 4))
    for new, old in enumerate(axes):
        turn[old, new] = signs[new]
    turn[3, 3] = 1
    data = whole.transpose(axes)
    data = np.flip(data, tuple(k for k in range(3) if signs[k] < 0)).copy()
    turned = Upright.of(Volume(torch.from_numpy(data), affine @ turn))
    assert turned.image.shape == (22, 44, 45)
    assert (
        turned.image.argmax() == Upright.of(Volume(torch.from_numpy(whole), affine)).image.argmax()
    )
    back = turned.as_scanned(turned.at_voxels(turned.image) > 0.5)
    assert back.shape == data.shape
    assert dice(back.astype(int), data.astype(int), [1])[0] > 0.93


def test_windows_agree_with_the_network_seen_whole(monkeypatch):
    bright = network()

    def forward(z, t, r, cond):
        """Structure 1 where the image is above a half."""
        return torch.cat([0.5 - cond.concat, cond.concat - 0.5, z[:, 2:] - 5], 1) * 20

    monkeypatch.setattr(bright, "forward", forward)
    image = np.random.default_rng(0).random((70, 50, 33)).astype(np.float32)
    found = scores(image, bright)
    assert found.shape == (len(STRUCTURES), 70, 50, 33)
    assert np.allclose(found.sum(0), 1, atol=1e-5)
    assert (found.argmax(0) == (image > 0.5)).all()
    ball = Volume(torch.from_numpy((labels() == 2).astype(np.float32)), np.diag([1, 1, 1, 1.0]))
    assert dice(find_labels(ball, bright), ball.data.numpy().astype(int), [1])[0] > 0.9
    with pytest.raises(Refusal, match="0 everywhere"):
        find_labels(Volume(torch.zeros(8, 8, 8), np.eye(4)), bright)


def test_intensities_move_borders_to_where_the_scan_has_them():
    random = np.random.default_rng(0)
    truth = labels(48)
    kinds = np.select([truth == 2, truth == 3, truth == 24], [3, 2, 1], 0)
    value = np.array([0.0, 0.2, 0.5, 0.8])[kinds]
    image = value + (kinds > 0) * random.normal(0, 0.03, kinds.shape)
    places = np.linspace(0.85, 1.15, 48)[:, None, None]  # a bias along one axis
    image = (image * places).clip(0).astype(np.float32)
    shares = np.stack([kinds == k for k in range(len(STRUCTURES))]).astype(np.float32)
    shifted = np.roll(shares, 2, axis=2)
    look = learn_look(image, shifted)
    assert np.allclose(look.means[1:4], [0.2, 0.5, 0.8], atol=0.06)
    even = image / look.bias
    found = np.stack([p * look.likelihood(even, k) for k, p in enumerate(look.prior)]).argmax(0)
    before = np.mean(dice(shifted.argmax(0), kinds, [1, 2, 3]))
    after = np.mean(dice(found, kinds, [1, 2, 3]))
    assert before < 0.8
    assert after > 0.93
    flat = np.std((image / look.bias)[kinds == 3])
    assert flat < 0.9 * np.std(image[kinds == 3])


def test_structures_as_tissues():
    assert as_tissues(np.arange(len(STRUCTURES))).tolist() == [
        0, 1, 2, 3, 1, 1, 2, 2, 2, 2, 2, 2, 3, 2, 3, 0
    ]  # fmt: skip
    assert np.isnan(dice(np.zeros(3, int), np.zeros(3, int), [1])[0])


def test_maps_are_held_out_by_name(tmp_path):
    for k in range(6):
        (tmp_path / f"map_{k}.nii.gz").touch()
    taken, held = find_maps(tmp_path)
    assert list(held) == ["map_4"]
    assert len(taken) == 5
    with pytest.raises(Refusal, match="holds 0 label maps"):
        find_maps(tmp_path / "none")
    (tmp_path / "._map_1.nii.gz").touch()
    assert list(find_maps(tmp_path)[1]) == ["map_4"]
    (tmp_path / "map_3.nii").touch()
    with pytest.raises(Refusal, match=r"map_3\.nii.*: another map has this name .*; rename"):
        find_maps(tmp_path)


def tissue(low=0.0):
    """A block of intensities from 80 to 120 above the lowest."""
    data = np.zeros((60, 60, 60), np.float32)
    data[10:50, 10:50, 10:50] = 80 + 40 * np.random.default_rng(0).random((40, 40, 40))
    return data + low


def test_one_hot_voxel_changes_nothing_elsewhere():
    clean = Upright.of(Volume(torch.from_numpy(tissue()), np.eye(4)))
    data = tissue()
    data[30, 30, 30] = 32767
    hot = Upright.of(Volume(torch.from_numpy(data), np.eye(4)))
    away = np.ones(clean.upright.shape, bool)
    away[26:36, 26:36, 26:36] = False
    np.testing.assert_allclose(hot.upright[away], clean.upright[away], rtol=1e-3)
    assert np.median(hot.image[8:20, 8:20, 8:20]) == pytest.approx(0.85, abs=0.05)


def test_a_scan_wider_than_any_scanner_is_refused_before_it_is_read_at_2_mm():
    with pytest.raises(Refusal, match="6000 x 6000 x 6000 mm wide"):
        Upright.of(Volume(torch.rand(20, 20, 20), np.diag([300.0, 300, 300, 1])))
