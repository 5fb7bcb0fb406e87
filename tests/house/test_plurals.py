"""Messages say `1 head` and `2 heads`: a number before a plural goes through `counted`."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("core", "video", "medical", "flows", "lamina")
THINGS = (
    "batches|clips|columns|contributors|datasets|devices|files|folders|frames|heads|hosts|"
    "images|items|lesions|models|people|pieces|prompts|requests|results|rows|runs|samples|scans|"
    "sessions|shards|slices|steps|subjects|tries|volumes|voxels|words|workers"
)
MANY = re.compile(rf" ({THINGS})\b(?! (per|or more|at most))")
NUMBERS = ("len", "int", "sum")


def loose(path):
    """Numbers that are counted when the message is made, and the plural that follows."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.JoinedStr):
            continue
        for part, after in zip(node.values, node.values[1:], strict=False):
            if (
                not isinstance(part, ast.FormattedValue)
                or part.format_spec
                or not isinstance(after, ast.Constant)
            ):
                continue
            named = ast.unparse(part.value)
            found = MANY.match(str(after.value))
            counts = isinstance(part.value, ast.Call) and named.split("(")[0] in NUMBERS
            if found and (counts or re.search(r"count|made|found|number|num_", named)):
                yield f"{path.relative_to(ROOT)}:{part.lineno}: {named}{found[0]}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_count_that_may_be_one_is_not_followed_by_a_plural(room):
    found = [line for path in sorted((ROOT / room).rglob("*.py")) for line in loose(path)]
    assert found == []
