"""Numbers that are quoted are numbers that are right."""

import pytest
import torch

from core.metrics import psnr


def test_psnr_of_a_known_error():
    truth = torch.zeros(2, 3, 4)
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0, abs=1e-5)
    assert psnr(truth + 0.1, truth, peak=2.0) == pytest.approx(26.0206, abs=1e-3)
    assert psnr(truth, truth) == float("inf")


def test_psnr_looks_where_the_mask_says():
    truth, estimate = torch.zeros(4, 4), torch.zeros(4, 4)
    estimate[0] = 0.1
    estimate[1:] = 5
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[0] = True
    assert psnr(estimate, truth, mask=mask) == pytest.approx(20.0, abs=1e-5)


def test_psnr_refuses_to_broadcast():
    with pytest.raises(ValueError, match=r"estimate is \(4, 1\), truth is \(4, 4\): "):
        psnr(torch.zeros(4, 1), torch.zeros(4, 4))
