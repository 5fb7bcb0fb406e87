"""What a ``.bidsignore`` names: patterns as in a ``.gitignore``, of which the last match holds."""

import re
from collections.abc import Callable
from pathlib import Path

from medical.files.bids import read_text

PIECES = {"**/": "(?:.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def read_ignored(path: Path) -> Callable[[str], bool]:
    """Whether a path below the dataset, written with slashes, is ignored; never if no such file.

    Args:
        path: The ``.bidsignore``.
    """
    try:
        lines = read_text(path).splitlines()
    except OSError:
        lines = []
    rules = [rule for line in lines if (rule := _rule(line.strip()))]

    def ignored(inside: str) -> bool:
        parts, last = inside.split("/"), False
        for number in range(1, len(parts) + 1):
            here, is_folder = "/".join(parts[:number]), number < len(parts)
            for pattern, folders_only, ignores in rules:
                if pattern.fullmatch(here) and (is_folder or not folders_only):
                    last = ignores
            if last and is_folder:  # what lies below an ignored folder cannot come back
                return True
        return last

    return ignored


def _rule(line: str) -> tuple[re.Pattern[str], bool, bool] | None:
    """A line's pattern, whether it means folders only, and whether it ignores or takes back."""
    if not line or line.startswith("#"):
        return None
    ignores, line = not line.startswith("!"), line.removeprefix("!")
    folders_only, line = line.endswith("/"), line.rstrip("/")
    anchored, line = "/" in line, line.removeprefix("/")
    pieces = re.split(r"(\*\*/|/\*\*|\*\*|\*|\?|\[[^\]]+\])", line)
    form = "".join(_piece(piece) for piece in pieces)
    return re.compile(form if anchored else f"(?:.*/)?{form}"), folders_only, ignores


def _piece(piece: str) -> str:
    if piece.startswith("[") and piece.endswith("]") and len(piece) > 2:
        inner = piece[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        return f"[^{inner[1:]}]" if inner[0] == "!" and inner[1:] else f"[{inner}]"
    return PIECES.get(piece) or re.escape(piece)
