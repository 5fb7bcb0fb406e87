import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
import torch

from core.models.checkpoints import find_model, read_record, save_model
from core.numerics import INSTRUCTIONS, instructions
from flows.commands.command_line import main
from flows.jobs.operations import OPERATIONS
from flows.jobs.origins import find_origin
from flows.jobs.reproduce import compare, threads
from medical.files.nifti import read_volume, write_volume
from medical.files.volume import Volume
from video.files.clip import Clip, read_metadata, read_mp4, write_mp4
from video.training.presets import tiny

SMALL = ["--num-frames", "5", "--steps", "1", "--model", "tiny-video"]


@pytest.fixture(scope="module")
def outputs(tiny_models, tmp_path_factory):
    """A clip and a volume with their records, made once."""
    folder = tmp_path_factory.mktemp("outputs")
    noise = np.random.default_rng(0).random((12, 10, 4), dtype=np.float32)
    scan = folder / "scan.nii.gz"
    write_volume(Volume(torch.from_numpy(noise * 1000), np.diag([1.0, 1.0, 4.0, 1.0])), scan)
    restored = ["--model", "tiny-mri", "--samples", "2", "--steps", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMINA_HOME", str(folder / "state"))
        patch.setenv("LAMINA_MODELS", str(tiny_models))
        patch.setenv("LAMINA_DEVICE", "cpu")
        clip = ["video", "generate", "a red circle", str(folder / "made.mp4"), *SMALL]
        assert main(clip) == 0
        fine = ["mri", "super-resolve", str(scan), str(folder / "fine.nii.gz"), *restored]
        assert main(fine) == 0
    return folder


@pytest.fixture
def clip(outputs, places):
    for ending in (".mp4", ".json"):
        shutil.copy(outputs / f"made{ending}", places)
    return places / "made.mp4"


@pytest.fixture
def volume(outputs, places):
    """The volume, its maps and the scan, in a folder to which the record's path does not lead."""
    for path in [*outputs.glob("*.nii.gz"), outputs / "fine.json"]:
        shutil.copy(path, places)
    edit(places / "fine.json", lambda record: record["request"].update(scan="/gone/scan.nii.gz"))
    return places / "fine.nii.gz"


def edit(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_a_clip_is_made_again_bit_for_bit(clip, places, capsys):
    again = places / "again.mp4"
    assert main(["reproduce", str(clip), str(again)]) == 0
    assert "identical: every bit of the file" in capsys.readouterr().out
    assert again.read_bytes() == clip.read_bytes()
    assert again.with_suffix(".json").is_file()


def test_a_volume_is_made_again_voxel_for_voxel(volume, capsys):
    assert main(["reproduce", str(volume)]) == 0
    assert "identical: every " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "role"), [("fine_std.nii.gz", "std"), ("fine.json", "result"), ("b.nii.gz", "result")]
)
def test_any_file_of_a_result_leads_to_its_origin(volume, places, name, role):
    shutil.copy(volume, places / "b.nii.gz")
    shutil.copy(places / "fine.json", places / "b.json")
    origin = find_origin(places / name)
    assert origin.role == role
    assert origin.request.scan == str(places / "scan.nii.gz")


def test_a_clip_that_lost_its_record_still_knows(clip, places, capsys):
    lost = places / "elsewhere" / "renamed.mp4"
    lost.parent.mkdir()
    shutil.copy(clip, lost)
    assert main(["reproduce", str(lost)]) == 0
    out = capsys.readouterr().out
    assert "no record beside it" in out
    assert "identical: every bit" in out


def test_other_pixels_are_different(clip, places):
    frames = read_mp4(clip).frames.copy()
    frames[2] = 255 - frames[2]
    other = write_mp4(Clip(frames, 8.0), places / "other.mp4", metadata=read_metadata(clip))
    verdict = compare(clip, other, OPERATIONS["text_to_video"])
    assert not verdict.same
    assert re.match(r"different: [\d.]+ % of the pixels, by up to \d+ ", verdict.words)
    shorter = write_mp4(Clip(frames[:3], 8.0), places / "short.mp4", metadata={})
    assert (
        compare(clip, shorter, OPERATIONS["text_to_video"]).words
        == "different: (5, 64, 64, 3) then, (3, 64, 64, 3) now"
    )


def test_the_same_pixels_in_other_bytes_are_identical(clip, places):
    other = places / "other.mp4"
    other.write_bytes(clip.read_bytes() + b"\0\0\0\x08free")
    verdict = compare(clip, other, OPERATIONS["text_to_video"])
    assert verdict.same
    assert verdict.words.startswith("identical: every pixel, though the files' bytes differ")


def test_other_voxels_and_another_grid_are_different(volume, places):
    fine = read_volume(volume)
    brighter, moved = places / "brighter.nii.gz", places / "moved.nii.gz"
    write_volume(fine.with_data(fine.data + 1, fine.affine), brighter)
    assert compare(volume, brighter, OPERATIONS["super_resolve_mri"]).words.startswith(
        "different: 100 % of the voxels"
    )
    write_volume(fine.with_data(fine.data, np.diag([1.0, 1, 2, 1]) @ fine.affine), moved)
    assert "entry of the affine" in compare(volume, moved, OPERATIONS["super_resolve_mri"]).words


def test_what_has_changed_since_is_noted(clip):
    record = clip.with_suffix(".json")
    edit(record, lambda found: found["versions"].update(torch="1.0"))
    edit(record, lambda found: found["compute"].update(gpu="H200", threads=3))
    edit(record, lambda found: found["outputs"]["video"].update(sha256="0" * 64))
    origin = find_origin(clip)
    assert origin.threads == 3
    assert origin.notes == [
        f"torch 1.0 then, {version('torch')} now",
        "gpu H200 then, none now",
        "made.mp4 was changed after it was recorded",
    ]


def test_as_many_threads_compute_as_then():
    before = torch.get_num_threads()
    with threads(3):
        assert torch.get_num_threads() == 3
    with threads(0):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("name", ["fine.nii.gz", "fine_std.nii.gz", "fine.webm", "fine.json"])
def test_arithmetic_is_read_from_the_record_of_any_file(tmp_path, monkeypatch, name):
    from flows.commands import reproduce

    (tmp_path / "fine.json").write_text('{"compute": {"threads": 3}}')
    read = []
    monkeypatch.setattr(reproduce, "remembered", lambda compute, _: read.append(compute) or {})
    reproduce._compute_as_then(tmp_path / name)
    assert read == [{"threads": 3}]


def test_other_weights_cannot_make_it(clip, places, monkeypatch, capsys):
    shelf = places / "others"
    shelf.mkdir()
    torch.manual_seed(1)
    record = {"name": "tiny-video", "kind": "video", "objective": "average velocity"}
    save_model(shelf / "tiny-video", tiny(), record | {"guidance_trained_in": True})
    monkeypatch.setenv("LAMINA_MODELS", str(shelf))
    assert main(["reproduce", str(clip)]) == 2
    assert "model=tiny-video: its weights are" in capsys.readouterr().err


def test_weights_are_found_by_another_name(clip, tiny_models, places, monkeypatch, capsys):
    shelf = places / "others"
    shutil.copytree(tiny_models / "tiny-video", shelf / "older-video")
    torch.manual_seed(1)
    record = {"name": "tiny-video", "kind": "video", "objective": "average velocity"}
    save_model(shelf / "tiny-video", tiny(), record | {"guidance_trained_in": True})
    monkeypatch.setenv("LAMINA_MODELS", str(shelf))
    origin = find_origin(clip)
    assert origin.request.model == "older-video"
    assert "the weights were called tiny-video, and are called older-video here" in origin.notes
    assert main(["reproduce", str(clip)]) == 0
    assert "identical: every " in capsys.readouterr().out


def test_a_scan_that_moved_is_found_and_one_that_changed_is_refused(volume, places):
    archive = places / "archive"
    archive.mkdir()
    moved = shutil.move(places / "scan.nii.gz", archive / "scan.nii.gz")
    with pytest.raises(ValueError, match=r"is not where it was: .* --inputs"):
        find_origin(volume)
    assert find_origin(volume, archive).request.scan == str(moved)
    scan = read_volume(moved)
    write_volume(scan.with_data(scan.data + 1, scan.affine), moved, overwrite=True)
    with pytest.raises(ValueError, match="holds other bytes than it did"):
        find_origin(volume, archive)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.mp4", "there is no such file"),
        ("foreign.nii.gz", "no record beside it and no tag"),
        ("made.png", "is not among what its record can make again"),
    ],
)
def test_what_was_not_made_here_is_refused(clip, places, capsys, name, words):
    if name != "none.mp4":
        (places / name).write_bytes(b"x")
    assert main(["reproduce", str(places / name)]) == 2
    assert words in capsys.readouterr().err


def test_what_an_exported_model_made_is_made_again_by_that(clip, capsys):
    edit(clip.with_suffix(".json"), lambda record: record.update(made_by="runner"))
    assert main(["reproduce", str(clip)]) == 2
    assert "run.py make it again" in " ".join(capsys.readouterr().err.split())


def test_the_walk_is_told_where_it_changed_or_is_not_known(clip):
    told = clip.with_suffix(".json")
    assert not [note for note in find_origin(clip).notes if "walk" in note]
    edit(told, lambda record: record["model"].update(walk=2))
    assert "walk 2 then, 3 now: the same weights are led otherwise" in find_origin(clip).notes
    edit(told, lambda record: record["model"].pop("walk"))
    assert any("does not say how its weights" in note for note in find_origin(clip).notes)


def test_the_original_is_never_replaced(clip, capsys):
    before = clip.read_bytes()
    assert main(["reproduce", str(clip), str(clip), "--overwrite"]) == 2
    assert main(["reproduce", str(clip), str(clip.with_suffix(".avi"))]) == 2
    assert "is an input of this job" in capsys.readouterr().err
    assert clip.read_bytes() == before


@pytest.mark.parametrize(
    ("off", "words"), [(2, "as far as another machine"), (60, "another result")]
)
def test_the_noise_of_a_machine_is_told_from_another_result(clip, places, off, words):
    frames = read_mp4(clip).frames.copy()
    frames[:] = np.where(frames > 127, frames - off, frames + off)
    other = write_mp4(Clip(frames, 8.0), places / "other.mp4", metadata=read_metadata(clip))
    found = compare(clip, other, OPERATIONS["text_to_video"], noise_db=40.0)
    assert words in found.words
    assert " dB between them: " in found.words
    unknown = compare(clip, other, OPERATIONS["text_to_video"])
    assert unknown.words.endswith(" dB between them")


@pytest.mark.parametrize("name", ["heads-1mm", "heads-1mm-1"])
@pytest.mark.parametrize(
    ("share", "words"), [(1e-4, "as far as another machine"), (0.01, "another result")]
)
def test_a_restored_scan_is_judged_by_the_noise_of_its_model(
    name, share, words, volume, tiny_models, places, monkeypatch, capsys
):
    """With the number that the shipped model has; it moves voxels by a share of their range."""
    shelf = places / "models"
    shutil.copytree(tiny_models, shelf)
    monkeypatch.setenv("LAMINA_MODELS", str(shelf))
    noise = read_record(find_model(name, "mri"))["numeric_noise_db"]
    edit(shelf / "tiny-mri" / "model.json", lambda record: record.update(numeric_noise_db=noise))
    fine = read_volume(volume)
    off = share * (fine.data.max() - fine.data.min())
    write_volume(fine.with_data(fine.data + off, fine.affine), volume, overwrite=True)
    assert main(["reproduce", str(volume)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert words in said
    assert f"this model on other processors: {noise:.1f} dB" in said


NARROWER = {
    "AVX512_CORE": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"},
}


@pytest.mark.parametrize("name", NARROWER)
def test_a_result_of_narrower_instructions_is_made_again_with_them(name, clip, places):
    """In processes of their own; the second begins anew with what the record names."""
    names = list(INSTRUCTIONS)
    if names.index(instructions() or "SSE41") > names.index(name):
        pytest.skip(f"this processor has no {name}")
    made, again = places / "narrow.mp4", places / "again.mp4"
    _in_a_process("video", "generate", "a red circle", str(made), *SMALL, **NARROWER[name])
    _in_a_process("reproduce", str(made), str(again))
    then, now = (
        json.loads(path.with_suffix(".json").read_text())["compute"] for path in (made, again)
    )
    assert (now["instructions"], now["arithmetic"]) == (name, "float32")
    assert {**then, "threads": 0} == {**now, "threads": 0}


def _in_a_process(*words, **variables):
    done = subprocess.run(
        [sys.executable, "-m", "flows.commands.command_line", *words],
        env=os.environ | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
