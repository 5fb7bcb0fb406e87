"""Folders that lack something, or hold what could run or lead out, are refused before any load."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from core.refusal import Refusal
from video.engines.rules import Rules, periodic
from video.engines.shelf import engine_of, find_engine
from video.request import VideoRequest

NAME = "cogvideox"


@pytest.fixture
def broken(made, tmp_path):
    """A copy of an engine to break."""
    return shutil.copytree(made(NAME), tmp_path / "broken")


def refusal_of(folder):
    request = VideoRequest.model_validate({"prompt": "a cat", "engine": str(folder)})
    with pytest.raises(Refusal) as told:
        engine_of(request).check(request)
    return str(told.value)


def change(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_could_run_is_refused(broken):
    (broken / "transformer" / "model.bin").write_bytes(b"x")
    assert "could run code" in refusal_of(broken)
    (broken / "transformer" / "model.bin").rename(broken / "vae" / "model.py")
    assert "brings no code" in refusal_of(broken)
    (broken / "vae" / "model.py").unlink()
    change(broken / "text_encoder" / "config.json", auto_map={"AutoModel": "x.Y"})
    assert "auto_map" in refusal_of(broken)


@pytest.mark.parametrize("said", [["own_code", "X"], ["diffusers"], ["diffusers", "os.system"]])
def test_a_part_of_another_library_is_refused(broken, said):
    change(broken / "model_index.json", transformer=said)
    assert "no code is taken from a folder" in refusal_of(broken)


@pytest.mark.parametrize("name", ["../evil", ["own", "Pipeline"], "NoSuchPipeline", "UNet2DModel"])
def test_a_pipeline_that_nobody_knows_is_refused(broken, name):
    change(broken / "model_index.json", _class_name=name)
    assert "diffusers" in refusal_of(broken)


def test_a_link_that_leads_out_is_refused(broken, tmp_path):
    outside = tmp_path / "outside.safetensors"
    inside = broken / "vae" / "diffusion_pytorch_model.safetensors"
    shutil.move(inside, outside)
    inside.symlink_to(outside)
    assert "leads out of the folder" in refusal_of(broken)


def test_an_index_of_weights_leads_nowhere_else(broken):
    index = {"weight_map": {"x": "../../other.safetensors"}}
    (broken / "vae" / "diffusion_pytorch_model.safetensors.index.json").write_text(
        json.dumps(index)
    )
    assert "no file beside it" in refusal_of(broken)


def test_missing_parts_are_named(broken):
    shutil.rmtree(broken / "text_encoder")
    assert "the part text_encoder (T5EncoderModel)" in refusal_of(broken)


def test_an_index_that_lacks_a_part_is_refused(broken):
    index = json.loads((broken / "model_index.json").read_text())
    del index["vae"]
    (broken / "model_index.json").write_text(json.dumps(index))
    assert "names no vae" in refusal_of(broken)


def test_an_empty_tokenizer_is_refused(broken):
    (broken / "tokenizer" / "tokenizer.json").unlink()
    assert "clips ignore their prompts" in refusal_of(broken)


def test_a_tokenizer_that_knows_no_word_is_refused_at_load(broken):
    path = broken / "tokenizer" / "tokenizer.json"
    said = json.loads(path.read_text())
    said["model"]["vocab"] = [pair for pair in said["model"]["vocab"] if len(pair[0]) > 1]
    path.write_text(json.dumps(said))
    engine = find_engine(str(broken))
    with pytest.raises(Refusal, match="reads two different prompts alike"):
        engine.load("cpu")


def test_weights_of_another_network_are_refused(broken):
    path = broken / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    first = next(iter(weights))
    save_file({name: value for name, value in weights.items() if name != first}, path)
    assert "no such weights" in refusal_of(broken)


@pytest.mark.parametrize("keep", [4, 100, -1])
def test_cut_weights_are_refused(broken, keep):
    path = broken / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert "not a whole safetensors file" in refusal_of(broken)


def test_a_folder_that_is_no_engine_is_refused(tmp_path):
    assert "no such folder" in refusal_of(tmp_path / "nothing")
    assert "there is no model_index.json" in refusal_of(tmp_path)
    (tmp_path / "model_index.json").write_text("[" * 100_000)
    assert "not JSON" in refusal_of(tmp_path)


def test_a_name_that_no_shelf_has_is_refused(made):
    made(NAME)
    with pytest.raises(Refusal, match=r"engine=nobody: .*there: .*cogvideox.*\./nobody"):
        find_engine("nobody")


@pytest.mark.parametrize(
    ("frames", "period"),
    [((1, 5, 9, 13), 1), ((1, 8, 9, 16, 17, 24), 2), ((1, 3, 5, 7), 1)],
)
def test_the_first_frames_tell_all(frames, period):
    assert periodic(frames) == period
    rules = Rules(frames=frames, period=period, packing=frames[2] // 2, side=16)
    for latents, count in enumerate(frames, 1):
        assert rules.of_latents(latents) == count


def test_frames_without_a_rule_are_said():
    with pytest.raises(ValueError, match="by no rule"):
        periodic((1, 5, 7, 20))


@pytest.mark.parametrize(
    ("asked", "near"),
    [(16, "13 or 17"), (2, "1 or 5"), (129 + 1, "129 or 133")],
)
def test_the_two_nearest_numbers_are_told(asked, near):
    rules = Rules(frames=(1, 5, 9, 13), period=1, packing=4, side=16)
    with pytest.raises(Refusal, match=f"num_frames={asked}: .* try {near}"):
        rules.check("x", asked, 16, 16, 1)
    rules.check("x", 13, 16, 16, 1)
    with pytest.raises(Refusal, match=r"width=8: .* try 16"):
        rules.check("x", 13, 16, 8, 1)
