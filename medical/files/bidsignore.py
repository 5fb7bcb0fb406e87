"""What a ``.bidsignore`` names: patterns as in a ``.gitignore``, of which the last match holds."""

import re
from collections.abc import Callable
from pathlib import Path

from core.refusal import Refusal
from medical.files.bids import read_text

PIECES = {"**/": "(?:.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def read_ignored(path: Path) -> Callable[[str], bool]:
    """Whether a path below the dataset, written with slashes, is ignored; never if no such file.

    Args:
        path: The ``.bidsignore``.

    Raises:
        Refusal: A line is no pattern.
    """
    try:
        lines = read_text(path).splitlines()
    except OSError:
        lines = []
    rules = list[tuple[re.Pattern[str], bool, bool]]()
    for number, line in enumerate(lines, start=1):
        try:
            rules += [rule] if (rule := _rule(line.strip())) else []
        except re.error as error:
            raise Refusal(
                f"{path} has in line {number} the pattern {line.strip()!r} ({error.msg}): ranges "
                "in brackets go from a lower sign to a higher one, as in [a-z]; mend or remove "
                "the line."
            ) from error

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
        others, inner = piece[1] in "!^" and len(piece) > 3, piece[1:-1]
        inner = re.sub(r"[\\\[&|~^]", r"\\\g<0>", inner[others:]).replace("--", "-\\-")
        return f"[{'^' * others}{inner}]"
    return PIECES.get(piece) or re.escape(piece)
