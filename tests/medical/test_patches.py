"""Patches made at once are the same as one by one; changes of the head are in what is learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.transforms import RandAdjustContrast, RandBiasField, RandHistogramShift
from monai.utils.type_conversion import convert_to_tensor
from PIL import Image

from core.operations.linear_operators import AxisOperator
from medical.acquisition.noise import denoised
from medical.acquisition.protocols import AcquisitionRange
from medical.acquisition.scanning import training_pairs
from medical.anatomy.anatomy import AnatomyRange
from medical.anatomy.augmentation import Augmentation
from medical.evaluation import contact_sheet as sheets
from medical.files.nifti import write_volume
from medical.files.volume import FileHeader, Volume
from medical.operations.residual import RESIDUAL_SCALE
from medical.request import MRITrainingRequest
from medical.training.dataset import load_labels
from medical.training.patches import HeadPatches, PatchRecipe
from medical.training.training import head_batches, stages

ALL = AnatomyRange(contrast_share=0.7, lesion_share=0.7, deformation_share=0.7)
SIZE = (16, 24, 24)
HARD = AcquisitionRange(in_plane_share=0.5, noise_share=0.5)


def head(shape=(40, 44, 48), seed=0):
    """Tissues around each other, with texture, on empty background."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    radius = torch.stack(axes).square().sum(0).sqrt()
    labels = sum((radius < edge).int() for edge in (0.98, 0.8, 0.5))
    texture = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 0.5
    return torch.tensor([0.0, 0.25, 0.5, 0.8])[labels] + 0.1 * texture * (labels > 0), labels


@pytest.fixture(scope="module")
def heads():
    return [head(seed=0)[0], head(seed=1)[0]]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def truth_of(batch):
    return (batch["concat"][:, 0] + 1) / 2 + RESIDUAL_SCALE * batch["target"][:, 0]


def test_a_batch_holds_what_each_patch_would_be_alone(heads):
    patches = HeadPatches(heads, [(1.0, 0.9, 0.8)] * 2, PatchRecipe(SIZE, acquisitions=HARD))
    random = seeded(3)
    draws = [patches.draw(random) for _ in range(12)]
    assert len({draw.grid.axes[1] is None for draw in draws}) == 2
    assert len({draw.noise is None for draw in draws}) == 2
    batch = training_pairs([patches.obey(draw) for draw in draws])
    for place, draw in enumerate(draws):
        one = patches.obey(draw)
        scan = one.grid.operator().apply(one.truth)
        if one.noise is not None:
            real, imaginary = one.noise
            rician = ((scan + real).square() + imaginary.square()).sqrt()
            scan = denoised(rician, draw.noise_std)
        full = one.told.back_projection().matrices
        cut = [None if m is None else m[part] for m, part in zip(full, one.inner, strict=True)]
        back = AxisOperator((cut[0], cut[1], cut[2])).apply(scan)
        target = (one.truth[one.inner] - back) / RESIDUAL_SCALE
        assert torch.allclose(batch["target"][place, 0], target, atol=1e-4)
        assert torch.allclose(batch["concat"][place, 0], 2 * back - 1, atol=1e-5)
        evidence = one.told.evidence_map()[one.inner]
        assert torch.equal(batch["concat"][place, 1], evidence)
        assert batch["resolution"][place].tolist() == pytest.approx(one.told.resolution_mm())
        assert batch["spacing"][place].tolist() == pytest.approx(one.grid.spacing_mm)


def test_variations_are_those_of_monai(heads):
    always = Augmentation(flip_share=0.5, gamma_share=1.0, curve_share=1.0, bias_share=1.0)
    steps = [
        RandAdjustContrast(prob=1.0, gamma=(0.7, 1.5)),
        RandHistogramShift(num_control_points=(4, 8), prob=1.0),
        RandBiasField(degree=2, coeff_range=(-0.15, 0.15), prob=1.0),
    ]
    x = heads[0].contiguous()
    for seed in range(6):
        found = always.draw(seeded(seed)).apply(x)
        random = seeded(seed)
        u = torch.rand(6, generator=random, dtype=torch.float64)
        wanted = x.flip([axis for axis in range(3) if u[axis] < 0.5])
        for step in steps:
            step.set_random_state(int(torch.randint(2**31 - 1, (), generator=random)))
            wanted = convert_to_tensor(step(wanted[None]))[0]
        assert torch.allclose(found, wanted, atol=3e-6)
    even = torch.full((4, 5, 6), 0.5)
    assert torch.isfinite(always.draw(seeded(0)).apply(even)).all()


def test_changed_heads_are_the_same_bytes_again_and_stay_in_range(heads):
    patches = HeadPatches(heads, [(1.0, 0.9, 0.8)] * 2, PatchRecipe(SIZE, anatomies=ALL))
    first, second = (patches.draw_batch(10, seeded(5)) for _ in range(2))
    for name in first:
        assert torch.equal(first[name], second[name]), name
        assert torch.isfinite(first[name]).all()
        assert first[name].dtype == torch.float32
    truth = truth_of(first)
    assert float(truth.min()) > -0.01
    assert float(truth.max()) < 1.6  # bias fields reach e^0.45 at corners
    other = HeadPatches([h.clone() for h in heads], [(1.0, 0.9, 0.8)] * 2, patches.recipe)
    assert torch.equal(other.draw_batch(10, seeded(5))["target"], first["target"])


def test_without_shares_nothing_more_is_drawn(heads):
    plain, changed = seeded(1), seeded(1)
    HeadPatches(heads, recipe=PatchRecipe(SIZE)).draw(plain)
    recipe = PatchRecipe(SIZE, anatomies=AnatomyRange(lesion_share=1e-9))
    HeadPatches(heads, recipe=recipe).draw(changed)
    assert not torch.equal(plain.get_state(), changed.get_state())
    none = seeded(1)
    HeadPatches(heads, recipe=PatchRecipe(SIZE, anatomies=AnatomyRange())).draw(none)
    assert torch.equal(plain.get_state(), none.get_state())


def test_a_lesion_is_part_of_what_is_to_be_found(heads):
    recipe = PatchRecipe(
        SIZE, anatomies=AnatomyRange(lesion_share=1.0), augmentation=None, other_axis_share=0.0
    )
    patches = HeadPatches(heads, recipe=recipe)
    random, moved = seeded(2), 0
    for _ in range(6):
        draw = patches.draw(random)
        healthy = replace(draw, anatomy=replace(draw.anatomy, lesions=()))
        ill, well = (truth_of(training_pairs([patches.obey(d)])) for d in (draw, healthy))
        change = (ill - well).abs()
        seen = patches.obey(draw).truth - patches.obey(healthy).truth
        assert torch.allclose(ill - well, seen[draw.inner][None], atol=1e-5)
        moved += int(float(change.max()) > 0.05)
    assert moved == 6
    assert float(heads[0].max()) < 0.9  # the head itself was not painted on
    assert torch.equal(patches.volumes[0], heads[0].half())


def test_label_maps_beside_heads_decide_the_tissues(tmp_path):
    for subject in ("sub-01", "sub-02"):
        folder = tmp_path / subject / "anat"
        folder.mkdir(parents=True)
        data, labels = head((50, 50, 50))
        volume = Volume(200 * data, np.diag([1.0, 1.0, 1.0, 1.0]), FileHeader(dtype="uint8"))
        write_volume(volume, folder / f"{subject}_T1w.nii.gz")
        if subject == "sub-02":
            write_volume(volume.with_data(40.0 * labels), folder / f"{subject}_dseg.nii.gz")
    found = load_labels(tmp_path)
    assert list(found) == ["sub-02"]
    assert torch.unique(found["sub-02"]).tolist() == [0, 40, 80, 120]
    request = MRITrainingRequest.model_validate(
        {
            "heads": str(tmp_path),
            "contrast_share": 1.0,
            "lesion_share": 1.0,
            "deformation_share": 1,
        }
    )
    make_batch, validate = head_batches(request)
    assert validate is None
    x, cond = make_batch(2, seeded(0))
    assert tuple(x.shape) == (2, 1, 32, 48, 48)
    assert cond.concat is not None
    assert torch.isfinite(x).all()
    shifted = volume.with_data(labels.float(), np.diag([2.0, 1.0, 1.0, 1.0]))
    path = tmp_path / "sub-01" / "anat" / "sub-01_dseg.nii.gz"
    write_volume(shifted, path)
    with pytest.raises(ValueError, match="lies on another grid"):
        load_labels(tmp_path)


def test_the_plan_says_how_patches_are_drawn():
    asked = MRITrainingRequest(heads="x", lesion_share=0.25)
    found = {stage.plan.data for stage in stages(asked)}
    assert found == {"contrasts 0, lesions 0.25, deformations 0"}


def test_shares_outside_0_to_1_are_refused():
    for name in ("contrast_share", "lesion_share", "deformation_share"):
        assert MRITrainingRequest(heads="x").model_dump()[name] == 0.0
        for wrong in (-0.1, 1.1):
            with pytest.raises(ValueError, match=name):
                MRITrainingRequest.model_validate({"heads": "x", name: wrong})


def test_a_sheet_shows_every_kind_of_patch(heads):
    recipes = {
        "plain": PatchRecipe(SIZE),
        "lesions": PatchRecipe(SIZE, anatomies=AnatomyRange(lesion_share=1.0)),
    }
    rows = {name: HeadPatches(heads, recipe=recipe) for name, recipe in recipes.items()}
    sheet = sheets.contact_sheet(rows, columns=3)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (2 * (18 + 2 * 2 * 16 + 4), 3 * (2 * 24 + 4))
    assert sheet.std() > 20


def test_the_command_draws_a_sheet_of_a_folder(tmp_path, monkeypatch):
    path = tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    path.parent.mkdir(parents=True)
    header = FileHeader(dtype="uint8")
    write_volume(Volume(200 * head()[0], np.diag([1.0, 1.0, 1.0, 1.0]), header), path)
    monkeypatch.setattr(sheets, "SIZE", (16, 16, 16))
    monkeypatch.setattr("sys.argv", ["contact_sheet", str(tmp_path), str(tmp_path / "out.png")])
    assert sheets.main() == 0
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.size == (10 * (2 * 16 + 4), len(sheets.KINDS) * (18 + 2 * 2 * 16 + 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_draws_the_same_patches(heads):
    recipe = PatchRecipe(SIZE, acquisitions=HARD, anatomies=ALL)
    on_cpu = HeadPatches(heads, recipe=recipe)
    on_gpu = HeadPatches(heads, recipe=recipe, device="cuda")
    batch = on_gpu.draw_batch(12, seeded(4))
    assert {x.device.type for x in batch.values()} == {"cuda"}
    again = on_gpu.draw_batch(12, seeded(4))
    wanted = on_cpu.draw_batch(12, seeded(4))
    for name, found in batch.items():
        assert torch.equal(found, again[name])
    assert torch.equal(batch["spacing"].cpu(), wanted["spacing"])
    assert torch.equal(batch["concat"][:, 1].cpu(), wanted["concat"][:, 1])
    one, other = seeded(6), seeded(6)
    for _ in range(20):
        a, b = on_cpu.draw(one), on_gpu.draw(other)
        assert (a.head, a.order, a.outer, a.grid) == (b.head, b.order, b.outer, b.grid)
        if a.anatomy.contrast is None:  # whose noise is drawn on the device
            x, y = on_cpu.obey(a).truth, on_gpu.obey(b).truth.cpu()
            assert torch.allclose(x, y, atol=1e-4)
