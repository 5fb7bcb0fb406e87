"""Commands as a person types them: exit codes, sentences, files."""

import errno
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from core.models.cards import unfinished
from core.storage import place
from core.trouble import Trouble
from flows.commands import command_line
from flows.commands.command_line import main
from flows.jobs.operations import OPERATIONS
from flows.machines.resources import Resources
from flows.requests.flow_requests import MODELS
from medical.files.nifti import read_volume, write_volume
from medical.files.volume import Volume
from medical.request import SuperResolutionRequest
from video.files.clip import read_metadata, read_mp4

PROMPT = "two red circles move left"


@pytest.fixture
def scan(places):
    data = torch.zeros(12, 10, 4)
    data[3:9, 3:8, 1:3] = torch.rand(6, 5, 2, generator=torch.Generator().manual_seed(0)) + 0.5
    path = places / "scan.nii.gz"
    write_volume(Volume(data, np.diag([1.0, 1.0, 4.0, 1.0])), path)
    return path


def generate(output, *options):
    return main(["video", "generate", PROMPT, str(output), "--model", "tiny-video", *options])


def test_a_sentence_becomes_a_verified_clip_with_its_record(places, capsys):
    output = places / "out.mp4"
    assert generate(output, "--num-frames", "5", "--steps", "1", "--seed", "7") == 0
    said = capsys.readouterr()
    assert said.out.split() == [str(output)]
    assert "sampling: step 1 of 1, 100 %" in said.err
    assert read_mp4(output).frames.shape == (5, 64, 64, 3)
    assert read_metadata(output)["prompt"] == PROMPT
    record = json.loads(output.with_suffix(".json").read_text())
    assert record["request"]["seed"] == 7
    assert record["model"]["name"] == "tiny-video"
    assert len(record["model"]["sha256"]) == 64
    assert set(record["timings_s"]) == {"prepare", "sample", "encode", "verify"}


def test_a_prompt_is_corrected_and_what_is_left_out_is_said(places, world_model, capsys):
    output, prompt = places / "o.mp4", "two reed circels and a cat"
    words = [prompt, str(output), "--model", world_model, "--num-frames", "2", "--steps", "1"]
    assert main(["video", "generate", *words, "--strict"]) == 2
    assert "not understood: cat; the model tiny-world knows" in capsys.readouterr().err
    assert not output.exists()
    assert main(["video", "generate", *words]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[:3] == [
        "read as: reed -> red",
        "read as: circels -> circles",
        "not understood: cat",
    ]
    record = json.loads(output.with_suffix(".json").read_text())
    assert record["extra"]["prompt_as_typed"] == prompt
    assert record["extra"]["read_as"] == ["reed -> red", "circels -> circles"]
    assert record["extra"]["not_understood"] == ["cat"]
    assert record["request"]["prompt"] == "two red circles and a cat"
    assert read_metadata(output)["prompt"] == "two red circles and a cat"


def test_a_prompt_of_known_words_leaves_the_record_as_it_was(places, world_model, capsys):
    keys = []
    for model in (world_model, "tiny-video"):
        output = places / f"{model}.mp4"
        words = [PROMPT, str(output), "--model", model, "--num-frames", "2", "--steps", "1"]
        assert main(["video", "generate", *words]) == 0
        keys.append(set(json.loads(output.with_suffix(".json").read_text())["extra"]))
    assert keys[0] == keys[1]
    assert "read as" not in capsys.readouterr().err


@pytest.mark.parametrize("prompt", ["a cat runs on the beach", "five red circles", "no star"])
def test_a_prompt_that_cannot_be_shown_is_refused_before_the_work(
    places, world_model, capsys, prompt
):
    words = [prompt, str(places / "o.mp4"), "--model", world_model]
    assert main(["video", "generate", *words]) == 2
    assert "another model or engine for other subjects" in capsys.readouterr().err
    assert list(places.glob("o.*")) == []


def test_how_a_prompt_is_read_is_said_without_torch(places, capsys):
    prompt = "two reed circles and a cat moving left"
    assert main(["video", "understand", prompt]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "drawn: two red circles and a cat moving left",
        "understood: count 2, shape circle, color red, motion left",
        "read as: reed -> red",
        "not understood: cat",
    ]
    assert main(["video", "understand", "five red squares"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "understood: shape square, color red",
        "refused: there are one to three things, not 'five'",
    ]
    assert main(["video", "vocabulary"]) == 0
    said = capsys.readouterr().out
    assert "shapes: circle, square, triangle, star, cross, ring\n" in said
    assert {line.partition(":")[0] for line in said.splitlines()} >= {
        "shapes",
        "colors",
        "motions",
        "backgrounds",
        "counts",
    }
    assert "transformers" not in modules_after(["video", "understand", prompt], places)


def test_nothing_is_overwritten_unasked(places, capsys):
    output = places / "out.mp4"
    output.write_bytes(b"precious")
    assert generate(output, "--num-frames", "2", "--steps", "1") == 2
    assert "exists" in capsys.readouterr().err
    assert output.read_bytes() == b"precious"
    assert generate(output, "--num-frames", "2", "--steps", "1", "--overwrite") == 0
    assert len(read_mp4(output).frames) == 2


def test_a_record_in_the_way_is_noticed_before_the_work(places):
    output = places / "out.mp4"
    output.with_suffix(".json").write_text("precious")
    assert generate(output) == 2
    assert output.with_suffix(".json").read_text() == "precious"
    assert not output.exists()


def test_a_scan_becomes_a_finer_volume_with_maps_and_record(places, scan, capsys):
    words = ["--model", "tiny-mri", "--samples", "2", "--steps", "1", "--seed", "3"]
    output = places / "fine.nii.gz"
    assert main(["mri", "super-resolve", str(scan), str(output), *words]) == 0
    result, std = read_volume(output), read_volume(places / "fine_std.nii.gz")
    consistency = read_volume(places / "fine_consistency.nii.gz")
    assert result.shape == std.shape == (12, 10, 16)
    assert result.spacing_mm == pytest.approx((1, 1, 1))
    assert consistency.shape == (12, 10, 4)
    record = json.loads((places / "fine.json").read_text())
    assert set(record["outputs"]) == {"result", "std", "consistency"}
    assert record["inputs"]["scan"]["file"] == "scan.nii.gz"
    assert "not for diagnosis" in record["intended_use"]
    assert capsys.readouterr().out.split()[-1].endswith(".nii.gz")


def test_a_dry_run_says_what_a_scan_would_take_and_writes_nothing(places, scan, capsys):
    asked = ["--model", "tiny-mri", "--samples", "1", "--steps", "1", "--dry-run"]
    assert main(["mri", "super-resolve", str(scan), str(places / "fine.nii.gz"), *asked]) == 0
    assert "fine.nii.gz would need 1 CPU, " in capsys.readouterr().out
    assert main(["mri", "segment", str(scan), str(places / "labels.nii.gz"), "--dry-run"]) == 0
    assert "labels.nii.gz would need 1 CPU, " in capsys.readouterr().out
    assert list(places.glob("fine*")) == list(places.glob("labels*")) == []


def test_spacing_is_three_numbers(places, scan):
    output = places / "fine.nii.gz"
    words = [
        "--spacing-mm",
        "1",
        "1",
        "2",
        "--model",
        "tiny-mri",
        "--samples",
        "1",
        "--steps",
        "1",
    ]
    assert main(["mri", "super-resolve", str(scan), str(output), *words]) == 0
    assert read_volume(output).shape == (12, 10, 8)


CLIP = ["video", "generate", "x"]
RESTORE = ["mri", "super-resolve"]
REFUSED = [
    ([*CLIP, "o.mp4", "--num-frames", "999"], "num_frames=999: .*; try 128"),
    ([*CLIP, "o.mp4", "--model", "no"], "model='no' is not .*; choose one"),
    ([*CLIP, "no/o.mp4"], "the folder no does not exist: .*; create it"),
    ([*CLIP, "o.avi", "--model", "tiny-video"], "o.avi: .*; give a name"),
    (CLIP, "parameter OUTPUT requires .* See lamina video generate --help"),
    (
        [*RESTORE, "a.nii.gz", "b.nii.gz", "--spacing-mm", "1", "1", "0"],
        "^--spacing-mm=0.0: --spacing-mm must be at least 0.2; try 0.2. See lamina mri",
    ),
    ([*CLIP, "o.mp4", "--frames", "1"], "Unknown option: --frames"),
    ([*CLIP[:2], "red " * 90, "o.mp4", "--model", "tiny-video"], "at most 64 .*; shorten it"),
    (["vidoe"], 'Unknown command "vidoe"'),
    ([*RESTORE, "no.nii.gz", "o.nii.gz", "--model", "tiny-mri"], "no.nii.gz does not .*; check"),
    ([*RESTORE, "a.nii", "o.png"], "not a NIfTI name: .*; rename it"),
    (["models", "show", "no"], "no: no such model is installed; choose one of"),
    (["run", "no", "--request", "r.json"], "no: there is no such flow; choose one of"),
    (["run", "text_to_video", "--request", "no.json"], "no.json cannot be read .*; check"),
    (["train", "mri", "--heads", "no", "--name", "tiny-mri"], "name=tiny-mri: .*; choose a new"),
    (["train", "video", "--name", "../up"], "name=../up: .*--help"),
]


@pytest.mark.parametrize(("words", "sentence"), REFUSED)
def test_bad_input_is_one_sentence_and_code_2(places, capfd, words, sentence):
    before = set(places.rglob("*"))
    assert main(words) == 2
    said = capfd.readouterr()
    assert re.search(sentence, said.err.replace("\n", " ")), said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    written = {path for path in places.rglob("*") if path.is_file()} - before
    assert all(path.parent == places / "state" / "locks" for path in written)


def test_a_fault_inside_a_library_is_no_bad_input(places, monkeypatch):
    """torch, too, raises ValueError; that is not the caller's mistake."""

    def broken(places_):
        torch.nn.functional.grid_sample(torch.zeros(1), torch.zeros(1), mode="none")

    monkeypatch.setattr(command_line, "adopt", broken)
    with pytest.raises(ValueError, match="grid_sample"):
        main(["models", "list"])


def test_another_hosts_odd_file_is_no_bad_input(places, monkeypatch):
    monkeypatch.setattr(command_line, "adopt", lambda _: Resources.model_validate({"gpus": -1}))
    with pytest.raises(ValueError, match="Resources"):
        main(["models", "list"])


BROKEN = [
    (Trouble("toy is damaged: it is checked; copy it again."), "toy is damaged.*; copy it"),
    (OSError(errno.ENOSPC, "No space left", "a.mp4"), "a.mp4: No space left: .*; free some"),
    (OSError(errno.EDQUOT, "Quota exceeded"), "The disk: Quota exceeded: .*; free some"),
]


@pytest.mark.parametrize(("error", "sentence"), BROKEN)
def test_what_is_broken_or_full_is_a_sentence_and_code_1(
    places, monkeypatch, capfd, error, sentence
):
    def broken(_):
        raise error

    monkeypatch.setattr(command_line, "adopt", broken)
    assert main(["models", "list"]) == 1
    said = capfd.readouterr().err
    assert re.fullmatch(f"{sentence}.*\n", said), said


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_place_that_one_may_not_write_to_is_a_sentence_and_code_2(
    places, monkeypatch, capfd, number
):
    def forbidden(_):
        raise OSError(number, "Read-only file system", "/srv/locks")

    monkeypatch.setattr(command_line, "adopt", forbidden)
    assert main(["models", "list"]) == 2
    said = capfd.readouterr().err
    assert re.fullmatch(
        "/srv/locks: Read-only file system: you may not .*; name another .*\n", said
    )


DRAWN = ["video", "generate", "a red circle", "--model", "tiny-video"]


@pytest.mark.parametrize("signed", ["on", "off"])
@pytest.mark.parametrize("words", [["provenance", "init"], [*DRAWN, "o.mp4"]], ids=" ".join)
def test_a_state_folder_that_takes_no_file_is_a_sentence_at_every_door(
    places, monkeypatch, capfd, words, signed
):
    monkeypatch.setattr(place, "KERNEL", ())  # as any folder that takes no file
    monkeypatch.setenv("LAMINA_HOME", "/sys")
    monkeypatch.setenv("LAMINA_C2PA", signed)
    assert main(words) == 2
    said = capfd.readouterr().err
    assert re.fullmatch(r"/sys/.*; (name another place|let LAMINA_HOME).*\n", said), said


@pytest.mark.parametrize("words", [[*DRAWN, "o.mp4"], ["batch", "plan", "p.txt"], ["gallery"]])
def test_no_state_is_kept_where_the_kernel_is_shown(places, monkeypatch, capfd, words):
    monkeypatch.setenv("LAMINA_HOME", "/proc/x")
    assert main(words) == 2
    said = capfd.readouterr().err
    assert said.startswith("LAMINA_HOME=/proc/x: /proc shows the kernel and keeps no files: ")


def test_a_damaged_model_is_a_sentence_and_code_1(places, monkeypatch, capfd):
    shutil.copytree(os.environ["LAMINA_MODELS"], places / "damaged")
    monkeypatch.setenv("LAMINA_MODELS", str(places / "damaged"))
    weights = places / "damaged/tiny-video/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert main([*CLIP, "o.mp4", "--model", "tiny-video"]) == 1
    said = capfd.readouterr().err
    assert re.search(r"sha256 is .*; copy the model again\.", said)
    assert "Traceback" not in said
    assert not (places / "o.mp4").exists()


def test_help_of_run_names_every_flow(capsys):
    assert main(["run", "--help"]) == 0
    words = capsys.readouterr().out
    assert [name for name in MODELS if name not in words] == []


def test_help_shows_a_pattern_as_it_is(places, capsys):
    assert main(["train", "mri", "--help"]) == 0
    assert "sub-*/anat/sub-*_T1w.nii.gz" in capsys.readouterr().out


def test_a_mask_on_another_grid_is_refused_before_the_model_is_read(places, scan):
    volume = read_volume(scan)
    shifted = volume.affine.copy()
    shifted[0, 3] += 2.0
    mask = scan.with_name("mask.nii.gz")
    write_volume(volume.with_data((volume.data > 0).float(), shifted, dtype="uint8"), mask)
    request = SuperResolutionRequest(scan=str(scan), protect=str(mask))
    with pytest.raises(ValueError, match="must lie on the grid of the scan"):
        OPERATIONS["super_resolve_mri"].check(request)


@pytest.mark.parametrize("kind", ["mri", "video"])
def test_what_this_machine_cannot_hold_is_refused_before_the_model_is_read(
    places, scan, kind, monkeypatch, capfd
):
    tight = Resources(memory_gb=0.1, disk_gb=1e6)
    monkeypatch.setattr("flows.machines.resources.this_host", lambda *_, **__: tight)
    monkeypatch.setattr("core.models.installed.load_model", None)
    output = places / ("o.mp4" if kind == "video" else "o.nii.gz")
    words = {
        "video": [*CLIP, str(output), "--model", "tiny-video"],
        "mri": [*RESTORE, str(scan), str(output), "--model", "tiny-mri"],
    }
    assert main(words[kind]) == 2
    assert "one offers 0.1 GB of memory" in capfd.readouterr().err
    assert not output.exists()


def test_a_request_file_is_held_against_its_model(places, capsys):
    request = places / "r.json"
    request.write_text('{"prompt": "x", "fames": 3}')
    assert main(["run", "text_to_video", "--request", str(request)]) == 2
    assert "fames=3: fames is no field" in capsys.readouterr().err
    request.write_text("{")
    assert main(["run", "text_to_video", "--request", str(request)]) == 2
    assert "is not JSON" in capsys.readouterr().err


def test_models_are_listed_and_shown(places, capsys):
    assert main(["models", "list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in listed if line.startswith("tiny")] == [
        ["tiny-mri", "mri"],
        ["tiny-video", "video"],
    ]
    assert main(["models", "show", "tiny-mri"]) == 0
    assert capsys.readouterr().out.startswith("# tiny-mri\n\nSuper-resolution of brain MRI")
    assert main(["models", "show", "heads-1mm"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("# heads-1mm\n") == shown.count("## Limits") == 1
    assert "{" not in shown
    assert main(["models", "show", "tiny-mri", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "mri"


@pytest.mark.parametrize(
    ("steps", "marked"),
    [({"flow": 13, "jumps": 10}, True), ({"flow": 499}, True), ({"flow": 500}, False)],
)
def test_a_model_of_a_few_steps_is_marked_in_lists(places, monkeypatch, capsys, steps, marked):
    shutil.copytree(os.environ["LAMINA_MODELS"], places / "models")
    monkeypatch.setenv("LAMINA_MODELS", str(places / "models"))
    path = places / "models/tiny-mri/model.json"
    record = json.loads(path.read_text())
    record["training"] = {"stages": {name: {"steps": n} for name, n in steps.items()}}
    path.write_text(json.dumps(record))
    assert main(["models", "list"]) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("tiny-mri")]
    assert line.endswith(f"unfinished: {sum(steps.values())} steps of training") is marked


@pytest.mark.parametrize(("field", "what"), [("lora", "an adapter"), ("control", "a control")])
def test_what_was_learned_in_a_few_steps_beside_a_model_is_called_so(field, what):
    training = {"request": {field: "edges"}, "stages": {"flow": {"steps": 60}}}
    assert unfinished({"training": training}) == f"{what}: 60 steps of training"


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
def test_training_publishes_a_model_that_generates(places, capsys):
    words = ["--name", "mine", "--preset", "tiny", "--steps", "2", "--jump-steps", "1"]
    assert main(["models", "show", "tiny-video", "--json"]) == 0
    start = json.loads(capsys.readouterr().out)
    words += ["--start", "tiny-video"]
    assert main(["train", "video", *words, "--batch-size", "2"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert folder.name == "mine"
    assert {path.name for path in folder.iterdir()} >= {"model.json", "CARD.md", "config.json"}
    record = json.loads((folder / "model.json").read_text())
    assert record["parameters"] > 1000
    assert "| shapes | circle, square, " in (folder / "CARD.md").read_text()
    done = {name: stage["steps"] for name, stage in record["training"]["stages"].items()}
    assert done == {"flow": 2, "jumps": 1}
    begun = record["training"]["begun_from"]
    assert begun["name"] == "tiny-video"
    assert begun["sha256"] == start["sha256"]["weights.safetensors"]
    assert all(stage["minutes"] >= 0 for stage in record["training"]["stages"].values())
    try:
        output = str(places / "o.mp4")
        assert main(["video", "generate", PROMPT, output, "--model", "mine", "--steps", "1"]) == 0
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def modules_after(words, places):
    """Names of top-level modules a fresh interpreter has loaded after running a command."""
    program = (
        "import sys; from flows.commands.command_line import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as end: code = end.code\n"
        "print('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))\n"
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=places, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_a_reader_who_has_seen_enough_meets_no_traceback(places):
    command = [sys.executable, "-m", "flows.commands.command_line", "video", "vocabulary"]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(
            command, stdout=closed, stderr=subprocess.PIPE, cwd=places, check=False
        )
    assert (done.returncode, done.stderr) == (141, b"")
    reader, writer = socket.socketpair()
    reader.close()
    with writer:
        done = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, cwd=places, check=False
        )
    assert (done.returncode, done.stderr) == (141, b"")


def test_another_pipe_that_breaks_is_a_fault(places, monkeypatch, capfd):
    def dead_socket(_):
        raise BrokenPipeError(32, "dead socket")

    monkeypatch.setattr(command_line, "adopt", dead_socket)
    with pytest.raises(BrokenPipeError, match="dead socket"):
        main(["models", "list"])
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(BrokenPipeError, match="dead socket"):
        main(["models", "list"])


def test_help_loads_neither_torch_nor_prefect(places):
    loaded = modules_after(["video", "generate", "--help"], places)
    assert loaded.isdisjoint({"torch", "prefect", "diffusers", "monai", "transformers"})


def test_a_clip_is_made_without_prefect_and_without_the_medical_libraries(places):
    words = ["video", "generate", PROMPT, "o.mp4", "--model", "tiny-video", "--steps", "1"]
    loaded = modules_after(words, places)
    assert loaded.isdisjoint({"prefect", "monai", "nibabel", "nilearn", "fastapi"})


def test_a_scan_is_restored_without_prefect_and_without_the_video_libraries(places, scan):
    words = ["--model", "tiny-mri", "--samples", "1", "--steps", "1"]
    loaded = modules_after(["mri", "super-resolve", str(scan), "o.nii.gz", *words], places)
    assert loaded.isdisjoint({"prefect", "decord", "imageio", "fastapi"})


def test_families_are_listed_and_shown(capsys):
    from core.families.table import FAMILIES

    assert main(["families", "list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(FAMILIES)
    for name, entry in FAMILIES.items():
        assert main(["families", "show", name]) == 0
        shown = capsys.readouterr().out
        assert entry.source in shown
        assert f"--family {name}" in shown
    assert main(["families", "show", "gan"]) == 2
    assert "no such family; choose one of ddpm" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["batch", "gallery", "models", "mri", "stack", "train", "video"])
def test_a_command_in_a_fresh_folder_reads_its_request_without_prefect(name):
    code = f"import sys, flows.commands.{name}; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("words", [["reproduce"], ["batch", "plan"], ["video", "verify"]])
def test_a_name_that_no_disk_can_hold_is_refused(words, places, capsys):
    assert main([*words, "/tmp/" + "x" * 300]) == 2
    said = capsys.readouterr().err
    assert "too long: a disk holds names of at most 255 bytes; shorten it" in said.lower()
    assert said.count("\n") == 1
