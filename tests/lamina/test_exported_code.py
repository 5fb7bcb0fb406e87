"""The code that is copied beside an exported model is whole; seen without running it."""

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

import medical
import video.engines

EXPORTS = {
    "video.runner.clips": Path(video.engines.__path__[0]) / "export.py",
    "medical.runner.heads": Path(medical.__path__[0]) / "export.py",
}
OURS = ("core", "video", "medical", "flows", "lamina")


def modules(main: str) -> set[str]:
    """The list as it is written; importing its file would need OpenVINO."""
    for line in ast.parse(EXPORTS[main].read_text(encoding="utf-8")).body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "MODULES":
            return set(ast.literal_eval(line.value))
    raise AssertionError("there is no list of modules")


def imported(module: str) -> set[str]:
    """Modules of ours that stand at the head of a module."""
    spec = find_spec(module)
    assert spec is not None, module
    assert spec.origin is not None
    found: set[str] = set()
    for line in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(line, ast.Import):
            found |= {alias.name for alias in line.names}
        elif isinstance(line, ast.ImportFrom) and line.module:
            inner = {f"{line.module}.{alias.name}" for alias in line.names}
            whole = {name for name in inner if _is_module(name)}
            found |= whole or {line.module}
    return {name for name in found if name.partition(".")[0] in OURS}


def _is_module(name: str) -> bool:
    if name.partition(".")[0] not in OURS:
        return False
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is no package
        return False


@pytest.mark.parametrize("main", EXPORTS)
def test_every_module_that_is_imported_is_copied_too(main):
    listed = modules(main)
    for module in sorted(listed):
        assert imported(module) <= listed, f"{module} needs {imported(module) - listed}"


@pytest.mark.parametrize("main", EXPORTS)
def test_nothing_else_is_copied(main):
    """But for what another listed module asks for, and the one that is run."""
    listed = modules(main)
    needed = {name for module in listed for name in imported(module)}
    assert listed - needed == {main}
