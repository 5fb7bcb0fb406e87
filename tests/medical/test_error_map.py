"""The error to expect: no mesh, in the scan's units, small in its file, of its model alone."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from core.models.checkpoints import find_model
from core.models.files import read_record
from medical.acquisition.acquisition import Acquisition, SliceSampling, acquire
from medical.files.bids_derivatives import uncertainty_says
from medical.files.nifti import read_volume, write_volume
from medical.files.volume import FileHeader, Volume
from medical.operations.error_map import (
    compact,
    head_of,
    predicted_error,
    readings,
    shipped_head,
)
from medical.operations.problem import prepare
from medical.operations.super_resolve import super_resolve
from medical.request import SuperResolutionRequest
from medical.training import errors
from medical.training.errors import learned
from tests.medical.test_super_resolve import SMALL, StandIn, head


def scan_of(volume, pitch=4.0):
    return acquire(volume, Acquisition.slices(2, SliceSampling(pitch)))


def test_what_is_read_has_no_mesh_at_the_distance_of_slices():
    problem = prepare(scan_of(head((24, 24, 64))), SuperResolutionRequest(scan="s"))
    base = problem.back_projection()
    mesh = torch.cos(2 * torch.pi * torch.arange(64) / 4)[:, None, None]
    read = readings(problem, base, base + 0.05 * (1 + mesh)).exp()[16:-16]
    power = torch.fft.rfft(read - read.mean(0), dim=0).abs().square().mean((1, 2))
    at = 32 // 4
    beside = 0.5 * (power[at - 1] + power[at + 1])
    assert bool((power[at] <= 1.3 * beside + 1e-9).all())


def test_a_head_learns_how_large_errors_are_where(monkeypatch):
    monkeypatch.setattr(errors, "STEPS", 400)
    dice = torch.Generator().manual_seed(0)
    read = torch.rand(60_000, 3, generator=dice)
    std = 0.01 * torch.exp(2 * read[:, 0])
    found = head_of(learned(read, std * torch.randn(60_000, generator=dice)))
    for low in torch.arange(0, 1, 0.1):
        inside = (read[:, 0] >= low) & (read[:, 0] < low + 0.1)
        ratio = float((found(read[inside]) / std[inside]).mean())
        assert 0.8 < ratio < 1.25


def test_training_takes_as_many_parts_as_asked_and_scales_what_is_predicted(monkeypatch, tmp_path):
    dice = torch.Generator().manual_seed(0)
    parts = [(torch.rand(500, 3, generator=dice), torch.randn(500, generator=dice)) for _ in "123"]
    monkeypatch.setattr(errors, "STEPS", 20)
    monkeypatch.setattr(errors, "samples", lambda *_, seed: iter(parts))
    said = {}
    for scale in ("1", "0.84"):
        out = tmp_path / f"{scale}.safetensors"
        assert errors.main([str(tmp_path), str(out), "--parts", "2", "--scale", scale]) == 0
        with safe_open(out, framework="pt") as file:
            assert (file.metadata()["parts"], file.metadata()["scaled"]) == ("2", scale)
        said[scale] = head_of(load_file(out))(parts[0][0])
    torch.testing.assert_close(said["0.84"], 0.84 * said["1"])


def test_the_shipped_head_belongs_to_the_shipped_model_alone():
    record = read_record(find_model("heads-1mm", "mri"))
    found = shipped_head(record)
    assert found is not None
    assert found.low.shape == (9,)
    assert shipped_head({"sha256": {"weights.safetensors": "0" * 64}}) is None


def test_slabs_are_seamless():
    head_ = shipped_head(read_record(find_model("heads-1mm", "mri")))
    assert head_ is not None
    problem = prepare(scan_of(head((60, 24, 32))), SuperResolutionRequest(scan="s"))
    base = problem.back_projection()
    whole = head_(readings(problem, base, base * 1.1))
    torch.testing.assert_close(
        predicted_error(problem, base, base * 1.1, head_), whole, rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("samples", [1, 2])
def test_the_map_is_the_error_to_expect_where_it_is_known(samples):
    shipped = shipped_head(read_record(find_model("heads-1mm", "mri")))
    asked = SuperResolutionRequest(scan="s", samples=samples, steps=1)
    scan = scan_of(head())
    known = super_resolve(scan, asked, StandIn(0.5), tiling=SMALL, errors=shipped)
    assert known.calibrated
    assert "error to be expected" in str(known.record()["uncertainty"])
    assert float(known.std.data.min()) > 0
    assert known.std.header.description.endswith("; expected RMSE")
    assert uncertainty_says(known.record()) == (
        "Uncertainty: root mean square error to be expected, in the scan's units."
    )
    old = asked.model_copy(update={"edition": 2})
    before = super_resolve(scan, old, StandIn(0.5), tiling=SMALL, errors=shipped)
    assert not before.calibrated
    assert before.std.header.dtype == "float32"
    assert before.std.header.description.endswith("; std" if samples > 1 else "; std unknown")
    spread = "standard deviation over the samples" if samples > 1 else "unknown: one sample"
    assert uncertainty_says(before.record()).startswith(f"Uncertainty: {spread}")


def test_the_map_takes_a_byte_a_voxel_and_loses_little(tmp_path):
    data = torch.rand(20, 20, 20, generator=torch.Generator().manual_seed(0)) * 37
    volume = Volume(data, np.eye(4), FileHeader(rescaled=True))
    write_volume(compact(volume), tmp_path / "map.nii")
    found = read_volume(tmp_path / "map.nii")
    assert found.header.dtype == "uint8"
    assert float((found.data - data).abs().max()) <= 37 / 255 / 2 * 1.01
    assert float(compact(volume.with_data(torch.zeros(2, 2, 2))).data.max()) == 0
