"""Patches made and scans restored on a pretended GPU: see ``pretended_cuda``."""

import numpy as np
import pytest
import torch
from pretended_cuda import DEVICE, pretended_cuda

from core.seeds import generator
from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
from medical.acquisition.protocols import AcquisitionRange
from medical.anatomy.anatomy import AnatomyRange
from medical.files.volume import FileHeader, Volume
from medical.operations.restoring import Tiling
from medical.operations.super_resolve import super_resolve
from medical.request import SuperResolutionRequest
from medical.training.patches import HeadPatches, PatchRecipe
from medical.training.presets import tiny
from medical.training.training import patch_batches
from medical.training.validation import validation

RECIPE = PatchRecipe(
    (16, 16, 16),
    acquisitions=AcquisitionRange(in_plane_share=0.5, noise_share=0.5),
    anatomies=AnatomyRange(contrast_share=0.7, lesion_share=0.7, deformation_share=0.7),
)


def head(size=32):
    axes = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 3, indexing="ij")
    radius = torch.stack(axes).square().sum(0).sqrt()
    labels = sum((radius < edge).int() for edge in (0.98, 0.8, 0.5))
    texture = torch.rand(labels.shape, generator=generator(0)) - 0.5
    return torch.tensor([0.0, 0.25, 0.5, 0.8])[labels] + 0.1 * texture * (labels > 0), labels


@pytest.mark.parametrize("labeled", [False, True])
def test_patches_are_those_of_a_cpu_and_nobody_waits_for_them(labeled):
    volume, labels = head()

    def patches(device):
        given = [labels] if labeled else None
        return HeadPatches([volume], recipe=RECIPE, labels=given, device=device)

    with pretended_cuda() as waits:
        there = patches("cuda")
        waits.clear()
        x, cond = patch_batches(there)(8, generator(4))
        assert waits == []
        found = {"target": x, "concat": cond.concat, "spacing": cond.spacing}
        assert {x.device for x in found.values()} == {DEVICE}
        found = {name: x.cpu() for name, x in found.items()}
    expected = patches("cpu").draw_batch(8, generator(4))
    for name, ours in found.items():
        torch.testing.assert_close(ours, expected[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("noise_std", [0.0, 0.02])
def test_a_scan_is_restored_there_as_on_a_cpu(noise_std):
    volume = Volume(800 * head(24)[0], np.eye(4), FileHeader(dtype="int16"))
    scan = acquire(volume, Acquisition.slices(2, SliceSampling(4.0)))
    asked = SuperResolutionRequest(scan="scan.nii", samples=2, steps=1, noise_std=noise_std)
    tiling = Tiling(size=(16, 24, 24), overlap=(4, 4, 4))
    network = tiny().eval()
    plain = super_resolve(scan, asked, network, tiling=tiling)
    with pretended_cuda():
        network = network.to("cuda")
        found = super_resolve(scan, asked, network, tiling=tiling)
    torch.testing.assert_close(found.mean.data, plain.mean.data, rtol=0, atol=1.0)
    torch.testing.assert_close(found.std.data, plain.std.data, rtol=0, atol=1.0)


def test_a_network_is_validated_there():
    judge = validation([("sub-01", Volume(head()[0], np.eye(4), FileHeader(dtype="float32")))])
    assert judge is not None
    with pretended_cuda():
        found = judge(tiny().eval().to("cuda"))
    assert found.numbers["psnr"] > 10
