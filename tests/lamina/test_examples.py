"""Python that documents and docstrings show runs as it stands."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = sorted(f"lamina.{path.stem}" for path in (ROOT / "lamina").glob("[a-z]*.py"))


def blocks():
    for path in DOCUMENTS:
        found = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
        for number, block in enumerate(found, 1):
            yield pytest.param(block, id=f"{path.name}-{number}")


@pytest.mark.parametrize("block", [*blocks()])
def test_shown_python_runs(block, scan, tmp_path, monkeypatch):
    scan.rename(tmp_path / "in.nii.gz")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "<document>", "exec"), {})


def test_the_front_page_shows_what_is_written(scan, tmp_path, monkeypatch):
    assert any(block.id == "README.md-1" for block in blocks())
    test_shown_python_runs(next(blocks()).values[0], scan, tmp_path, monkeypatch)
    written = {path.name for path in tmp_path.iterdir()} - {"in.nii.gz"}
    assert written == {"clip.mp4", "out.nii.gz", "out_std.nii.gz", "out_consistency.nii.gz"}


@pytest.mark.parametrize("name", ["lamina", *MODULES])
def test_examples_in_docstrings_are_true(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(import_module(name)).failed == 0
