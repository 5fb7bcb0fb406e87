"""Prompt files as rows, told apart by the name's ending, and the requests that rows make.

Every complaint names file, row and column, and all complaints of a file come together, before
anything runs.
"""

import codecs
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from core.refusal import Refusal
from flows.requests.complaints import complaint
from flows.requests.prompt_formats import READERS, Row, text_rows
from video.several import checked_count

MOST_COMPLAINTS = 10
NUMBER = "\ud800"  # of a row that is drawn several times; half a character names no column
LONGEST_WORD = 60
DOCUMENTS = {
    "{\\rtf": "an RTF document",
    "<!doctype": "a web page",
    "<html": "a web page",
    "<?xml": "XML",
    "%pdf-": "a PDF",
}
LARGEST_FILE = 64_000_000  # bytes; a million prompts

Request = TypeVar("Request", bound=BaseModel)


def rows_of(prompts: str, prompt_file: str) -> list[Row]:
    """The rows of a batch: lines of text, or those of a prompt file or a folder of pictures.

    Args:
        prompts: One a line; of a folder, what stands for captions that are not there.
        prompt_file: Its path; empty for none.

    Raises:
        Refusal: There is neither or both, or no prompt.
    """
    path = Path(prompt_file).expanduser()
    of_pictures = bool(prompt_file) and _is_folder(path)
    if bool(prompts.strip()) == bool(prompt_file) and not of_pictures:
        raise Refusal(
            "prompts and prompt_file: a batch has one of them; write lines into the one or name a "
            "file in the other."
        )
    return read_rows(path, " ".join(prompts.split())) if prompt_file else prompt_rows(prompts)


def read_rows(path: Path, usual: str = "") -> list[Row]:
    """The rows of a prompt file, or of a folder of pictures.

    Args:
        path: The file or folder.
        usual: The prompt of pictures that have no caption.

    Raises:
        Refusal: The file cannot be read as what its ending says, or holds no prompt.
    """
    if _is_folder(path):
        return _picture_rows(path, usual)
    try:
        ending, text = path.resolve().suffix.lower(), ""
        if ending in READERS and path.suffix.lower() in READERS:
            text = _text_of(path)
    except Refusal:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Refusal(
            f"prompt_file={path} cannot be read ({reason}): name a file that may be read, by its "
            "full path."
        ) from error
    if ending not in READERS or path.suffix.lower() not in READERS:
        raise Refusal(
            f"prompt_file={path}: a prompt file ends with {', '.join(READERS)}, itself and not "
            "only in the name of a link to it; rename it, such as to prompts.txt."
        )
    rows = _not_empty(list(READERS[ending](text, path.name)), f"prompt_file={path}")
    for row in rows:
        if not _may_be_prompt(row.fields.get("prompt")):
            raise Refusal(
                f"{row.where}: column prompt: this is no sentence but a setting, a key or no text "
                "at all (it is not repeated here); a prompt file holds one sentence per row: "
                "name another file or correct it."
            )
    return rows


def _picture_rows(folder: Path, usual: str) -> list[Row]:
    """A row for each picture, which is the first frame of its clip."""
    from video.engines.picture_folder import survey

    found = survey(folder)
    if not found.taken:
        reasons = f" ({'; '.join(found.says())})" if found.left_out else ""
        raise Refusal(
            f"prompt_file={folder}: it holds no picture{reasons}; name a folder with .png or .jpg "
            "files, or a prompt file."
        )
    silent = [path.name for path, caption in found.taken.items() if not caption]
    if silent and not usual:
        shown = ", ".join(silent[:MOST_COMPLAINTS])
        more = f" and {len(silent) - MOST_COMPLAINTS} more"
        raise Refusal(
            f"{folder}: {shown}{more if len(silent) > MOST_COMPLAINTS else ''}: without a caption "
            "nobody knows what happens in the clip; write it into NAME.txt beside NAME.png, or "
            'one for all with --set prompts="...".'
        )
    return [
        Row(f"{folder.name}/{path.name}", {"prompt": caption or usual, "first": str(path)})
        for path, caption in found.taken.items()
    ]


def _is_folder(path: Path) -> bool:
    """Whether a path is one; not where it is no path that a disk can hold."""
    with suppress(OSError, ValueError):
        return path.is_dir()
    return False


def _text_of(path: Path) -> str:
    if not path.is_file():
        raise Refusal(
            f"prompt_file={path}: there is no such file; write one prompt per line and name it "
            "by its full path."
        )
    if path.stat().st_size > LARGEST_FILE:
        raise Refusal(
            f"prompt_file={path} has {path.stat().st_size:,} bytes: a prompt file has at most "
            f"{LARGEST_FILE:,}; make several batches of it."
        )
    raw = path.read_bytes()
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # "Unicode" of Windows
    kind = "UTF-16" if wide else "UTF-8"
    try:
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refusal(
            f"prompt_file={path} is not {kind} text ({error.reason} at byte {error.start}): "
            "prompt files are UTF-8, or UTF-16 that says so in its first two bytes; save it again "
            "as UTF-8."
        ) from error
    begin = text[:LONGEST_WORD].lstrip("\ufeff \r\n\t").lower()
    if found := next((kind for sign, kind in DOCUMENTS.items() if begin.startswith(sign)), ""):
        raise Refusal(
            f"prompt_file={path} is {found}, whatever its name ends with: a prompt file is plain "
            "text; save it as that."
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def each_of(rows: Iterable[Row], usual: int) -> Iterator[Row]:
    """Each row as often as its column ``count`` says, or the usual number of times.

    A count that is none is left in the row, for whoever makes requests of it to refuse.
    """
    for row in rows:
        try:
            count = checked_count(row.fields.get("count", usual))
        except ValueError:
            yield row
            continue
        for number in range(count):
            fields = {**row.fields, NUMBER: number}
            where = f"{row.where} ({number + 1} of {count})" if count > 1 else row.where
            yield replace(row, where=where, fields=fields)


def prompt_rows(text: str) -> list[Row]:
    """The rows of the form's box."""
    return _not_empty(list(text_rows(text, "prompts")), "prompts")


def requests_of(
    rows: Iterable[Row], make: Callable[[dict[str, Any]], Request], known: Collection[str]
) -> list[tuple[str, Request]]:
    """Where each row stands, and the request it makes.

    Args:
        rows: Of one source.
        make: Turns a row's fields into a request, or raises what pydantic raises.
        known: The columns that there may be.

    Raises:
        Refusal: Rows were refused; up to ten of the complaints, one a line.
    """
    good: list[tuple[str, Request]] = []
    bad: list[str] = []
    for row in rows:
        head = f"{row.where.rpartition(':')[0]}:1"
        bad += [
            f"{head}: column {name}: {name} is no field of this request; remove it or correct its "
            "name."
            for name in row.empty
            if name not in known
        ]
        try:
            good.append((row.where, make(row.fields)))
        except ValidationError as error:
            bad += [f"{row.where}: column {complaint(detail)}" for detail in error.errors()]
        except ValueError as error:
            bad.append(f"{row.where}: column {_column_of(str(error), known)}: {error}")
    if bad:
        more = len(bad) - MOST_COMPLAINTS
        rest = [f"... and {more} more like these."] if more > 0 else []
        raise Refusal("\n".join(bad[:MOST_COMPLAINTS] + rest))
    return good


def _column_of(said: str, known: Collection[str]) -> str:
    """The column that a complaint begins with, as `num_frames=10: ...`; else the prompt."""
    name = said.partition("=")[0]
    return name if name in known else "prompt"


def _may_be_prompt(prompt: object) -> bool:
    """Whether it reads as something said, so that no file of accounts or keys becomes clips.

    A single word with a colon or an equals sign is a line of settings; a long one is a key.
    """
    if not isinstance(prompt, str):
        return True  # which the request refuses by its own rule
    words = prompt.split()
    setting = len(words) == 1 and any(sign in prompt for sign in ":=")
    key = any(len(word) > LONGEST_WORD and word.isascii() for word in words)
    control = any(unicodedata.category(sign) == "Cc" for word in words for sign in word)
    return not (setting or key or control)


def _not_empty(rows: list[Row], source: str) -> list[Row]:
    if not rows:
        raise Refusal(
            f"{source}: it holds no prompt, only empty lines and comments; write one prompt per "
            "line."
        )
    return rows
