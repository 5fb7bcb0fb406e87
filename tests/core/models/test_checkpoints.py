"""A model folder is read whole and as it was saved, or refused with a sentence."""

import hashlib
import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.models import checkpoints
from core.models.checkpoints import (
    CONFIG,
    RECORD,
    WEIGHTS,
    find_model,
    list_models,
    load_model,
    read_record,
    save_model,
)
from core.refusal import Refusal
from core.trouble import Trouble

T = torch.tensor(0.5)


@pytest.fixture
def network(tiny):
    return tiny()


@pytest.fixture
def model(network, tmp_path):
    record = {"name": "toy", "kind": "video", "training": {"steps": 3}}
    return save_model(tmp_path / "toy", network, record, dtype=torch.float32, card="# Toy\n")


def rewrite(model, name, content):
    """Change a file and make the record agree, as someone who means it would."""
    (model / name).write_bytes(content)
    record = json.loads((model / RECORD).read_text())
    record["sha256"][name] = hashlib.sha256(content).hexdigest()
    (model / RECORD).write_text(json.dumps(record))


def test_who_may_read_the_record_may_read_the_weights(model):
    assert (model / WEIGHTS).stat().st_mode == (model / RECORD).stat().st_mode


def test_a_model_comes_back_as_it_was_saved(network, model):
    again, record = load_model(model, dtype=torch.float32)
    z = torch.randn(1, 2, 3, 5, 7)
    assert torch.equal(again(z, T), network.requires_grad_(False)(z, T))
    assert record["name"] == "toy"
    assert record["training"] == {"steps": 3}
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())
    assert (model / "CARD.md").read_text() == "# Toy\n"
    assert sorted(p.name for p in model.iterdir()) == sorted([CONFIG, WEIGHTS, RECORD, "CARD.md"])


def test_weights_are_stored_in_bfloat16_unless_told(network, tmp_path):
    folder = save_model(tmp_path / "half", network, {"name": "half", "kind": "mri"})
    assert {v.dtype for v in load_file(folder / WEIGHTS).values()} == {torch.bfloat16}
    again, _ = load_model(folder, dtype=torch.float32)
    assert again.dtype is torch.float32
    assert load_model(folder, dtype=torch.bfloat16)[0].dtype is torch.bfloat16


def test_an_existing_folder_is_never_replaced(network, model):
    before = (model / WEIGHTS).read_bytes()
    with pytest.raises(ValueError, match=r"toy exists: .* choose a new name"):
        save_model(model, network, {"name": "toy", "kind": "video"})
    assert (model / WEIGHTS).read_bytes() == before


@pytest.mark.parametrize("record", [{"name": "x"}, {"name": "x", "kind": "audio"}])
def test_a_model_says_its_kind(network, tmp_path, record):
    with pytest.raises(ValueError, match=r"kind=(None|'audio'): a model is one of"):
        save_model(tmp_path / "x", network, record)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", ["save_file", "sha256_file"])
def test_a_failed_save_leaves_nothing(network, tmp_path, monkeypatch, failing):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(checkpoints, failing, fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(tmp_path / "x", network, {"name": "x", "kind": "mri"})
    assert list(tmp_path.iterdir()) == []


def refused(model):
    with pytest.raises((Refusal, Trouble)) as caught:
        load_model(model)
    sentence = str(caught.value)
    assert str(model) in sentence
    assert sentence.count(":") >= 1
    assert sentence.count(";") >= 1  # what came: the rule; the way out
    return sentence


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_changed_bytes_are_refused(model, name):
    content = bytearray((model / name).read_bytes())
    content[-2] ^= 1
    (model / name).write_bytes(content)
    assert f"{name}: sha256 is" in refused(model)


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG, RECORD])
def test_a_missing_file_is_refused(model, name):
    (model / name).unlink()
    assert name in refused(model)


def test_truncated_weights_are_refused(model):
    content = (model / WEIGHTS).read_bytes()
    (model / WEIGHTS).write_bytes(content[: len(content) // 2])
    assert "not the one that was saved" in refused(model)
    rewrite(model, WEIGHTS, content[: len(content) // 2])
    assert "not a safetensors file" in refused(model)


class Trap:
    """Unpickling this would be noticed."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def test_a_pickle_under_another_name_is_not_executed(model):
    rewrite(model, WEIGHTS, pickle.dumps(Trap()))
    assert "never from pickles" in refused(model)


@pytest.mark.parametrize("version", [None, 0, 2, "1"])
def test_another_format_version_is_refused(model, version):
    record = json.loads((model / RECORD).read_text()) | {"format_version": version}
    (model / RECORD).write_text(json.dumps(record))
    assert f"format_version {version!r}: this release reads 1" in refused(model)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"[]", b'{"format_version": 1}'])
def test_a_broken_record_is_refused(model, content):
    (model / RECORD).write_bytes(content)
    refused(model)


@pytest.mark.parametrize("content", [b"{", b'{"prediction": "noise"}'])
def test_a_broken_config_is_refused(model, content):
    rewrite(model, CONFIG, content)
    assert CONFIG in refused(model)


def test_weights_of_another_network_are_refused(model, tiny, tmp_path):
    save_file(dict(tiny(num_labels=2).state_dict()), tmp_path / "other")
    rewrite(model, WEIGHTS, (tmp_path / "other").read_bytes())
    assert "weights of another network" in refused(model)


@pytest.fixture
def shelf(network, model, monkeypatch, tmp_path):
    """The operator's shelf holds `toy` (video) and `head` (mri); nothing is shipped."""
    save_model(tmp_path / "head", network, {"name": "head", "kind": "mri"})
    monkeypatch.setattr(checkpoints, "SHELVES", ())
    monkeypatch.setenv("LAMINA_MODELS", str(tmp_path))
    return tmp_path


def test_models_are_found_by_name_and_kind(shelf):
    assert find_model("toy", "video") == shelf / "toy"
    assert [folder.name for folder, _ in list_models()] == ["head", "toy"]


@pytest.mark.parametrize(("name", "kind"), [("nobody", "video"), ("head", "video"),
                                            ("../toy", "video"), ("", "video")])  # fmt: skip
def test_an_unknown_model_lists_the_choices(shelf, name, kind):
    with pytest.raises(ValueError, match=r"is not an installed video model: .* \['toy'\]"):
        find_model(name, kind)


def test_the_first_shelf_wins(shelf, network, monkeypatch, tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    save_model(second / "toy", network, {"name": "toy", "kind": "mri"})
    monkeypatch.setenv("LAMINA_MODELS", f"{shelf}:{second}")
    assert find_model("toy", "video") == shelf / "toy"
    monkeypatch.setenv("LAMINA_MODELS", f"{second}:{shelf}")
    assert find_model("toy", "mri") == second / "toy"


def test_damage_is_no_refused_input(model):
    (model / WEIGHTS).write_bytes(b"")
    with pytest.raises(Trouble, match="copy the model again"):
        load_model(model)
    (model / RECORD).unlink()
    with pytest.raises(Refusal, match=r"holds no model\.json"):
        load_model(model)


def test_a_broken_model_does_not_hide_the_others(shelf, caplog):
    (shelf / "toy" / RECORD).write_text("{")
    assert [folder.name for folder, _ in list_models()] == ["head"]
    assert "toy" in caplog.text
    with pytest.raises(Trouble, match="is not JSON"):
        read_record(shelf / "toy")


def test_shipped_models_stand_beside_the_code(monkeypatch):
    monkeypatch.delenv("LAMINA_MODELS", raising=False)
    assert [(p.parent.name, p.name) for p in checkpoints.shelves()] == [
        ("video", "weights"),
        ("medical", "weights"),
    ]
