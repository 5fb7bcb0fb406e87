"""Training pairs: seeded, in the right scale, and truth = back-projection + residual."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from medical.acquisition.acquisition import Acquisition, SliceSampling
from medical.acquisition.protocols import AcquisitionRange
from medical.files.nifti import write_volume
from medical.files.volume import FileHeader, Volume
from medical.operations.baselines import back_projection
from medical.operations.residual import RESIDUAL_SCALE
from medical.training.dataset import load_heads, load_labels, split_heads
from medical.training.patches import HeadPatches, PatchRecipe

PLAIN = AcquisitionRange(
    common_mm=(4.0,),
    common_share=1.0,
    gap_share=0.0,
    box_share=0.0,
    in_plane_share=0.0,
    noise_share=0.0,
    told_off=0.0,
)


def ball(shape=(40, 44, 48), seed=0):
    """A bright textured ball on empty background."""
    axes = [torch.linspace(-1, 1, n) for n in shape]
    d, h, w = torch.meshgrid(*axes, indexing="ij")
    texture = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return (0.4 + 0.5 * texture) * ((d**2 + h**2 + w**2) < 0.9)


@pytest.fixture(scope="module")
def heads():
    return [ball(seed=0), ball(seed=1)]


def draw(patches, seed, size=4):
    return patches.draw_batch(size, torch.Generator().manual_seed(seed))


def test_the_same_seed_gives_the_same_batch_bit_for_bit(heads):
    patches = HeadPatches(heads, [(0.9, 0.9, 1.0)] * 2, PatchRecipe(size=(16, 24, 24)))
    first, second = draw(patches, 5, 12), draw(patches, 5, 12)
    assert {name: (tuple(x.shape), x.dtype) for name, x in first.items()} == {
        "target": ((12, 1, 16, 24, 24), torch.float32),
        "concat": ((12, 2, 16, 24, 24), torch.float32),
        "spacing": ((12, 3), torch.float32),
        "resolution": ((12, 3), torch.float32),
    }
    for name in first:
        assert torch.equal(first[name], second[name]), name
        assert type(first[name]) is torch.Tensor
        assert torch.isfinite(first[name]).all()
    assert not torch.equal(first["target"], draw(patches, 6, 12)["target"])


def test_back_projection_and_residual_add_up_to_the_head():
    head = ball((40, 40, 40))
    recipe = PatchRecipe(
        size=(40, 40, 40), acquisitions=PLAIN, augmentation=None, other_axis_share=0.0
    )
    patches = HeadPatches([head], recipe=recipe)
    batch = draw(patches, 0, 1)
    truth = (batch["concat"][0, 0] + 1) / 2 + RESIDUAL_SCALE * batch["target"][0, 0]
    turned = head.half().float().permute(2, 0, 1)
    assert any(torch.allclose(c, truth, atol=1e-5) for c in (turned, turned.transpose(1, 2)))


def test_the_condition_is_the_back_projection_of_the_degraded_head():
    head = ball((40, 40, 40))
    recipe = PatchRecipe(
        size=(40, 40, 40), acquisitions=PLAIN, augmentation=None, other_axis_share=0.0
    )
    patches = HeadPatches([head], recipe=recipe)
    batch = draw(patches, 3, 1)
    estimate = (batch["concat"][0, 0] + 1) / 2
    truth = estimate + RESIDUAL_SCALE * batch["target"][0, 0]
    # the phase is random: find it from the evidence channel, which peaks at slice centers
    evidence = batch["concat"][0, 1, :, 0, 0]
    best = min(
        (
            (back_projection(grid.operator().apply(truth), grid) - estimate).abs().max()
            + (grid.evidence_map()[:, 0, 0] - evidence).abs().max()
            for grid in (
                Acquisition.slices(0, SliceSampling(4.0, phase_mm=float(phase))).on_grid(
                    (40, 40, 40), (1.0, 1.0, 1.0)
                )
                for phase in np.linspace(-2, 2, 401)
            )
        ),
    )
    assert float(best) < 0.03


def test_the_thick_axis_is_d_and_its_numbers_follow_it(heads):
    spacing = [(0.7, 0.8, 1.1)] * 2
    recipe = PatchRecipe((16, 16, 16), other_axis_share=0.0, acquisitions=PLAIN)
    batch = draw(HeadPatches(heads, spacing, recipe), 1, 16)
    assert torch.allclose(batch["spacing"][:, 0], torch.tensor(1.1))
    assert torch.allclose(batch["resolution"][:, 0], torch.tensor(4.0))
    rounded = np.round(batch["spacing"][:, 1:].double().numpy(), 2).tolist()
    assert {tuple(row) for row in rounded} == {(0.7, 0.8), (0.8, 0.7)}
    assert torch.equal(batch["resolution"][:, 1:], batch["spacing"][:, 1:])
    recipe = PatchRecipe((16, 16, 16), other_axis_share=1.0)
    others = draw(HeadPatches(heads, spacing, recipe), 1, 16)
    assert set(np.round(others["spacing"][:, 0].double().numpy(), 2).tolist()) == {0.7, 0.8}


def test_the_drawn_acquisitions_cover_their_range():
    generator = torch.Generator().manual_seed(0)
    limits = AcquisitionRange()
    drawn = [limits.draw(generator, (1.0, 0.9, 0.8)) for _ in range(600)]
    thick = [a.axes[0] for a in drawn]
    for common in set(limits.common_mm):
        share = limits.common_share * limits.common_mm.count(common) / len(limits.common_mm)
        assert np.mean([s.thickness_mm == common for s in thick]) == pytest.approx(share, abs=0.06)
    assert min(s.thickness_mm for s in thick) < 2.0
    assert max(s.thickness_mm for s in thick) > 6.0
    assert np.mean([s.gap_mm > 0 for s in thick]) == pytest.approx(limits.gap_share, abs=0.06)
    assert all(0 <= s.gap_mm <= 0.3 * s.thickness_mm for s in thick)
    assert all(abs(s.phase_mm) <= s.pitch_mm / 2 for s in thick)
    coarse = [a.axes[1] for a in drawn if a.axes[1] is not None]
    assert len(coarse) / 600 == pytest.approx(limits.in_plane_share, abs=0.05)
    assert all(0.9 <= s.thickness_mm <= 1.8 for s in coarse)
    assert {s.profile for s in coarse} == {"band"}
    assert np.mean([a.noise_std > 0 for a in drawn]) == pytest.approx(limits.noise_share, abs=0.05)
    told = [limits.told(a, generator).axes[0] for a in drawn]
    off = [t.thickness_mm / s.thickness_mm - 1 for t, s in zip(told, thick, strict=True)]
    assert (np.mean(off), np.std(off)) == pytest.approx((0.0, limits.told_off), abs=0.02)
    assert [t.pitch_mm for t in told] == pytest.approx([s.pitch_mm for s in thick])
    before = generator.get_state()
    assert PLAIN.told(drawn[0], generator) is drawn[0]
    assert torch.equal(generator.get_state(), before)  # what was drawn without it stays


def test_patches_hold_enough_head():
    head = torch.zeros(64, 64, 64)
    head[40:, 40:, 40:] = 0.7
    recipe = PatchRecipe((16, 16, 16), acquisitions=PLAIN, augmentation=None)
    patches = HeadPatches([head], recipe=recipe)
    batch = draw(patches, 0, 16)
    filled = ((batch["concat"][:, 0] + 1) / 2 > 0.08).float().mean(dim=(1, 2, 3))
    assert float(filled.min()) >= 0.2
    with pytest.raises(ValueError, match="no voxel above"):
        draw(HeadPatches([torch.zeros(32, 32, 32)], recipe=recipe), 0)


def test_augmentation_keeps_the_background_dark_and_changes_the_contrast(heads):
    recipe = PatchRecipe((16, 16, 16), acquisitions=PLAIN)
    plain = HeadPatches(heads, recipe=replace(recipe, augmentation=None))
    varied = HeadPatches(heads, recipe=recipe)
    a, b = draw(plain, 2, 24), draw(varied, 2, 24)
    assert float(b["concat"][:, 0].min()) > -2.0
    assert float(b["concat"][:, 0].max()) < 2.5
    assert abs(float(a["concat"][:, 0].mean() - b["concat"][:, 0].mean())) > 1e-4


def test_heads_are_read_from_bids_and_split_by_subject(tmp_path):
    for i in range(1, 13):
        folder = tmp_path / f"sub-{i:02d}" / "anat"
        folder.mkdir(parents=True)
        header = FileHeader(dtype="uint8")
        volume = Volume(ball((8, 8, 8), i) * 200, np.diag([0.9, 0.9, 1.0, 1]), header)
        write_volume(volume, folder / f"sub-{i:02d}_T1w.nii.gz")
    heads = load_heads(tmp_path)
    assert [name for name, _ in split_heads(heads, "validation")] == ["sub-06", "sub-12"]
    train = [name for name, _ in split_heads(heads, "train")]
    assert len(train) == 10
    assert not {"sub-06", "sub-12"} & set(train)
    volume = heads[0][1]
    assert 0.9 < float(volume.data.max()) < 1.2
    assert volume.spacing_mm == pytest.approx((0.9, 0.9, 1.0))


def test_all_heads_of_a_subject_are_on_one_side(tmp_path):
    for subject in (f"sub-{i:02d}" for i in range(1, 7)):
        for name in (f"{subject}_run-1", f"{subject}_run-2"):
            path = tmp_path / subject / "anat" / f"{name}_T1w.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            header = FileHeader(dtype="uint8")
            volume = Volume(ball((8, 8, 8)) * 200, np.diag([1.0, 1, 1, 1]), header)
            write_volume(volume, path)
            labels = volume.with_data((volume.data > 1).float() * (1 + ("run-2" in name)))
            write_volume(labels, path.with_name(f"{name}_dseg.nii.gz"))
    heads = load_heads(tmp_path)
    kept = [name for name, _ in split_heads(heads, "validation")]
    assert kept == ["sub-06_run-1", "sub-06_run-2"]
    assert len(split_heads(heads, "train")) == 10
    found = load_labels(tmp_path)  # each has its own
    assert {name: int(x.max()) for name, x in found.items()} == {
        name: 1 + ("run-2" in name) for name, _ in heads
    }


def test_empty_folders_and_small_heads_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no sub-"):
        load_heads(tmp_path)
    with pytest.raises(ValueError, match="volumes is empty"):
        HeadPatches([])
    with pytest.raises(ValueError, match=r"shape \(8, 40, 40\)"):
        HeadPatches([torch.zeros(8, 40, 40)])
