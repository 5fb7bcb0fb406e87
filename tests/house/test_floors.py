"""Who may import whom, and which file is the only door to which library."""

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ("core", "video", "medical", "lamina", "flows")
DOORS = {
    "nibabel": {"medical/files/nifti.py"},
    "pydicom": {"medical/files/dicom.py"},
    "highdicom": {"medical/files/dicom_segments.py"},
    "decord": {"video/files/clip.py"},
    "imageio": {"video/files/clip.py"},
    "av": {"video/files/filters.py", "video/files/footage.py"},
    "tokenizers": {"video/runner/words.py"},
    "transformers": {"video/engines/skeleton.py"},
    "c2pa": {"video/provenance/manifests.py"},
    "cryptography": {"video/provenance/certificates.py"},
    "onnx": {"core/backends/onnx_graph.py"},
    "onnxruntime": {"core/runner/by_onnxruntime.py"},
    "nilearn": {"medical/anatomy/phantom.py"},
    "deepbet": {"medical/anatomy/stripping.py"},
}
SOURCES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


def imported(path):
    """Top-level names of everything a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]


def importers(library):
    return {str(path.relative_to(ROOT)) for path in SOURCES if library in imported(path)}


def test_the_floors_stand_on_each_other():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("library", DOORS)
def test_a_library_has_one_door(library):
    assert importers(library) == DOORS[library]


def test_prefect_stays_on_its_floor():
    assert {path.partition("/")[0] for path in importers("prefect")} == {"flows"}


def test_monai_stays_in_medical():
    assert {path.partition("/")[0] for path in importers("monai")} <= {"medical"}


@pytest.mark.parametrize("library", ["torchvision", "xformers", "sentence_transformers"])
def test_some_libraries_are_never_imported(library):
    assert importers(library) == set()


def test_torchvision_is_not_installed():
    """Its wheels are CUDA builds, which break transformers and diffusers beside a CPU torch."""
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("torchvision")
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "torchvision" not in pinned


def test_imports_within_the_house_are_absolute():
    relative = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []
