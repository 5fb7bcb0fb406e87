"""Sizes that tell when a room grows too big, and habits every file keeps."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ("core", "video", "medical", "lamina", "flows")
SOURCES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in SOURCES]
OF_A_KIND = re.compile(r"\w(Request|Asked)$")  # Request alone is any of them
LONGEST_FILE, LONGEST_FUNCTION, USUAL_FUNCTION = 300, 60, 40


def functions(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            start = (first.end_lineno if documented else node.lineno) or node.lineno
            yield node.name, (node.end_lineno or start) - start


@pytest.mark.parametrize("name", NAMES)
def test_a_file_can_be_read_in_one_sitting(name):
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def test_functions_are_short():
    sizes = {(str(p), name): size for p in SOURCES for name, size in functions(p)}
    assert {key: size for key, size in sizes.items() if size > LONGEST_FUNCTION} == {}
    longer = [key for key, size in sizes.items() if size > USUAL_FUNCTION]
    assert len(longer) <= 0.05 * len(sizes), longer


def test_flows_ask_no_request_of_which_kind_it_is():
    """A request, or its operation, answers what differs; ``isinstance`` would list its kinds."""
    asked = [
        f"{path.name}:{node.lineno}"
        for path in (ROOT / "flows").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call | ast.Match)
        if any(
            isinstance(part, ast.Name | ast.Attribute) and OF_A_KIND.search(ast.unparse(part))
            for whole in _told_apart_by(node)
            for part in ast.walk(whole)
        )
    ]
    assert asked == []


def _told_apart_by(node):
    """The classes that a call or a match statement holds something against."""
    if isinstance(node, ast.Match):
        return [case.pattern for case in node.cases]
    named = isinstance(node.func, ast.Name) and node.func.id in ("isinstance", "issubclass")
    return node.args[1:] if named else []


@pytest.mark.parametrize("name", NAMES)
def test_a_file_says_why_it_is_there(name):
    assert ast.get_docstring(ast.parse((ROOT / name).read_text(encoding="utf-8")))


def test_weights_are_small_and_cannot_run_code():
    files = [p for floor in ("video", "medical") for p in (ROOT / floor / "weights").rglob("*")]
    assert {p.suffix for p in files if p.is_file()} <= {".safetensors", ".json", ".md"}
    assert sum(p.stat().st_size for p in files if p.is_file()) <= 64e6


def test_no_file_names_a_machine():
    """No absolute path of someone's machine, and no package index, in what is committed."""
    places = ("/" + "work/", "/" + "home/", "/" + "Users/", "--index" + "-url", "find" + "-links")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    suffixes = {".py", ".toml", ".md", ".yaml", ".txt", ".cff", ""}
    texts = [ROOT / name for name in listed if Path(name).suffix in suffixes]
    found = [
        (path.name, place)
        for path in texts
        if path.is_file()
        for place in places
        if place in path.read_text(encoding="utf-8", errors="ignore")
    ]
    assert found == []
