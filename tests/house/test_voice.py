"""Docstrings have one voice, and numeric code says shapes in its right margin."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ("core", "video", "medical", "lamina")
SHORT = 3
"""Statements of a function short enough for its docstring to say all shapes."""
FILES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


def named(path):
    return str(path.relative_to(ROOT))


def functions(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", FILES, ids=named)
def test_docstrings_name_what_they_give(path):
    said = [
        node.name
        for node in functions(path)
        if (ast.get_docstring(node) or "").startswith(("Return ", "Returns "))
    ]
    assert not said


def test_a_forward_says_its_shapes_in_the_right_margin():
    silent, seen = [], 0
    for path in FILES:
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in functions(path):
            if node.name != "forward" or len(node.body) <= SHORT:
                continue
            seen += 1
            code = lines[node.body[0].end_lineno : node.end_lineno]
            if not any("  # (" in line for line in code):
                silent.append(f"{named(path)}:{node.lineno}")
    assert seen
    assert silent == []
