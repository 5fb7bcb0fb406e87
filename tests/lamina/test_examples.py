"""Python that documents and docstrings show runs as it stands."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SCAN = "docs/examples/head_T1w.nii.gz"
MODULES = sorted(f"lamina.{path.stem}" for path in (ROOT / "lamina").glob("[a-z]*.py"))


def blocks():
    for path in DOCUMENTS:
        found = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
        for number, block in enumerate(found, 1):
            yield pytest.param(block, id=f"{path.relative_to(ROOT)}-{number}")


@pytest.mark.parametrize("block", [*blocks()])
def test_shown_python_runs(block, scan, tmp_path, monkeypatch):
    (tmp_path / SCAN).parent.mkdir(parents=True, exist_ok=True)
    scan.rename(tmp_path / SCAN)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "<document>", "exec"), {})


def test_the_front_page_shows_what_is_written(scan, tmp_path, monkeypatch):
    assert any(block.id == "README.md-1" for block in blocks())
    test_shown_python_runs(next(blocks()).values[0], scan, tmp_path, monkeypatch)
    written = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert written == {
        "same-clip.mp4",
        "same-fine.nii.gz",
        "same-fine_std.nii.gz",
        "same-fine_consistency.nii.gz",
    }


@pytest.mark.parametrize("name", ["lamina", *MODULES])
def test_examples_in_docstrings_are_true(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(import_module(name)).failed == 0
