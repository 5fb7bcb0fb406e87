"""The written protocol: its numbers on a bundled head, and on real heads where they lie."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from medical.acquisition.acquisition import Acquisition, SliceSampling
from medical.evaluation.evaluate import compare, evaluate, ssim, trimmed
from medical.files.volume import Volume
from medical.operations.baselines import foreground

DATA = Path(os.environ.get("LAMINA_DATA", Path(__file__).parents[3] / "shared" / "data"))
FOUR_MM = Acquisition.slices(2, SliceSampling(4.0))


def texture(shape=(24, 24, 42)):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return Volume(torch.nn.functional.avg_pool3d(x[None, None], 3, 1, 1)[0, 0], np.eye(4))


def test_heads_are_trimmed_to_whole_slices_from_both_ends():
    head = texture((8, 8, 43))
    cut = trimmed(head, FOUR_MM)
    assert cut.shape == (8, 8, 40)
    assert torch.equal(cut.data, head.data[:, :, 1:41])
    assert cut.affine[2, 3] == 1.0


def test_a_header_that_says_a_hair_less_than_a_millimeter_loses_no_slice():
    head = texture((8, 8, 143))
    head = head.with_data(head.data, np.diag([1.0, 1.0, 0.999998, 1.0]))
    truth = trimmed(head, FOUR_MM)
    assert truth.shape == (8, 8, 140)
    assert trimmed(truth, FOUR_MM).shape == truth.shape
    acquired = FOUR_MM.on_grid(truth.shape, truth.spacing_mm)
    assert acquired.axes[2] is not None
    assert acquired.axes[2].num_slices == 35


def test_foreground_is_the_closing_of_what_is_bright():
    x = torch.zeros(9, 9, 9)
    x[2:7, 2:7, 2:7] = 0.5
    x[4, 4, 4] = 0.0  # a one-voxel hole is closed
    x[0, 0, 0] = 0.08  # not above the threshold
    mask = foreground(x)
    assert int(mask.sum()) == 125
    assert mask[4, 4, 4]
    assert not mask[0, 0, 0]


def test_every_method_is_scored_on_the_same_scan():
    head = texture()
    truth = trimmed(head, FOUR_MM)
    seen = []
    scores = evaluate(
        [head],
        FOUR_MM,
        {"oracle": lambda scan, spacing_mm: truth.data + 1e-3},
        on_score=lambda head, name, score: seen.append((head, name)),
    )
    assert seen == [(0, "cubic"), (0, "back-projection"), (0, "oracle")]
    assert scores["oracle"].psnr == pytest.approx(60.0, abs=0.01)
    assert scores["oracle"].ssim > 0.99
    assert scores["oracle"].consistency == pytest.approx(1e-3, rel=0.01)
    assert scores["back-projection"].consistency < 1e-3 < scores["cubic"].consistency


def test_a_result_on_another_grid_is_refused():
    with pytest.raises(ValueError, match=r"returned \(2, 2, 2\)"):
        evaluate([texture()], FOUR_MM, {"wrong": lambda scan, spacing_mm: torch.zeros(2, 2, 2)})


def test_ssim_is_one_only_for_the_same_volume():
    x = texture().data
    assert ssim(x, x) == pytest.approx(1.0)
    assert ssim(x, x.flip(0)) < 0.9


@pytest.mark.slow
def test_back_projection_beats_cubic_by_the_known_margin_on_real_heads():
    folder = DATA / "t1-heads"
    if not folder.is_dir():
        pytest.skip("the development heads are not here; set LAMINA_DATA")
    from medical.acquisition.intensity import measure_scale
    from medical.files.nifti import read_volume

    heads = []
    for subject in ("sub-06", "sub-12"):
        volume = read_volume(folder / subject / "anat" / f"{subject}_T1w.nii.gz")
        heads.append(volume.with_data(measure_scale(volume.data).apply(volume.data)))
    scores = evaluate(heads, FOUR_MM)
    assert 23.5 < scores["cubic"].psnr < 27.0
    assert 1.2 < scores["back-projection"].psnr - scores["cubic"].psnr < 2.2
    assert scores["back-projection"].consistency < 1e-4


def test_what_back_projection_is_told_wrongly_costs_it():
    truth = trimmed(texture(), FOUR_MM)
    thick = Acquisition.slices(2, SliceSampling(5.0, -1.0))
    honest = {name: score for name, _, score in compare(truth, FOUR_MM)}
    misled = {name: score for name, _, score in compare(truth, FOUR_MM, told=thick)}
    assert misled["cubic"].psnr == honest["cubic"].psnr
    assert misled["back-projection"].psnr < honest["back-projection"].psnr
    assert misled["back-projection"].consistency > 2 * honest["back-projection"].consistency
