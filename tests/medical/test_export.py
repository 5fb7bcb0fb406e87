"""An exported model restores a head without torch, and as torch does but for rounding."""

import json
import shutil
from dataclasses import fields
from pathlib import Path
from unittest.mock import Mock

import nibabel as nib
import numpy as np
import pytest
import torch
from exported_runs import runs_of

from core.models.checkpoints import find_model, load_model
from core.refusal import Refusal
from core.runner import graphs
from core.trouble import Trouble

pytest.importorskip("openvino")

from core.backends import artefact
from core.backends.artefact import write_artefact
from flows.commands import export
from flows.commands.command_line import main
from medical.export import exported
from medical.files.nifti import read_volume, write_volume
from medical.files.volume import FileHeader, Volume
from medical.operations.error_map import shipped_head
from medical.operations.restoration import Restoration, output_paths
from medical.operations.restoring import Tiling
from medical.operations.super_resolve import super_resolve
from medical.request import SuperResolutionRequest
from medical.runner import heads
from medical.runner.heads import BOUNDS, SPACING_MM, HeadRunner, Wish

FAR = (
    80.0  # dB between the results of both ways; seen: 104 with float32, of which rounding is most
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory, "openvino")


@pytest.fixture(scope="module")
def onnx_folder(tmp_path_factory):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    return written(tmp_path_factory, "onnx")


def written(tmp_path_factory, form):
    out = tmp_path_factory.mktemp("exports") / "heads"
    network, record = load_model(find_model("heads-1mm"), dtype=torch.float32)
    return write_artefact(out, record, "float32", lambda: exported(network, record), form)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """Thick slices of a ball that is not even, in a volume of one window's size."""
    return thick_ball(tmp_path_factory.mktemp("scans"), (64, 64, 48))


def thick_ball(folder, shape):
    random = np.random.default_rng(3)
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    ball = (np.square(place).sum(0) < 0.8) * random.uniform(300, 700, shape)
    thick = ball.reshape(*shape[:2], shape[2] // 4, 4).mean(-1).round().astype(np.float32)
    path = folder / "scan.nii.gz"
    header = FileHeader(dtype="int16")
    write_volume(Volume(torch.from_numpy(thick), np.diag([1.0, 1.0, 4.0, 1.0]), header), path)
    return path


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """How runs end, for lists of words; graphs are compiled once."""
    return runs_of(folder, tmp_path_factory.mktemp("cache"), banned="pydicom")


LIBRARIES = {"folder": "openvino", "onnx_folder": "onnxruntime"}


@pytest.mark.parametrize("form", LIBRARIES)
def test_it_restores_the_head_without_torch(run, form, request, scan, tmp_path):
    folder = request.getfixturevalue(form)
    target = tmp_path / "head.nii.gz"
    words = [scan, target, "--samples", "3", "--steps", "1", "--seed", "5"]
    (done,) = run(words, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "unlike training" in done.stdout
    assert done.stderr.splitlines()[-1] == "window 3 of 3"
    network, about = load_model(find_model("heads-1mm"), dtype=torch.float32)
    asked = SuperResolutionRequest(scan=str(scan), samples=3, steps=1, seed=5)
    tiling = Tiling(shrinks=False)
    volume, head = read_volume(scan), shipped_head(about)
    want = super_resolve(volume, asked, network, tiling=tiling, errors=head)
    got, std = read_volume(target), read_volume(tmp_path / "head_std.nii.gz")
    assert np.allclose(got.affine, want.mean.affine)
    error = (got.data - want.mean.data.round()).double() / (want.scale.high - want.scale.low)
    assert -10 * torch.log10(error.square().mean().clamp(min=1e-12)) > FAR
    assert torch.allclose(std.data, want.std.data, atol=0.01 * float(want.std.data.max()))
    record = json.loads((tmp_path / "head.json").read_text())
    assert record["request"]["seed"] == 5
    assert record["model"]["export"] == json.loads((folder / "model.json").read_text())["digest"]
    assert record["extra"]["consistency_mean_absolute"] == pytest.approx(want.consistency, 1e-2)
    assert set(LIBRARIES.values()) & set(record["versions"]) == {LIBRARIES[form]}
    assert nib.load(target).header.get_data_dtype() == np.int16


def test_windows_meet_as_those_of_torch_and_what_is_protected_is_interpolated(run, tmp_path):
    scan = thick_ball(tmp_path, (88, 64, 64))
    mask = np.zeros((88, 64, 16), np.uint8)
    mask[30:50, 20:40, 4:9] = 1
    write_volume(
        Volume(torch.from_numpy(mask).float(), np.diag([1.0, 1.0, 4.0, 1.0]), FileHeader("uint8")),
        tmp_path / "mask.nii.gz",
    )
    target, protect = tmp_path / "head.nii.gz", str(tmp_path / "mask.nii.gz")
    words = [scan, target, "--samples", "1", "--steps", "1", "--protect", protect]
    (done,) = run(words)
    assert done.returncode == 0, done.stderr
    network, _ = load_model(find_model("heads-1mm"), dtype=torch.float32)
    request = SuperResolutionRequest(scan=str(scan), samples=1, steps=1, protect=protect)
    want = super_resolve(read_volume(scan), request, network, tiling=Tiling(shrinks=False))
    error = (read_volume(target).data - want.mean.data.round()).double()
    error /= want.scale.high - want.scale.low
    assert -10 * torch.log10(error.square().mean().clamp(min=1e-12)) > FAR
    std = read_volume(tmp_path / "head_std.nii.gz").data
    assert float(std[32:48, 22:38, 20:32].max()) == 0 < float(std.max())
    record = json.loads((tmp_path / "head.json").read_text())
    assert set(record["inputs"]) == {"scan", "protect"}


def test_a_model_of_ones_own_is_not_told_of_the_training_of_the_shipped_one(
    run, folder, scan, tmp_path
):
    own = shutil.copytree(folder, tmp_path / "own")
    told = json.loads((own / "model.json").read_text())
    (own / "model.json").write_text(json.dumps(told | {"name": "my-heads"}))
    words = [scan, tmp_path / "head.nii.gz", "--samples", "1", "--steps", "1"]
    (done,) = run(words, folder=own)
    assert done.returncode == 0, done.stderr
    assert "unlike training" not in done.stdout
    record = json.loads((tmp_path / "head.json").read_text())
    assert record["model"]["name"] == record["request"]["model"] == "my-heads"


def test_sizes_of_clips_are_refused_for_heads(tmp_path, capsys):
    assert main(["export", "heads-1mm", str(tmp_path / "out"), "--frames", "8"]) == 2
    assert "they are those of clips" in " ".join(capsys.readouterr().err.split())


def test_it_refuses_as_the_command_does(run, scan, tmp_path):
    target = tmp_path / "head.nii.gz"
    mask = tmp_path / "mask.nii.gz"
    data = (read_volume(scan).data > 0).float()
    write_volume(Volume(data, np.diag([1.0, 1.0, 4.0, 1.0])), mask)
    cases = {
        (scan, target, "--steps", "99"): "steps=99",
        (scan, target, "--spacing-mm", "9", "9", "0"): "spacing_mm=0.0",
        (scan, target, "--spacing-mm", "9", "9", "9"): "no axis would become finer",
        (scan, target, "--lora", "mine.safetensors"): "--lora",
        (scan, tmp_path / "head.png"): "not a NIfTI name",
        (scan, tmp_path / "none" / "head.nii"): "does not exist",
        (tmp_path, target): "is a folder",
        (mask, target): "a mask and no scan",
        (scan, scan): "exists",
    }
    before = scan.read_bytes()
    for done, (words, said) in zip(run(*cases), cases.items(), strict=True):
        assert done.returncode == 2, (words, done.stdout, done.stderr)
        assert said in done.stderr
    assert not target.exists()
    assert scan.read_bytes() == before


def test_a_result_that_fails_its_check_replaces_nothing(scan, tmp_path, monkeypatch):
    def written(path):
        paths = output_paths(path)
        return {role: Path(shutil.copyfile(scan, fresh)) for role, fresh in paths.items()}

    restored = Mock(spec=Restoration, write=written)
    runner = Mock(record={"name": "mine"}, restore=lambda *_: restored)
    monkeypatch.setattr(heads, "HeadRunner", lambda *_: runner)
    target = tmp_path / "head.nii.gz"
    for path in output_paths(target).values():
        path.write_bytes(b"made before")
    with pytest.raises(Trouble):
        heads.make(tmp_path, Wish(str(scan)), target, overwrite=True)
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"made before"}
    assert len(list(tmp_path.iterdir())) == 3


def test_defaults_and_limits_are_those_of_the_request():
    asked = SuperResolutionRequest.model_fields
    for field in fields(Wish):
        if field.name != "scan":
            assert field.default == asked[field.name].default
    for name, (least, most) in BOUNDS.items():
        for value in (least, most):
            SuperResolutionRequest(scan="a", **{name: value})
        for value in (least - 1, most + 1):
            with pytest.raises(ValueError, match=name):
                SuperResolutionRequest(scan="a", **{name: value})
    for value in SPACING_MM:
        SuperResolutionRequest(scan="a", spacing_mm=(value, value, value))


def test_models_that_restore_nothing_are_refused():
    network, record = load_model(find_model("scenes-64"), dtype=torch.float32)
    with pytest.raises(Refusal, match="restore scans"):
        exported(network, record)


@pytest.fixture
def without(monkeypatch):
    def hide(module, name):
        real = module.find_spec
        monkeypatch.setattr(
            module, "find_spec", lambda asked: None if asked == name else real(asked)
        )

    return hide


def test_a_runner_whose_library_is_missing_says_what_to_install(folder, without):
    without(graphs, "openvino")
    with pytest.raises(Refusal, match=r"openvino is not installed here; install what its"):
        HeadRunner(folder)


def test_a_format_whose_library_is_missing_is_refused(tmp_path, without, capsys):
    without(artefact, "onnx")
    words = ["export", "heads-1mm", str(tmp_path / "out")]
    assert main([*words, "--format", "onnx"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "format=onnx: onnx is not installed here" in said
    assert said.endswith("install the extra onnx.")
    without(export, "openvino")
    assert main(words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "OpenVINO is not installed here" in said
    assert said.endswith("install the extra openvino.")
    assert not list(tmp_path.iterdir())
