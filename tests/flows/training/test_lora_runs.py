"""LoRA from the command line: trained beside a model, taken in by one scan, refused by another."""

import json

import nibabel
import numpy as np
import pytest
import torch

from core.models.adapters import ADAPTER, ADAPTER_CONFIG
from core.models.checkpoints import WEIGHTS, load_model, save_model
from core.seeds import generator, initialized
from flows.commands.command_line import main
from medical.training.presets import tiny


def blobs(path, shape, spacing, seed):
    coarse = torch.rand((1, 1, 8, 8, 8), generator=generator(seed))
    data = torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear")[0, 0]
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(255 * data.numpy(), np.diag([*spacing, 1.0])), path)


@pytest.mark.slow
def test_a_small_change_is_learned_saved_and_taken_in(tmp_path, monkeypatch, capsys):
    models = tmp_path / "models"
    monkeypatch.setenv("LAMINA_MODELS", str(models))
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    for name, seed in (("base-one", 0), ("other", 1)):
        network = initialized(tiny, seed)
        record = {"name": name, "kind": "mri", "objective": "flow matching"}
        save_model(models / name, network, record)
    before = (models / "base-one" / WEIGHTS).read_bytes()
    for person in (1, 2):
        place = tmp_path / f"heads/sub-{person:02d}/anat/sub-{person:02d}_T1w.nii.gz"
        blobs(place, (48, 48, 48), (1.0, 1.0, 1.0), person)
    train = ["train", "mri", "--heads", str(tmp_path / "heads"), "--preset", "tiny", "--name", "m"]
    more = ["--steps", "2", "--jump-steps", "0", "--batch-size", "2", "--lora", "2"]
    assert main([*train, *more]) == 2
    assert "lora=2 without start" in capsys.readouterr().err
    assert main([*train, *more, "--start", "base-one"]) == 0
    assert (models / "base-one" / WEIGHTS).read_bytes() == before
    record = json.loads((models / "m" / "model.json").read_text())
    assert {ADAPTER, ADAPTER_CONFIG, WEIGHTS} <= record["sha256"].keys()
    load_model(models / "m")

    scan, out = tmp_path / "scan.nii.gz", tmp_path / "out.nii.gz"
    blobs(scan, (24, 24, 10), (1.0, 1.0, 4.0), 5)
    asked = ["mri", "super-resolve", str(scan), str(out), "--lora", str(models / "m" / ADAPTER)]
    assert main([*asked, "--model", "other"]) == 2
    assert "was learned on base-one" in capsys.readouterr().err
    assert main([*asked, "--model", "base-one", "--lora-scale", "0.5"]) == 0
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["request"]["lora_scale"] == 0.5
    assert "lora" in told["inputs"]
    lora = ["--lora", str(models / "m" / ADAPTER)]
    assert main(["models", "merge", "merged", "base-one", *lora, *lora]) == 0
    load_model(models / "merged")
