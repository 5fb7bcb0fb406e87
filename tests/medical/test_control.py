"""A branch for the edges of heads: trained beside a model, led by an image, refused elsewhere."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import lamina
from core.conditioning import Conditioning
from core.models import controls
from core.models.checkpoints import load_model, read_record
from core.networks.unet import SpatioTemporalUNet
from core.refusal import Refusal
from core.seeds import initialized
from flows.training.publish import publish
from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
from medical.anatomy.anatomy import AnatomyRange
from medical.anatomy.augmentation import Augmentation
from medical.files.nifti import read_volume, write_volume
from medical.files.volume import Volume
from medical.operations.controlled import edges, one_hot
from medical.operations.residual import RESIDUAL_SCALE
from medical.operations.super_resolve_mri import SuperResolveMRI
from medical.request import MRITrainingRequest, SuperResolutionRequest
from medical.training.controls import WITHOUT, controlled, tissue_maps
from medical.training.patches import HeadPatches, PatchRecipe
from medical.training.presets import tiny
from medical.training.training import patch_batches, stages, train


def patches(size, random):
    x = torch.randn(size, 1, 8, 8, 8, generator=random)
    beside = torch.rand(size, 2, 8, 8, 8, generator=random)
    return x, Conditioning(concat=beside, spacing=torch.ones(size, 3))


def test_edges_are_where_intensities_change_along_any_axis():
    x = torch.zeros(1, 1, 6, 6, 6)
    x[..., 3:] = 0.5  # from column 3 on
    found = edges(x)
    assert torch.equal(found[0, 0, 2, 2], torch.tensor([0.0, 0, 1, 1, 0, 0]))
    assert edges(0.2 * x).amax() == pytest.approx(0.2)
    for axis in (2, 3):
        turned = edges(x.transpose(axis, 4)).transpose(axis, 4)
        assert torch.equal(turned, found)
    assert torch.equal(edges(0.5 - x), found)  # the other contrast has the same edges


def test_batches_are_told_by_the_edges_of_the_sharp_head_but_for_a_share():
    x, cond = controlled(patches)(200, torch.Generator().manual_seed(0))
    assert cond.control is not None
    assert cond.concat is not None
    empty = ~cond.control.flatten(1).any(1)
    assert float(empty.float().mean()) == pytest.approx(WITHOUT, abs=0.06)
    head = (cond.concat[:, :1] + 1) / 2 + RESIDUAL_SCALE * x
    assert torch.equal(cond.control[~empty], edges(head)[~empty])


def test_batches_are_told_by_the_tissues_of_the_same_head_however_it_is_cut():
    axes = torch.meshgrid(*[torch.arange(20.0)] * 3, indexing="ij")
    head = 0.2 + 0.1 * ((axes[0] + 2 * axes[1] + 3 * axes[2]) % 4)  # brightness tells the tissue
    tissues = ((head - 0.2) / 0.1).round()
    whole, flipped = AnatomyRange(deformation_share=0.5), Augmentation(1.0, 0, 0, 0)
    for anatomies, least in ((AnatomyRange(), 1.0), (whole, 0.0)):
        recipe = PatchRecipe((8, 8, 8), anatomies=anatomies, augmentation=flipped)
        cut = patch_batches(HeadPatches([head], recipe=recipe, maps=[tissues]))
        x, cond = controlled(cut, "labels")(40, torch.Generator().manual_seed(0))
        assert cond.concat is not None
        assert cond.control is not None
        assert cond.control.shape == (40, 3, 8, 8, 8)
        empty = ~cond.control.flatten(1).any(1)
        assert 0 < int(empty.sum()) < 12
        sharp = (cond.concat[:, :1] + 1) / 2 + RESIDUAL_SCALE * x
        expected = one_hot(((sharp - 0.2) / 0.1).round())
        right = (cond.control == expected).all(1)[~empty].float().mean()
        assert right >= least
        assert right > 0.5  # bent heads are read between voxels, and labels are not


def test_tissues_of_a_head_without_any_are_refused_by_name():
    with pytest.raises(Refusal, match=r"sub-07: the largest bright piece"):
        tissue_maps([("sub-07", Volume(torch.zeros(8, 8, 8), np.eye(4)))])


@pytest.fixture
def base(tmp_path, finished):
    """A small finished model, and the request to learn a branch beside it."""
    folder = finished(initialized(tiny, 3), "mri", "flow matching")
    asked = {"start": "old", "control": "edges", "name": "new", "steps": 3, "batch_size": 4}
    return folder, MRITrainingRequest.model_validate(asked | {"heads": str(tmp_path)})


def test_a_branch_is_kept_beside_the_base_which_stays_as_it_is(base, tmp_path):
    folder, request = base
    (stage,) = stages(request)
    assert stage.name == "flow"
    assert "told by their edges" in stage.plan.data
    network, done = train(request, tmp_path / "run", make_batch=patches)
    assert done
    assert isinstance(network, SpatioTemporalUNet)
    branch: Any = network.control
    assert any(out.weight.any() for out in branch.outs)
    made = publish(tmp_path / "models" / "new", network, request, run=tmp_path / "run")
    digests, was = read_record(made)["sha256"], read_record(folder)["sha256"]
    assert digests["weights.safetensors"] == was["weights.safetensors"]
    assert digests["config.json"] == was["config.json"]
    control = controls.Control.of(made / "control.safetensors")
    assert (control.shows, control.base_name) == ("edges", "old")


@pytest.fixture
def led(base, branch_of, tmp_path):
    """A request for a scan beside a control file and an image that it is shown."""
    folder, _ = base
    path = branch_of(folder, "mri")
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (20, 24, 24)], indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.8
    waves = 0.6 + 0.3 * torch.sin(9 * axes[2]) * torch.cos(7 * axes[0])
    head = Volume(800 * waves * inside, np.diag([1.0, 1, 1, 1]))
    write_volume(head, tmp_path / "sharp.nii.gz")
    write_volume(
        acquire(head, Acquisition.slices(2, SliceSampling(4.0))), tmp_path / "scan.nii.gz"
    )
    asked = {"scan": str(tmp_path / "scan.nii.gz"), "model": "old", "samples": 1, "steps": 1}
    asked |= {"control": str(path), "noise_std": 0.0}
    return asked | {"control_scan": str(tmp_path / "sharp.nii.gz")}


def plain_of(led):
    return {name: value for name, value in led.items() if not name.startswith("control")}


def restored(asked):
    request, operation = SuperResolutionRequest.model_validate(asked), SuperResolveMRI()
    operation.check(request)
    model = operation.source(request).load("cpu")
    return operation.draw(request, operation.prepare(request), model, lambda *_: None).mean.data


def test_a_head_is_led_by_the_edges_of_another_image(led):
    plain = restored(plain_of(led))
    assert torch.equal(restored({**led, "control_scale": 0.0}), plain)
    whole = restored(led)
    assert not torch.equal(whole, plain)
    assert not torch.equal(restored({**led, "control_scale": 0.3}), whole)
    request = SuperResolutionRequest.model_validate(led)
    record = SuperResolveMRI().source(request).record()
    assert record["control"]["shows"] == "edges"
    assert {"control", "control_scan"} <= SuperResolveMRI().inputs(request).keys()


def test_a_model_that_was_loaded_with_a_branch_is_led_by_an_image_alone(led, base):
    fields = {name: value for name, value in led.items() if name not in ("scan", "model")}
    file = fields.pop("control")
    folder, _ = base
    loaded = lamina.load(folder, control=controls.Control.of(file), device="cpu")
    found = lamina.super_resolve(led["scan"], model=loaded, **fields).mean.data
    assert torch.equal(found, restored(led))
    held = lamina.super_resolve(read_volume(led["scan"]), model=loaded, **fields).mean.data
    assert torch.equal(held, found)
    with pytest.raises(
        Refusal,
        match=r"to lamina\.load as control, .* or reference alone",
    ):
        lamina.super_resolve(led["scan"], model=loaded, control=file, **fields)
    plain = lamina.load(folder, device="cpu")
    with pytest.raises(Refusal, match=r"control='' with control_scan=.*control and control_scan"):
        lamina.super_resolve(led["scan"], model=plain, **fields)


def test_a_head_is_led_by_a_map_of_its_tissues(base, branch_of, led, tmp_path):
    folder, _ = base
    asked = led | {"control": str(branch_of(folder, "mri", "labels", 3))}
    sharp = read_volume(led["control_scan"])
    with pytest.raises(Refusal, match=r"0 background, 1 CSF, .*lamina mri segment"):
        restored(asked)
    found = {}
    for kind in (1, 2):
        labels = sharp.with_data(kind * (sharp.data > 0).float())
        write_volume(labels, tmp_path / f"{kind}.nii.gz")
        found[kind] = restored(asked | {"control_scan": str(tmp_path / f"{kind}.nii.gz")})
    assert not torch.equal(found[1], found[2])
    unled = asked | {"control_scan": str(tmp_path / "1.nii.gz"), "control_scale": 0.0}
    assert torch.equal(restored(unled), restored(plain_of(led)))


def test_requests_without_a_control_are_what_they_were(led):
    told = SuperResolutionRequest.model_validate(plain_of(led)).model_dump()
    assert not [name for name in told if name.startswith("control")]
    assert SuperResolutionRequest.model_validate(led).model_dump()["control_scale"] == 1.0


NOT_LED = {
    "without an image": (
        {"control_scan": ""},
        r"name control and control_scan, or",
    ),
    "without a file": ({"control": ""}, r"name control and control_scan, or"),
    "on another grid": ({"control_scan": "scan.nii.gz"}, r"on the grid of the result.*resample"),
    "beside learning": ({"adapt_minutes": 1.0}, r"leave one of the two out"),
    "of no file": ({"control": "none.safetensors"}, r"there is no such file"),
    "beside another model": ({"model": "heads-1mm"}, r"learned beside old .*not heads-1mm"),
}


@pytest.mark.parametrize(("changes", "words"), NOT_LED.values(), ids=NOT_LED)
def test_what_cannot_lead_is_refused_before_work(led, changes, words, tmp_path):
    asked = {**led, **changes}
    if changes.get("control_scan"):
        asked["control_scan"] = str(tmp_path / changes["control_scan"])
    with pytest.raises(Refusal, match=words):
        SuperResolveMRI().check(SuperResolutionRequest.model_validate(asked))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"start": ""}, r"control=edges with .*: a branch is learned "),
        ({"network": "dit"}, r"control=edges with .*: a branch is learned "),
        ({"family": "ddpm"}, r"control=edges with .*: a branch is learned "),
        ({"lora": 4}, r"leave one of the two out"),
    ],
)
def test_a_branch_is_learned_alone_beside_a_finished_u_net(changes, words):
    asked = {"control": "edges", "start": "heads-1mm", "heads": "heads"} | changes
    with pytest.raises(ValidationError, match=words):
        MRITrainingRequest.model_validate(asked)


def test_a_model_folder_reads_its_branch(base, tmp_path):
    _, request = base
    network, _ = train(request, tmp_path / "run", make_batch=patches)
    made = publish(tmp_path / "models" / "new", network, request, run=tmp_path / "run")
    again, _ = load_model(made, dtype=torch.float32)
    plain, _ = load_model(made, dtype=torch.float32)
    controls.take(again, controls.Control.of(made / "control.safetensors"))
    x, cond = controlled(patches)(2, torch.Generator().manual_seed(1))
    bare = Conditioning(concat=cond.concat, spacing=cond.spacing)
    t = torch.tensor([0.3, 0.9])
    with torch.no_grad():
        expected = plain(x, t, None, bare)
        assert torch.equal(again(x, t, None, bare), expected)
        assert not torch.equal(again(x, t, None, cond), expected)
