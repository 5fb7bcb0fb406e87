"""Prompt files as rows: plain text, CSV, JSONL or YAML, told apart by the name's ending.

A row is where it came from and the fields it names. Every complaint names file, row and column,
and all complaints of a file come together, before anything runs.
"""

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from core.refusal import Refusal
from flows.commands.options import complaint

MOST_COMPLAINTS = 10
LONGEST_WORD = 60
LARGEST_FILE = 64_000_000  # bytes; a million prompts

Request = TypeVar("Request", bound=BaseModel)


@dataclass(frozen=True)
class Row:
    """One line of a prompt file.

    Attributes:
        where: File and row as a person counts them, ``prompts.csv:3``.
        fields: Column to value; values of a CSV are text.
        empty: In the first row of a CSV, its columns without a single value.
    """

    where: str
    fields: dict[str, Any]
    empty: tuple[str, ...] = ()


def read_rows(path: Path) -> list[Row]:
    """The rows of a prompt file.

    Raises:
        Refusal: The file cannot be read as what its ending says, or holds no prompt.
    """
    ending = path.resolve().suffix.lower()
    if ending not in READERS or path.suffix.lower() not in READERS:
        raise Refusal(
            f"prompt_file={path}: a prompt file ends with {', '.join(READERS)}, itself and not "
            "only in the name of a link to it; rename it, such as to prompts.txt."
        )
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
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refusal(
            f"prompt_file={path} is not UTF-8 text ({error.reason} at byte {error.start}): prompt "
            "files are; save it again as UTF-8."
        ) from error
    rows = _not_empty(list(READERS[ending](text, path.name)), f"prompt_file={path}")
    for row in rows:
        if not _may_be_prompt(row.fields.get("prompt")):
            raise Refusal(
                f"{row.where}: column prompt: this is no sentence but a setting, a key or no text "
                "at all (it is not repeated here); a prompt file holds one sentence per row: "
                "name another file or correct it."
            )
    return rows


def text_rows(text: str, name: str) -> Iterator[Row]:
    """One prompt per line; empty lines and what follows ``#`` are skipped."""
    for number, line in enumerate(text.splitlines(), 1):
        if prompt := line.partition("#")[0].strip():
            yield Row(f"{name}:{number}", {"prompt": prompt})


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
            bad.append(f"{row.where}: column prompt: {error}")
    if bad:
        more = len(bad) - MOST_COMPLAINTS
        rest = [f"... and {more} more like these."] if more > 0 else []
        raise Refusal("\n".join(bad[:MOST_COMPLAINTS] + rest))
    return good


def _csv_rows(text: str, name: str) -> list[Row]:
    rows = list(_filled_rows(text, name))
    used = {column for row in rows for column in row.fields}
    header = next(csv.reader(io.StringIO(text), skipinitialspace=True))
    empty = tuple(column.strip() for column in header if {column.strip()} - used - {""})
    return [replace(rows[0], empty=empty), *rows[1:]] if rows else []


def _filled_rows(text: str, name: str) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True, strict=True)
    if "prompt" not in (reader.fieldnames or []):
        raise Refusal(
            f"{name}:1: the columns are {reader.fieldnames}: one of them must be `prompt`; write "
            "the names of the columns into the first line."
        )
    try:
        for fields in reader:
            where = f"{name}:{reader.line_num}"
            if None in fields:
                raise Refusal(
                    f"{where}: has {len(fields) - 1 + len(fields[None])} cells where the first "
                    f'line names {len(fields) - 1} columns; put text with commas in "quotes".'
                )
            filled = {k.strip(): v.strip() for k, v in fields.items() if v and v.strip()}
            if filled:
                yield Row(where, filled)
    except csv.Error as error:
        raise Refusal(
            f"{name}:{reader.line_num}: {error}: a CSV has one row per line, cells between "
            "commas; correct that line."
        ) from error


def _jsonl_rows(text: str, name: str) -> Iterator[Row]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise Refusal(
                f"{name}:{number}: is not JSON ({error}): each line is one JSON object; correct "
                "that line."
            ) from error
        yield _row(fields, f"{name}:{number}")


def _yaml_rows(text: str, name: str) -> Iterator[Row]:
    import yaml

    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Refusal(
            f"{name}: is not YAML ({_place_of(error)}): it is a list of prompts or of tables; "
            "correct it there."
        ) from error
    if not isinstance(entries, list):
        raise Refusal(
            f"{name}: holds a {type(entries).__name__}: a YAML prompt file is a list of prompts "
            "or of tables; begin each entry with a dash."
        )
    for number, entry in enumerate(entries, 1):
        yield _row({"prompt": entry} if isinstance(entry, str) else entry, f"{name}:{number}")


def _place_of(error: Exception) -> str:
    """Where a YAML error is, without what stands there."""
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}" if mark else "somewhere"


def _row(fields: object, where: str) -> Row:
    if not isinstance(fields, dict):
        raise Refusal(
            f"{where}: is a {type(fields).__name__}: a row is a table of fields; write "
            '{"prompt": "..."}.'
        )
    return Row(where, {str(name): value for name, value in fields.items()})


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


READERS: dict[str, Callable[[str, str], Iterable[Row]]] = {
    ".txt": text_rows,
    ".csv": _csv_rows,
    ".jsonl": _jsonl_rows,
    ".yaml": _yaml_rows,
    ".yml": _yaml_rows,
}
