"""A head without skull and face: every byte of the brain stays, nothing is left around it."""

import sys
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from core.operations.operation import Model
from core.refusal import Refusal
from medical.anatomy import stripping
from medical.anatomy.phantom import template_head
from medical.anatomy.stripping import find_brain
from medical.files.nifti import read_volume
from medical.lesions.request import StripSkullRequest
from medical.operations.strip_mri_skull import StripMRISkull

OPERATION = StripMRISkull()
NOBODY = Model(None, {"name": "deepbet"})


class Right:
    """A stand-in: brain is what is bright, and lies to the right of the middle."""

    def __init__(self, no_gpu):
        assert no_gpu

    def run_model(self, upright):
        shares = (upright > 500).astype(np.float32)
        shares[: len(shares) // 2] = 0
        return shares

    def postprocess(self, found):
        assert found.any(), "Not enough foreground"
        return found


@pytest.fixture
def standing(monkeypatch):
    package = ModuleType("deepbet")
    package.BrainExtraction = Right
    monkeypatch.setitem(sys.modules, "deepbet", package)
    monkeypatch.setattr(stripping, "stripper", lambda: ("a stand-in", "0" * 64))


def saved(folder, data, affine, *, scale=None, name="p17_T1w"):
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    if scale:
        image.header.set_slope_inter(*scale)
    nib.save(image, folder / f"{name}.nii.gz")
    return folder / f"{name}.nii.gz"


def turned(data, affine, axes):
    """The same head with its axes in another order and direction."""
    orientation = nib.orientations.axcodes2ornt(axes)
    image = nib.Nifti1Image(data, affine).as_reoriented(orientation)
    return np.asarray(image.dataobj), image.affine


def made(scan, folder):
    request = StripSkullRequest(scan=str(scan))
    OPERATION.check(request)
    prepared = OPERATION.prepare(request)
    drawn = OPERATION.draw(request, prepared, NOBODY, lambda *done: None)
    paths = OPERATION.write(request, drawn, folder / "out.nii.gz", overwrite=False)
    return paths, OPERATION.numbers(drawn) | OPERATION.verify(request, paths)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "AIR", "SLA"])
@pytest.mark.parametrize("scale", [None, (0.5, -20.0)])
def test_brains_are_found_upright_and_keep_every_byte(standing, tmp_path, axes, scale):
    head = np.full((80, 90, 70), 100, np.int16)
    head[:5] = 0
    head[10:70, 10:80, 10:60] = 2000  # half of it on the right
    head[10:70, 10:80, 10:60] += np.arange(60, dtype=np.int16)[:, None, None]
    data, affine = turned(head, np.diag([2.0, 2.0, 2.0, 1.0]), axes)
    scan = saved(tmp_path, data, affine, scale=scale)
    paths, facts = made(scan, tmp_path)
    brain = read_volume(paths["brain"])
    expected = np.zeros(head.shape, bool)
    expected[40:70, 10:80, 10:60] = True
    expected, _ = turned(expected.astype(np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]), axes)
    assert (brain.data.numpy() == expected).all()
    np.testing.assert_allclose(brain.affine, nib.load(scan).affine, atol=1e-5)
    before, after = (
        np.asarray(nib.load(p).dataobj.get_unscaled()) for p in (scan, paths["result"])
    )
    assert (before[expected > 0] == after[expected > 0]).all()
    assert not read_volume(paths["result"]).data.numpy()[expected == 0].any()
    assert facts["brain_ml"] == pytest.approx(expected.sum() * 8 / 1000)
    seen = int((read_volume(scan).data.numpy()[expected == 0] != 0).sum())
    assert facts["removed_ml"] == pytest.approx(seen * 8 / 1000)


def test_what_is_left_around_a_brain_is_found(standing, tmp_path):
    head = np.full((80, 90, 70), 100, np.int16)
    head[10:70, 10:80, 10:60] = 2000
    scan = saved(tmp_path, head, np.diag([2.0, 2.0, 2.0, 1.0]))
    paths, _ = made(scan, tmp_path)
    request = StripSkullRequest(scan=str(scan))
    image = nib.load(paths["result"])
    face = np.asarray(image.dataobj).copy()
    face[2, 80:, 2] = 100  # as in the scan, so that no byte outside the mask is another
    nib.save(nib.Nifti1Image(face, None, image.header), paths["result"])
    with pytest.raises(RuntimeError, match="still shows something around the brain"):
        OPERATION.verify(request, paths)


@pytest.mark.parametrize("bright", [slice(0, 0), slice(40, 44)])
def test_what_is_no_brain_is_refused(standing, tmp_path, bright):
    data = np.full((80, 80, 80), 100, np.int16)
    data[bright] = 900
    volume = read_volume(saved(tmp_path, data, np.diag([1.0, 1.0, 1.0, 1.0])))
    with pytest.raises(Refusal, match="a brain has 600 to 2200 ml; give a T1-weighted scan"):
        find_brain(volume)


@pytest.mark.parametrize("name", ["p17_FLAIR", "study1_T2W", "sub-01_PD"])
def test_another_contrast_is_refused_before_work(standing, tmp_path, name):
    data = np.full((8, 8, 8), 100, np.int16)
    scan = saved(tmp_path, data, np.eye(4), name=name)
    with pytest.raises(Refusal, match="brains are found in T1-weighted heads"):
        OPERATION.check(StripSkullRequest(scan=str(scan)))


def test_without_the_extra_nothing_is_begun(tmp_path, monkeypatch):
    stripping.stripper.cache_clear()
    monkeypatch.setattr(stripping, "find_spec", lambda name: None)
    scan = saved(tmp_path, np.full((8, 8, 8), 100, np.int16), np.eye(4))
    with pytest.raises(Refusal, match=r"pip install 'lamina\[skull\]'"):
        OPERATION.check(StripSkullRequest(scan=str(scan)))


@pytest.mark.slow
@pytest.mark.integration
def test_a_template_in_a_skull_comes_out_of_it(tmp_path):
    """The real networks, on a brain inside bone and scalp that were painted around it."""
    pytest.importorskip("deepbet", reason="the extra skull is not installed")
    from scipy.ndimage import binary_dilation, binary_fill_holes, gaussian_filter

    head = template_head()
    data = head.data.numpy() * 1000
    brain = binary_fill_holes(data > 50)
    around = [binary_dilation(brain, iterations=k) for k in (3, 8, 16)]
    data = np.select([brain, around[0], around[1], around[2]], [data, 180, 40, 900.0], 0)
    noise = np.random.default_rng(1).normal(0, 12, data.shape)
    data = (gaussian_filter(data, 0.6) + noise).clip(0).astype(np.int16)
    paths, facts = made(saved(tmp_path, data, head.affine), tmp_path)
    found = read_volume(paths["brain"]).data.numpy() > 0
    assert 2 * (found & brain).sum() / (found.sum() + brain.sum()) > 0.93
    assert found[around[2] & ~around[1]].mean() < 0.001  # of the scalp
    assert 1400 < facts["brain_ml"] < 2200
