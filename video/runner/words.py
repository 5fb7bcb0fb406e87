"""The tokenizer of a ``tokenizer.json``."""

from functools import cache
from pathlib import Path

from tokenizers import Tokenizer


@cache
def tokenizer_of(path: Path) -> Tokenizer:
    """The tokenizer in a file, but for what it cuts and fills up to."""
    found = Tokenizer.from_file(str(path))
    found.no_truncation()
    found.no_padding()
    return found
