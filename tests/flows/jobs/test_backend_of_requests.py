"""A request may say who computes; its record names that, and it is made again by the same."""

import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from flows.batches.items import items_of
from flows.commands.command_line import main
from flows.jobs.operations import OPERATIONS
from flows.jobs.origins import find_origin
from flows.requests.batch_requests import ClipBatchRequest, ScanBatchRequest
from medical.files.nifti import write_volume
from medical.files.volume import Volume
from medical.request import SuperResolutionRequest
from video.change_request import ExtendRequest
from video.engines.shelf import engine_of
from video.request import VideoRequest

pytest.importorskip("openvino")


@pytest.fixture
def scan(places, tiny_models, monkeypatch):
    monkeypatch.setenv("LAMINA_MODELS", str(tiny_models))
    monkeypatch.setenv("LAMINA_DEVICE", "cpu")
    noise = np.random.default_rng(0).random((12, 10, 4), dtype=np.float32)
    path = places / "scan.nii.gz"
    write_volume(Volume(torch.from_numpy(noise * 1000), np.diag([1.0, 1.0, 4.0, 1.0])), path)
    return path


def test_requests_name_a_backend_only_where_they_ask_for_one():
    plain = VideoRequest(prompt="a red circle", seed=0)
    fast = VideoRequest(prompt="a red circle", seed=0, backend="openvino")
    assert "backend" not in plain.model_dump()
    assert fast.model_dump() == plain.model_dump() | {"backend": "openvino"}
    assert engine_of(fast).record()["backend"] == "openvino"
    assert "backend" not in engine_of(plain).record()
    scan = SuperResolutionRequest(scan="a.nii", backend="openvino")
    assert OPERATIONS["super_resolve_mri"].source(scan).record()["backend"] == "openvino"
    assert "backend" not in SuperResolutionRequest(scan="a.nii").model_dump()


def test_other_engines_bring_their_own():
    with pytest.raises(ValidationError, match="backend=openvino with engine=other"):
        VideoRequest(prompt="a red circle", seed=0, engine="other", backend="openvino")


def test_a_clip_is_made_again_by_what_made_it(scan, places, capsys):
    small = ["--num-frames", "5", "--steps", "1", "--model", "tiny-video"]
    words = ["video", "generate", "a red circle", str(places / "made.mp4"), *small]
    assert main([*words, "--backend", "openvino"]) == 0
    record = json.loads((places / "made.json").read_text())
    assert record["model"]["backend"] == record["request"]["backend"] == "openvino"
    assert main(["reproduce", str(places / "made.mp4")]) == 0
    assert "identical" in capsys.readouterr().out


def test_a_volume_is_made_again_by_what_auto_was_then(scan, places, capsys):
    fine, record = places / "fine.nii.gz", places / "fine.json"
    small = ["--model", "tiny-mri", "--samples", "1", "--steps", "1", "--backend", "openvino"]
    assert main(["mri", "super-resolve", str(scan), str(fine), *small]) == 0
    told = json.loads(record.read_text())
    assert told["model"]["backend"] == "openvino"
    told["request"]["backend"] = "auto"  # which takes torch for this model
    record.write_text(json.dumps(told))
    assert find_origin(fine).request.backend == "openvino"
    assert main(["reproduce", str(fine)]) == 0
    assert "identical" in capsys.readouterr().out


def test_a_changed_clip_is_made_again_by_what_made_it(scan, places, capsys):
    small = ["--num-frames", "5", "--steps", "1", "--model", "tiny-video"]
    assert main(["video", "generate", "a red circle", str(places / "first.mp4"), *small]) == 0
    longer = ["--frames-after", "4", "--steps", "1", "--model", "tiny-video"]
    words = ["video", "extend", str(places / "first.mp4"), str(places / "longer.mp4"), *longer]
    assert main([*words, "--backend", "openvino"]) == 0
    record = json.loads((places / "longer.json").read_text())
    assert record["model"]["backend"] == record["request"]["backend"] == "openvino"
    assert "backend" not in ExtendRequest(clip="a.mp4").model_dump()
    assert main(["reproduce", str(places / "longer.mp4")]) == 0
    assert "identical" in capsys.readouterr().out


def test_batches_and_their_rows_say_who_computes_and_seeds_stay(scan, places):
    rows = places / "rows.csv"
    rows.write_text("prompt,backend\na red circle,\na blue square,torch\n")
    told = {"name": "tonight", "prompt_file": str(rows), "model": "tiny-video", "steps": 1}
    fast, _ = items_of(ClipBatchRequest(**told, backend="openvino"))
    plain, _ = items_of(ClipBatchRequest(**told))
    assert [item.request.backend for item in fast] == ["openvino", "torch"]
    assert [item.request.seed for item in fast] == [item.request.seed for item in plain]
    assert fast[0].address != plain[0].address
    assert "backend" not in ClipBatchRequest(**told).model_dump()
    scans = {"name": "restored", "scans": str(scan.parent), "model": "tiny-mri"}
    (one,), _ = items_of(ScanBatchRequest(**scans, backend="openvino"))
    (other,), _ = items_of(ScanBatchRequest(**scans))
    assert (one.request.backend, other.request.backend) == ("openvino", "usual")
    assert one.request.seed == other.request.seed
    assert "backend" not in ScanBatchRequest(**scans).model_dump()
