"""Tiny models with random weights, and a state folder of one's own."""

import os
from pathlib import Path

import pytest
import torch

from core.checkpoints import save_model
from medical.presets import tiny as tiny_mri
from video.presets import tiny as tiny_video


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models ``tiny-video`` and ``tiny-mri``."""
    shelf = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    for kind, make in {"video": tiny_video, "mri": tiny_mri}.items():
        record = {"name": f"tiny-{kind}", "kind": kind, "objective": "average velocity"}
        save_model(shelf / f"tiny-{kind}", make(), record | {"guidance_trained_in": True})
    return shelf


@pytest.fixture
def places(tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point every place at ``tmp_path`` and the tiny models; the working folder, too."""
    for name in [name for name in os.environ if name.startswith("LAMINA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LAMINA_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("LAMINA_MODELS", str(tiny_models))
    monkeypatch.setenv("LAMINA_DEVICE", "cpu")
    monkeypatch.setenv("LAMINA_PORT", "4200")
    monkeypatch.chdir(tmp_path)
    return tmp_path
