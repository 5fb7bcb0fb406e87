"""Examples in docstrings of ``core`` run, and every public class of its settled rooms has one."""

import ast
import doctest
from importlib import import_module
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "core"
FILES = sorted(path for path in CORE.rglob("*.py") if ">>>" in path.read_text(encoding="utf-8"))
# Rooms whose classes are shown by their tables and tests; two of them need OpenVINO
OPEN = {"families", "backends", "runner"}
ERRORS = {"Refusal", "Trouble"}
NEEDS_A_TRAINING = {
    "Feeder",
    "Observer",
    "Splitter",
    "Rows",
    "Trainer",
}  # `lamina train` shows them


def module(path):
    return ".".join(path.relative_to(CORE.parent).with_suffix("").parts)


@pytest.mark.parametrize("path", FILES, ids=module)
def test_examples_are_true(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(import_module(module(path)))
    assert found.attempted
    assert found.failed == 0


def plain(node):
    """Whether a class is there to be used, and not a protocol or an error."""
    bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
    values = (each.value for each in node.bases if isinstance(each, ast.Subscript))
    bases |= {value.id for value in values if isinstance(value, ast.Name)}
    return not (node.name.startswith("_") or bases & {"Protocol"} or node.name.endswith("Error"))


def classes():
    for path in sorted(CORE.rglob("*.py")):
        if path.relative_to(CORE).parts[0] not in OPEN:
            nodes = ast.parse(path.read_text(encoding="utf-8")).body
            yield from (n for n in nodes if isinstance(n, ast.ClassDef) and plain(n))


def test_every_public_class_has_an_example():
    found = {node.name: ast.get_docstring(node) or "" for node in classes()}
    without = {name for name, words in found.items() if ">>>" not in words}
    assert sorted(without - ERRORS - NEEDS_A_TRAINING) == []
