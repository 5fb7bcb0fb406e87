"""How far a request walks through the project: ``python tests/house/walks.py``.

Counts what a person has to follow: the project's files that a flow imports, directly and in the
end, imports inside functions and under TYPE_CHECKING included; and the floors of ``flows``, the
longest chain of imports among its modules.
"""

import ast
import functools
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOORS = ("core", "video", "medical", "flows")


def modules(*packages: str) -> dict[str, Path]:
    """Module name to file, of these packages."""
    files = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    return {_name(path): path for path in files}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imports(name: str, known: dict[str, Path]) -> set[str]:
    """The modules among ``known`` that one of them imports, wherever in its file."""
    found = set[str]()
    for node in ast.walk(ast.parse(known[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = {f"{node.module}.{alias.name}" for alias in node.names} & known.keys()
            found |= parts or ({node.module} & known.keys())
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known.keys()
    return found - {name}


def reached(start: str) -> set[str]:
    """Every module of the project that a module imports in the end."""
    known, seen, waiting = modules(*FLOORS), set[str](), [start]
    while waiting:
        for name in imports(waiting.pop(), known) - seen - {start}:
            seen.add(name)
            waiting.append(name)
    return seen


def floors(package: str) -> int:
    """The longest chain of imports among the modules of a package."""
    known = modules(package)
    path = set[str]()

    @functools.cache
    def floor(name: str) -> int:
        path.add(name)
        below = [floor(other) for other in imports(name, known) if other not in path]
        path.discard(name)
        return 1 + max(below, default=0)

    return max(map(floor, known))


def lines(package: str) -> int:
    """How many lines a package has."""
    return sum(len(path.read_text().splitlines()) for path in modules(package).values())


def report() -> dict[str, int]:
    """All counts by name."""
    walked = reached("flows.text_to_video")
    return {
        "files that text_to_video imports": len(walked),
        "of these in flows": sum(name.startswith("flows.") for name in walked),
        "floors of flows": floors("flows"),
        "files of flows": len(modules("flows")),
        "lines of flows": lines("flows"),
    }


if __name__ == "__main__":
    for words, number in report().items():
        sys.stdout.write(f"{number:6d}  {words}\n")
