"""What the documents show: their code blocks, and the commands in them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]


def fences(path):
    """Language and text of each code block."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M)


def lines(path):
    """Commands of a document's bash blocks, continued lines joined."""
    for language, text in fences(path):
        if language != "bash":
            continue
        begun = ""
        for line in re.sub(r"\\\n\s*", "", text).strip().splitlines():
            begun += f"\n{line}" if begun else line
            try:
                shlex.split(begun, comments=True)
            except ValueError:  # a quotation goes on in the next line
                continue
            yield begun
            begun = ""
