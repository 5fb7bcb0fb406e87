"""A file is whole or absent, and the record names the bytes it speaks of."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from core.records import (
    RESEARCH_USE,
    atomic_path,
    compute,
    peak_memory_mib,
    sha256_file,
    write_record,
)


def record(path, **changes):
    given = {
        "task": "text_to_video",
        "request": {"prompt": "a red circle", "steps": 4, "sampler": "flow_map"},
        "outputs": {},
        "model": {"name": "tiny", "kind": "video", "sha256": "ab" * 32},
        "seeds": 7,
        "timings": {"sample": 1.0, "encode": 0.5},
    }
    return write_record(path, **(given | changes))


def write_half_and_fail(path, *, overwrite=False):
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(b"half")
        raise KeyError("lost")


def test_sha256_of_known_bytes(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256_file(path) == hashlib.sha256(b"abc").hexdigest()


def test_the_file_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "head.nii.gz"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"whole")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.name.endswith(".nii.gz")
        assert temporary.name.startswith(".")
    assert path.read_bytes() == b"whole"
    assert [entry.name for entry in tmp_path.iterdir()] == ["head.nii.gz"]


def test_a_failed_block_leaves_no_trace(tmp_path):
    with pytest.raises(KeyError):
        write_half_and_fail(tmp_path / "clip.mp4")
    assert not list(tmp_path.iterdir())


def test_a_failed_block_keeps_the_old_file(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    with pytest.raises(KeyError):
        write_half_and_fail(path, overwrite=True)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=r"clip\.mp4 exists: .* overwrite"), atomic_path(path):
        pytest.fail("the refusal comes before the work")
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / "clip.mp4"

    def write_while_another_does():
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"mine")
            path.write_bytes(b"theirs")

    with pytest.raises(ValueError, match="exists"):
        write_while_another_does()
    assert path.read_bytes() == b"theirs"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere/clip.mp4", r"folder .*nowhere does not exist"), (".", "is a folder")],
)
def test_a_place_that_cannot_hold_the_file_is_refused(tmp_path, name, message):
    with pytest.raises(ValueError, match=message), atomic_path(tmp_path / name):
        pytest.fail("the refusal comes before the work")


def test_writing_nothing_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="nothing was written"), atomic_path(tmp_path / "a"):
        pass
    assert not list(tmp_path.iterdir())


def test_the_record_names_bytes_versions_and_settings(tmp_path):
    clip, scan = tmp_path / "clip.mp4", tmp_path / "scan.nii"
    clip.write_bytes(b"frames")
    scan.write_bytes(b"slices")
    path = record(tmp_path / "clip.json", outputs={"clip": clip}, inputs={"scan": scan})
    written = json.loads(path.read_text())
    assert written["outputs"]["clip"] == {
        "file": "clip.mp4",
        "bytes": 6,
        "sha256": sha256_file(clip),
    }
    assert written["inputs"]["scan"]["sha256"] == sha256_file(scan)
    assert written["versions"]["torch"] == torch.__version__
    assert written["wall_time_s"] == 1.5
    assert written["peak_memory_mib"]["cpu"] > 1
    assert written["methods"].startswith("The clip was generated from text with Lamina ")
    for fact in ("model tiny", "abababababab", "flow_map", "steps 4", "seed 7"):
        assert fact in written["methods"]
    assert "intended_use" not in written


def test_the_methods_name_the_weights_among_a_models_files(tmp_path):
    digests = {"config.json": "cd" * 32, "weights.safetensors": "ef" * 32}
    path = record(tmp_path / "a.json", model={"name": "tiny", "sha256": digests})
    assert "weights sha256 efefefefefef," in json.loads(path.read_text())["methods"]


def test_the_methods_name_what_led_a_result(tmp_path):
    for name, said in (("reference", "reference"), ("control_clip", "control clip")):
        path = record(tmp_path / f"{name}.json", request={name: "looks/red-cat.png"})
        assert f"{said} red-cat.png" in json.loads(path.read_text())["methods"]


def test_the_total_is_the_wall_time(tmp_path):
    path = record(tmp_path / "a.json", timings={"sample": 1.0, "total": 3.0})
    assert json.loads(path.read_text())["wall_time_s"] == 3.0


@pytest.mark.parametrize(
    "changes", [{"task": "super_resolve_mri", "model": {}}, {"model": {"kind": "mri"}}]
)
def test_a_medical_record_says_what_it_is_not_for(tmp_path, changes):
    written = json.loads(record(tmp_path / "a.json", **changes).read_text())
    assert written["intended_use"] == RESEARCH_USE
    assert "not for diagnosis" in written["methods"]


@pytest.mark.parametrize(
    ("task", "begins"),
    [
        ("super_resolve_mri", "The scan was super-resolved with Lamina "),
        ("fill_gaps", "The task fill_gaps was done with Lamina "),
    ],
)
def test_the_methods_are_a_sentence(tmp_path, task, begins):
    written = json.loads(record(tmp_path / "a.json", task=task).read_text())
    assert written["methods"].startswith(begins)


def test_paths_tensors_and_arrays_become_plain_values(tmp_path):
    extra = {"where": Path("x/y"), "psnr": torch.tensor(2.5), "mean": np.float32(0.5)}
    written = json.loads(record(tmp_path / "a.json", extra=extra).read_text())
    assert written["extra"] == {"where": "x/y", "psnr": 2.5, "mean": 0.5}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
def test_what_json_cannot_say_is_refused_and_nothing_is_written(tmp_path, value):
    with pytest.raises(ValueError, match=r"a\.json: .* convert the value"):
        record(tmp_path / "a.json", extra={"value": value})
    assert not list(tmp_path.iterdir())


def test_a_record_is_not_overwritten_unasked(tmp_path):
    record(tmp_path / "a.json")
    with pytest.raises(ValueError, match="exists"):
        record(tmp_path / "a.json")
    record(tmp_path / "a.json", overwrite=True)


def test_the_gpu_that_was_used_is_named_and_its_memory_counted(monkeypatch):
    used = [0, 3 * 2**20]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda number=0: used[number])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number=0: f"GPU {number}")
    assert compute()["gpu"] == "GPU 1"
    assert peak_memory_mib()["gpu"] == 3.0
