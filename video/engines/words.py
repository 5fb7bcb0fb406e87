"""How many tokens a folder's tokenizer makes of a text, counted from its file alone.

Pipelines cut what is too long without a word; it is counted before, without torch.
"""

import unicodedata
from pathlib import Path

from core.refusal import Refusal
from video.engines.folder_files import EngineFolder, read_json
from video.runner.words import tokenizer_of

MARKS = 8  # tokens that stand for the ends, at most
UNLIMITED = 1_000_000  # of what libraries write where there is no limit
MAIN = "tokenizer"


def check_words(engine: EngineFolder, field: str, text: str, most: int) -> None:
    """Refuse a text of which the engine would leave the end out.

    Args:
        engine: Its folder.
        field: Of the request.
        text: What stands there.
        most: Tokens that are read; 0 where nobody knows.

    Raises:
        Refusal: It has more.
    """
    if not most or _surely_short(text, most):
        return
    count = count_tokens(engine.path / MAIN, text)
    if count > most:
        raise Refusal(
            f"{field}={text[:60]}...: {field} has {count} tokens, and the engine "
            f"{engine.path.name} reads {most} and would leave out the rest; shorten it."
        )


def longest_text(folder: Path) -> int:
    """Tokens that a tokenizer says it takes; 0 where it does not say."""
    config = folder / "tokenizer_config.json"
    said = read_json(config).get("model_max_length") if config.is_file() else None
    return int(said) if isinstance(said, int | float) and said < UNLIMITED else 0


def count_tokens(folder: Path, text: str) -> int:
    """How many tokens a text has, the marks of its ends included."""
    if (folder / "tokenizer.json").is_file():
        return len(tokenizer_of(folder / "tokenizer.json").encode(text).ids)
    from video.engines.skeleton import count_by_library

    return count_by_library(folder, text)


def _surely_short(text: str, most: int) -> bool:
    """Whether it is, as no token holds less than a byte of the text taken apart."""
    return len(unicodedata.normalize("NFKD", text).encode()) + MARKS <= most
