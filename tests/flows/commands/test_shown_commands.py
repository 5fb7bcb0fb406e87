"""Commands that the documents show run as they stand, or it is said here why they do not.

Each document is taken from its first block to its last in a fresh folder that holds the shipped
examples, with the scan replaced by a tiny one: what a block makes, a later one may use.
"""

import os
import re
import shlex
import shutil
import subprocess

import numpy as np
import pytest
import torch
from shown import ROOT, fences, lines
from tiny_engines import save_engine

from flows.commands.command_line import app, main
from medical.files.nifti import read_volume, write_volume
from medical.files.volume import Volume

PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES, *(ROOT / "infra").rglob("*.md")]
LANGUAGES = {"bash", "csv", "json", "python", "yaml"}
SCAN = "docs/examples/head_T1w.nii.gz"
NOT_RUN = {
    "make": "CI runs each target",
    "source": "the tests stand in the environment already",
    "lamina up": "stays until Ctrl-C",
    "lamina worker": "stays until Ctrl-C",
    "lamina gallery": "stays until Ctrl-C",
    "lamina demo": "CI runs it as make demo",
    "lamina run": "starts server and workers for one run; tests/flows/stack does",
    "lamina train": "takes the minutes it is given",
    "lamina mri augment docs/examples/dataset.json pilot": "test_tutorial_of_heads.py draws",
    "lamina mri approve": "needs the heads; test_tutorial_of_heads.py has one",
    "lamina reproduce pilot/volumes/sub-001.json": "needs the heads; test_drawn_again.py has some",
    "lamina mri insert-lesions": "needs a whole head, 5 s; tests/medical/test_bounds.py does",
    "lamina mri fill-lesions": "needs the head that the line before makes",
    "lamina batch plan my-bids-folder": "shows a folder of the reader's",
    "lamina batch run my-bids-folder": "shows a folder of the reader's",
    "lamina batch run docs/examples/wan.csv": "needs real weights; test_engine_commands.py does",
    "lamina batch run": "starts processes; tests/flows/batches does",
    "lamina batch finish": "needs what the line before makes; test_drafts.py does",
    "lamina batch status": "shows what the line before makes",
    "python -m medical.training.segmenter": "takes the minutes it is given",
    "lamina mri strip-skull": "needs the extra skull; test_stripping.py has its parts",
    "lamina mri anomalies": "needs a FLAIR; test_anomalies.py has one",
    "python -m medical.evaluation.downstream": "takes hours; test_downstream.py has the parts",
    "python -m medical.evaluation.leave_out": "takes minutes; test_downstream.py has the parts",
    "python -m medical.evaluation.structures": "needs label maps; test_segmenter.py has the parts",
    "python -m medical.evaluation.contact_sheet": "shows a folder of the reader's",
    "python small/run.py": "needs the libraries of another machine; test_export.py does",
    "python docs/examples/molecules.py": "takes minutes; tests/examples/test_molecules.py is tiny",
    "python docs/examples/shapes.py": "takes minutes; tests/examples/test_shapes.py is tiny",
    "pip install": "needs the network",
    "python -c": "needs a server; tests/flows/stack/test_outside.py does",
    "prefect": "needs a server",
    "torchrun": "needs two hosts",
    "curl": "needs a server; tests/flows/stack/test_outside.py does",
    "docker": "needs Docker",
    "helm": "needs a cluster",
    "kubectl": "needs a cluster",
    "PREFECT_API_URL=http://server:4200/api": "needs a server",
    "export PREFECT_API_URL": "would point what follows at a server",
    "export LAMINA_STORE": "needs a store",
    "cp infra/env.example": "needs Docker afterwards",
    "echo": "writes people into a file of the proxy",
}
"""How a line begins, and why it is not run here."""


def named(path):
    return str(path.relative_to(ROOT))


def reason(line):
    """Why a line is not run: that of the longest beginning which is listed."""
    said = " ".join(shlex.split(line, comments=True))
    listed = [start for start in NOT_RUN if said == start or said.startswith(f"{start} ")]
    listed += [start for start in NOT_RUN if "=" not in start and said.startswith(f"{start}=")]
    listed = [start for start in listed if not (start.endswith("pilot") and said != start)]
    return NOT_RUN[max(listed, key=len)] if listed else ""


ALL = [(path, line) for path in DOCUMENTS for line in lines(path)]
RUN = {path: [line for line in lines(path) if not reason(line)] for path in DOCUMENTS}


@pytest.fixture
def reader(places, monkeypatch, request):
    """A folder as the repository's, as far as a reader's commands see it."""
    shutil.copytree(ROOT / "docs/examples", places / "docs/examples")
    monkeypatch.delenv("LAMINA_MODELS", raising=False)
    monkeypatch.setenv("PWD", str(places))
    monkeypatch.setenv("LAMINA_ENGINES", "")
    if "origin" in request.node.name:
        monkeypatch.setenv("LAMINA_C2PA", "on")
    if "night-of-clips" in request.node.name:
        state = torch.get_rng_state()
        save_engine("wan", places / "engines")
        torch.set_rng_state(state)
    head = np.zeros((16, 14, 6), dtype=np.float32)
    head[2:14, 2:12, 1:5] = np.random.default_rng(0).random((12, 10, 4)) * 500 + 400
    grid = np.diag([1.0, 1.0, 5.0, 1.0])
    write_volume(Volume(torch.from_numpy(head), grid), places / SCAN, overwrite=True)
    return places


@pytest.mark.parametrize("path", [path for path, wanted in RUN.items() if wanted], ids=named)
def test_shown_commands_run(path, reader):
    for line in RUN[path]:
        words = shlex.split(line, comments=True)
        if words[0] == "lamina":
            assert main([os.path.expandvars(word) for word in words[1:]]) == 0, line
        elif words[0] == "export":
            name, _, value = words[1].partition("=")
            os.environ[name] = os.path.expandvars(value)
        else:
            subprocess.run(["bash", "-ec", line], check=True, cwd=reader)


@pytest.mark.parametrize(("path", "line"), ALL, ids=lambda value: str(value)[-60:])
def test_shown_commands_are_understood(path, line):
    words = shlex.split(line, comments=True)
    if words[:1] == ["lamina"]:
        command, bound, _ = app.parse_args(words[1:], exit_on_error=False, print_error=False)
        assert callable(command)
        assert bound is not None


def test_what_is_not_run_is_shown_somewhere():
    reasons = {reason(line) for _, line in ALL}
    unused = {start for start, why in NOT_RUN.items() if why not in reasons}
    assert not unused


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_a_block_says_its_language(path):
    assert {language for language, _ in fences(path)} <= LANGUAGES


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_an_example_that_is_shown_is_the_one_that_is_shipped(path):
    text = path.read_text(encoding="utf-8")
    shown = re.findall(r"This is `(docs/examples/\S+)`:\n```\w+\n(.*?)```", text, re.S)
    for name, content in shown:
        assert (ROOT / name).read_text(encoding="utf-8") == content


def test_every_shipped_example_is_shown_and_can_be_read():
    words = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    files = sorted((ROOT / "docs/examples").iterdir())
    assert [path.name for path in files if f"examples/{path.name}" not in words] == []
    assert [path.name for path in files if path.suffix == ".md"] == []
    scan = read_volume(ROOT / SCAN)
    assert scan.spacing_mm == (1, 1, 5)
    for path in files:
        if path.name.startswith("prompts"):
            assert main(["batch", "plan", str(path)]) == 0


WRITTEN = re.compile(
    r'(?:write_mp4|write_clip)\(\w+, "([^"]+)"|\.write\("([^"]+)"'
    r'|video generate "[^"]*" (\S+)(?!.*--overwrite)|super-resolve \S+ (\S+)'
)


def test_what_the_documents_write_has_names_of_its_own_so_that_all_is_pasted_in_one_folder():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]
    text = "".join(content for path in pages for _, content in fences(path))
    names = ["".join(found) for found in WRITTEN.findall(text)]
    assert len(names) > 6
    assert sorted(names) == sorted(set(names))
