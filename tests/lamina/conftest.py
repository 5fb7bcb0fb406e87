"""Tiny models with random weights on a shelf, and a scan."""

import os

import numpy as np
import pytest
import torch

from core.models.checkpoints import save_model
from medical.files.nifti import write_volume
from medical.files.volume import Volume
from medical.training.presets import tiny as tiny_mri
from video.training.presets import tiny as tiny_video


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    for kind, make in {"video": tiny_video, "mri": tiny_mri}.items():
        network = make()
        for weight in network.parameters():  # zero-initialized layers would hide mistakes
            if weight.ndim and not weight.any():
                torch.nn.init.normal_(weight, std=0.1)
        record = {"name": f"tiny-{kind}", "kind": kind, "objective": "flow matching"}
        save_model(folder / f"tiny-{kind}", network, record)
    return folder


@pytest.fixture
def models(shelf, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("LAMINA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LAMINA_MODELS", str(shelf))
    monkeypatch.setenv("LAMINA_C2PA", "off")
    monkeypatch.chdir(tmp_path)
    return shelf


@pytest.fixture
def scan(tmp_path):
    data = torch.zeros(12, 10, 4)
    data[3:9, 3:8, 1:3] = torch.rand(6, 5, 2, generator=torch.Generator().manual_seed(0)) + 0.5
    path = tmp_path / "scan.nii.gz"
    write_volume(Volume(data, np.diag([1.0, 1.0, 4.0, 1.0])), path)
    return path
