"""Training in latents from the command line: a whole head, a clip, and what is refused of them."""

import json

import nibabel
import numpy as np
import pytest
import torch

import lamina
from core.models.checkpoints import load_model
from core.networks.latents import LatentNetwork
from core.seeds import generator
from flows.commands.command_line import main

FEW = ["--preset", "tiny", "--space", "latents", "--steps", "4", "--batch-size", "2"]


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    return tmp_path / "models"


def refused(capsys, *words):
    assert main(list(words)) == 2
    return capsys.readouterr().err


@pytest.mark.slow
def test_a_whole_head_is_drawn_by_what_was_trained_and_restores_nothing(tmp_path, models, capsys):
    for person in (1, 2):
        path = tmp_path / f"heads/sub-{person:02d}/anat/sub-{person:02d}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        coarse = torch.rand((1, 1, 8, 8, 8), generator=generator(person))
        data = torch.nn.functional.interpolate(coarse, size=(50, 60, 50), mode="trilinear")[0, 0]
        affine = np.diag([2.0, 2.0, 2.0, 1.0])
        nibabel.save(nibabel.Nifti1Image(255 * data.numpy(), affine), path)
    train = ["train", "mri", "--heads", str(tmp_path / "heads"), *FEW, "--jump-steps", "0"]
    assert "lora=2" in refused(capsys, *train, "--start", "x", "--lora", "2")
    assert "lesion_share=0.5" in refused(capsys, *train, "--lesion-share", "0.5")
    assert main([*train, "--name", "whole"]) == 0
    record = json.loads((models / "whole" / "model.json").read_text())
    assert (record["kind"], record["space"]) == ("whole-head", "latents")
    assert set(record["training"]["stages"]) == {"autoencoder", "flow"}
    head = lamina.draw_head("whole", 3, steps=2)
    assert head.shape == (80, 96, 80)
    assert head.spacing_mm == (2.0, 2.0, 2.0)
    assert head.header.synthetic
    assert torch.equal(head.data, lamina.draw_head("whole", 3, steps=2).data)
    assert not torch.equal(head.data, lamina.draw_head("whole", 4, steps=2).data)
    scan = str(next(tmp_path.glob("heads/sub-01/anat/*.nii.gz")))
    asked = ["mri", "super-resolve", scan, str(tmp_path / "out.nii.gz"), "--model", "whole"]
    assert "not an installed mri model" in refused(capsys, *asked)


@pytest.mark.slow
def test_a_clip_is_drawn_in_latents_of_words_alone(tmp_path, models, capsys):
    train = ["train", "video", *FEW, "--jump-steps", "0"]
    assert "masks=True" in refused(capsys, *train, "--masks")
    assert main([*train, "--name", "clips"]) == 0
    network, record = load_model(models / "clips")
    assert isinstance(network, LatentNetwork)
    assert record["space"] == "latents"
    out, words = tmp_path / "clip.mp4", ["a red circle moves left"]
    generate = ["video", "generate", *words, str(out), "--model", "clips", "--steps", "1"]
    assert main(generate) == 0
    told = json.loads(out.with_suffix(".json").read_text())
    assert told["model"]["space"] == "latents"
    again = ["video", "extend", str(out), str(tmp_path / "longer.mp4"), "--model", "clips"]
    assert "works on latents" in refused(capsys, *again)
