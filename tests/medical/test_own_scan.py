"""A model that learns from the scan it restores: what it learns from, and what is kept of it."""

import numpy as np
import pytest
import torch

import lamina
from core.families.table import denoiser
from core.models.installed import Installed
from core.operations.operation import Model
from core.refusal import Refusal
from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
from medical.files.nifti import write_volume
from medical.files.volume import FileHeader, Volume
from medical.operations.adaptation import check_teaches, steps_of
from medical.operations.problem import prepare
from medical.operations.super_resolve_mri import SuperResolveMRI
from medical.request import SuperResolutionRequest
from medical.training.own_scan import adapted, own_patches
from medical.training.presets import tiny


def request(**changes):
    return SuperResolutionRequest(**{"scan": "scan.nii", "samples": 1, "steps": 1, **changes})


def head(shape=(32, 32, 32)):
    axes = [torch.linspace(-1, 1, n) for n in shape]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    inside = (x**2 + y**2 + z**2) < 0.9
    waves = 0.5 + 0.2 * torch.sin(19 * x) + 0.2 * torch.cos(17 * y) * torch.sin(15 * z)
    return Volume(800 * waves * inside, np.eye(4), FileHeader(dtype="int16"))


def scan(volume=None):
    return acquire(volume or head(), Acquisition.slices(2, SliceSampling(4.0)))


def stripes(axis):
    """(D, H, W) that varies along one axis alone, within what a scan has."""
    waves = 0.5 + 0.3 * torch.sin(1.3 * torch.arange(32.0))
    return waves.view([-1 if k == axis else 1 for k in range(3)]).expand(32, 32, 32)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "adapted"


def learned(network, problem, estimate, steps=2, **changes):
    told = {"digest": "a model", "steps": steps, "seed": 3, **changes}
    return adapted(network, problem, estimate, **told)


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_the_plane_teaches_and_the_slices_do_not():
    problem = prepare(scan(), request())
    for axis, teaches in {0: False, 1: True, 2: True}.items():
        make_batch = own_patches(problem, stripes(axis))
        target, _ = make_batch(16, torch.Generator().manual_seed(0))
        assert (float(target.abs().mean()) > 0.5) == teaches, axis


def test_pairs_are_blurred_as_the_slices_of_the_scan_are():
    problem = prepare(scan(), request(slice_thickness_mm=3.0))
    _, told = own_patches(problem, stripes(1))(4, torch.Generator().manual_seed(0))
    assert torch.equal(told.resolution, problem.conditioning().resolution.expand(4, 3))
    assert torch.equal(told.spacing, problem.conditioning().spacing.expand(4, 3))


def test_what_was_learned_is_kept_for_its_owner_and_taken_again(home):
    torch.manual_seed(0)
    network, problem = tiny().eval(), prepare(scan(), request())
    before, estimate, steps = weights(network), problem.back_projection(), []
    first = learned(network, problem, estimate, on_step=lambda i, n, _: steps.append((i, n)))
    assert steps == [(1, 2), (2, 2)]
    assert torch.equal(weights(network), before)
    assert not torch.equal(weights(first), before)
    (place,) = home.iterdir()
    assert (place.stat().st_mode & 0o777, home.stat().st_mode & 0o777) == (0o700, 0o700)
    assert not any(path.is_dir() for path in place.iterdir())
    again = learned(network, problem, estimate, on_step=lambda *_: pytest.fail("learned again"))
    assert torch.equal(weights(again), weights(first))
    for other in ({"seed": 4}, {"steps": 1}):
        assert not torch.equal(
            weights(learned(network, problem, estimate, **other)), weights(first)
        )
    learned(network, problem, estimate, digest="another model")
    assert len(list(home.iterdir())) == 4
    damaged = place / "weights.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert torch.equal(weights(learned(network, problem, estimate)), weights(first))


def test_an_ended_training_goes_on_to_the_same_weights(home, monkeypatch):
    torch.manual_seed(0)
    network, problem = tiny().eval(), prepare(scan(), request())
    estimate = problem.back_projection()
    whole = learned(network, problem, estimate, steps=4)
    monkeypatch.setenv("LAMINA_HOME", str(home.parent.with_name("other")))
    monkeypatch.setattr("medical.training.own_scan.CHECKPOINT_MINUTES", 0.0)
    steps = []

    def end(i, n, estimate):
        steps.append(i)
        if steps == [1, 2]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learned(network, problem, estimate, steps=4, on_step=end)
    gone_on = learned(network, problem, estimate, steps=4, on_step=end)
    assert steps in ([1, 2, 2, 3, 4], [1, 2, 3, 4])
    assert torch.equal(weights(gone_on), weights(whole))


def test_what_was_torn_is_begun_anew_and_what_may_be_at_work_stays(home, monkeypatch):
    torch.manual_seed(0)
    network, problem = tiny().eval(), prepare(scan(), request())
    estimate = problem.back_projection()
    whole = learned(network, problem, estimate)
    (place,) = home.iterdir()
    (place / "weights.safetensors").unlink()
    (place / "adapt/checkpoint").mkdir(parents=True)
    (place / "adapt/checkpoint/state.json").write_text("{")
    assert torch.equal(weights(learned(network, problem, estimate)), weights(whole))
    monkeypatch.setattr("medical.training.own_scan.KEPT", 1)
    (home / "at-work/adapt").mkdir(parents=True)
    learned(network, problem, estimate, seed=5)
    assert (home / "at-work").is_dir()
    assert (len(list(home.iterdir())), place.exists()) == (2, False)


def test_scans_on_other_grids_do_not_share_what_was_learned(home):
    torch.manual_seed(0)
    network, estimate = tiny().eval(), torch.rand(32, 32, 32)
    affine = np.diag([0.9, 0.9, 1.0, 1.0])
    other = Volume(head().data, affine, FileHeader(dtype="int16"))
    learned(network, prepare(scan(), request()), estimate, steps=1)
    learned(network, prepare(scan(other), request(spacing_mm=(0.9, 0.9, 1.0))), estimate, steps=1)
    assert len(list(home.iterdir())) == 2


def test_volumes_in_memory_and_pipelines_refuse_what_they_cannot_teach(home):
    with pytest.raises(Refusal, match="patches of at least 16"):
        lamina.super_resolve(scan(head((32, 12, 32))), adapt_minutes=0.01)
    pipeline = lamina.SuperResolutionPipeline.from_pretrained("heads-1mm")
    with pytest.raises(Refusal, match=r"ask lamina\.super_resolve"):
        pipeline(scan(), adapt_minutes=0.01)


def test_a_few_steps_lessen_the_error_on_a_scan_unlike_training(home):
    dark = head()
    unusual = dark.with_data((800 - dark.data) * (dark.data > 0))
    network = Installed("heads-1mm", "mri").load("cpu").network
    problem = prepare(scan(unusual), request())
    estimate = problem.back_projection()
    target, cond = own_patches(problem, estimate)(4, torch.Generator().manual_seed(9))
    noise, one = torch.randn(target.shape), torch.ones(4)

    def error(of):
        with torch.no_grad():
            return float((denoiser(of, cond)(noise, one, one) - target).square().mean())

    assert error(learned(network, problem, estimate, steps=8)) < 0.98 * error(network)


def test_an_operation_tells_all_steps_of_one_whole(home, tmp_path):
    write_volume(scan(), tmp_path / "scan.nii")
    asked = request(scan=str(tmp_path / "scan.nii"), adapt_minutes=0.02, samples=2, steps=2)
    operation, steps = SuperResolveMRI(), []
    torch.manual_seed(0)
    model = Model(tiny().eval().requires_grad_(False), {"name": "mine", "sha256": {}})
    operation.check(asked)
    drawn = operation.draw(
        asked, operation.prepare(asked), model, lambda i, n, _: steps.append((i, n))
    )
    total = steps_of(0.02) + 4
    assert steps == [(i, total) for i in range(1, total + 1)]
    plain = asked.model_copy(update={"adapt_minutes": 0.0})
    other = operation.draw(plain, operation.prepare(plain), model, lambda *_: None)
    assert not torch.equal(drawn.mean.data, other.mean.data)
    assert operation.cost(asked).seconds > operation.cost(plain).seconds


def test_a_scan_that_has_nothing_to_teach_is_refused():
    nearly = acquire(head(), Acquisition.slices(2, SliceSampling(1.4)))
    with pytest.raises(Refusal, match=r"finer in plane, by 1\.5 times"):
        check_teaches(prepare(nearly, request()))
    flat = scan(head((32, 12, 32)))
    with pytest.raises(Refusal, match="patches of at least 16"):
        check_teaches(prepare(flat, request()))


def test_requests_that_do_not_ask_are_addressed_as_before():
    assert "adapt_minutes" not in request().model_dump()
    assert request(adapt_minutes=5).model_dump()["adapt_minutes"] == 5
