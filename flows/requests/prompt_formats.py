"""Prompt files taken apart: plain text, CSV, JSONL or YAML, each into rows of plain values.

A row's values are words, numbers, true, false or nothing: what holds more is refused by file and
row before it is built. Nothing is guessed: a name that stands twice in a row, a number that two
versions of YAML read differently, or half a character is refused as well.
"""

import csv
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from core.progress import counted
from core.refusal import Refusal

COMMENT = (
    "#"  # begins a line that is skipped in .txt and .csv; anywhere else it is part of a prompt
)

SEPARATORS = (",", ";", "\t")
GROUPED = re.compile(r"\s*[+-]?[1-9]\d{0,2}(\.\d{3})+\s*")


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


def text_rows(text: str, name: str) -> Iterator[Row]:
    """One prompt per line; empty lines and lines that begin with ``#`` are skipped.

    Names of columns in the first line that is neither make it a table: spreadsheets write one so
    as "text", or as "Unicode text".
    """
    heads = (list(map(_plain, _first_line(text).split(sign))) for sign in SEPARATORS)
    if any(len(head) > 1 and "prompt" in head and _are_names(head) for head in heads):
        yield from csv_rows(text, name)
        return
    first = True
    for number, line in enumerate(text.splitlines(), 1):
        prompt = line.strip()
        if _says_nothing(prompt):
            continue
        if not first or _plain(prompt) != "prompt":  # the head of a table of one column
            yield Row(f"{name}:{number}", {"prompt": prompt})
        first = False


def csv_rows(text: str, name: str) -> list[Row]:
    """One row per line under a first line of column names; lines with ``#`` first are skipped.

    Cells stand between commas, or between the semicolons or tabs that stand in the first line, as
    spreadsheets write them where a comma is part of a number.
    """
    sign, number, header, records = _headed(text, name)
    columns = [_plain(column) for column in header]
    if "prompt" not in columns:
        raise Refusal(
            f"{name}:{number}: the columns are {_quoted(header)}: one of them must be `prompt`; "
            "write the names of the columns into the first line."
        )
    if twice := sorted({column for column in columns if column and columns.count(column) > 1}):
        raise Refusal(
            f"{name}:{number}: column {twice[0]} stands there twice: each column has a name of "
            "its own; remove one or correct its name."
        )
    filled = _filled(records, columns, name, grouped=sign == ";")
    rows = [Row(f"{name}:{n}", fields) for n, fields in filled if fields]
    used = {column for row in rows for column in row.fields}
    empty = tuple(column for column in columns if column and column not in used)
    return [replace(rows[0], empty=empty), *rows[1:]] if rows else []


def _headed(text: str, name: str) -> tuple[str, int, list[str], Iterator[tuple[int, list[str]]]]:
    """What stands between cells, the first line's number and cells, and the records after it."""
    for sign in SEPARATORS:
        try:
            records = _records(text, name, sign)
            number, header = next(records, (1, []))
            if len(header) in (1, 2) and _first_line(text) == f"sep={sign}":
                number, header = next(records, (number, []))  # which Excel writes for itself
        except Refusal:
            continue
        if "prompt" in map(_plain, header):
            return sign, number, header, records
    records = _records(text, name, ",")
    number, header = next(records, (1, []))
    return ",", number, header, records


def _first_line(text: str) -> str:
    """The first that says something, without what does not show.

    A tab at its end may be what stands between cells.
    """
    lines = (line.strip("\ufeff\r ") for line in text.split("\n"))
    return next((line for line in lines if not _says_nothing(line)), "")


def _says_nothing(line: str) -> bool:
    """Whether a line is empty, or a comment."""
    return not _plain(line) or line.lstrip().startswith(COMMENT)


def _plain(column: str) -> str:
    """A column's name without what does not show."""
    return "".join(sign for sign in column if unicodedata.category(sign) != "Cf").strip()


def _are_names(head: list[str]) -> bool:
    return all(not name or name.isidentifier() for name in head)


def _quoted(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def _filled(
    records: Iterable[tuple[int, list[str]]], columns: list[str], name: str, *, grouped: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, cells in records:
        if odd := next(filter(GROUPED.fullmatch, cells), "") if grouped else "":
            raise Refusal(
                f"{name}:{number}: holds {odd}: where semicolons stand between cells, a point may "
                f"stand between thousands; write {odd.replace('.', '')}, or put commas between "
                f"cells{_as_fraction(odd)}."
            )
        if len(cells) > len(columns):
            raise Refusal(
                f"{name}:{number}: has {counted(len(cells), 'cell')} where the first line names "
                f"{counted(len(columns), 'column')}; put text with commas in quotes."
            )
        if any(cell.strip() and not column for column, cell in zip(columns, cells, strict=False)):
            raise Refusal(
                f"{name}:{number}: has a value in a column without a name: each column has one in "
                "the first line; name it or leave it out (pandas does with index=False)."
            )
        pairs = zip(columns, cells, strict=False)
        yield number, {column: cell.strip() for column, cell in pairs if cell.strip()}


def _as_fraction(number: str) -> str:
    """How a number is written with one point that can only stand before decimals."""
    return f", or write {number.strip()}0 for a fraction" if number.count(".") == 1 else ""


def _records(text: str, name: str, sign: str) -> Iterator[tuple[int, list[str]]]:
    """The number of each record's last line, and its cells."""
    number, between = 0, True

    def lines() -> Iterator[str]:
        nonlocal number, between
        for line in text.split("\n"):
            number += 1
            if not (between and line.lstrip().startswith(COMMENT)):
                between = False
                yield f"{line}\n"

    reader = csv.reader(lines(), delimiter=sign, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            between = True
            if cells:
                yield number, cells
    except csv.Error as error:
        raise Refusal(
            f"{name}:{number}: {error}: a CSV has one row per line, cells between commas, "
            "semicolons or tabs; correct that line."
        ) from error


def jsonl_rows(text: str, name: str) -> Iterator[Row]:
    """One JSON object per line; a line ends where JSON's whitespace says so, not at U+2028."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{name}:{number}"
            yield row_of(_json(line, where), where)


def _json(line: str, where: str) -> object:
    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [key for key, _ in pairs]
            twice = next(key for key in names if names.count(key) > 1)
            raise _twice(twice, where)
        return made

    try:
        return json.loads(line, object_pairs_hook=table)
    except Refusal:
        raise
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.pos + 1}"
    except RecursionError:
        reason = "too many brackets within one another"
    except ValueError:
        reason = "a number of thousands of digits"
    raise Refusal(
        f"{where}: is not JSON ({reason}): each line is one JSON object; correct that line."
    )


def yaml_rows(text: str, name: str) -> Iterator[Row]:
    """A list of prompts or of tables."""
    from flows.requests.prompt_yaml import entries_of

    for number, entry in enumerate(entries_of(text, name), 1):
        fields = {"prompt": entry} if isinstance(entry, str) else entry
        yield row_of(fields, f"{name}:{number}")


def row_of(fields: object, where: str) -> Row:
    """A row of plain values.

    Raises:
        Refusal: It is no table, a value is more than a word or a number, or no text.
    """
    if not isinstance(fields, dict):
        raise Refusal(
            f"{where}: is {kind_of(fields)}: a row is a table of fields; write "
            '{"prompt": "..."}.'
        )
    row = {str(name): value for name, value in fields.items()}
    for name, value in row.items():
        if _halved(name) or _halved(value):
            raise Refusal(
                f"{where}: holds half a character (a lone surrogate): a row is text; write the "
                "whole character or leave it out."
            )
        if isinstance(value, list | dict):
            raise Refusal(
                f"{where}: column {shortened(name)}: is {kind_of(value)}: a value is "
                "words or a number; write a single one."
            )
    return Row(where, row)


def kind_of(value: object) -> str:
    """What a value is, in a person's words.

    >>> kind_of([1]), kind_of(None), kind_of(2.5)
    ('a list', 'nothing', 'a number')
    """
    kinds = {list: "a list", dict: "a table", str: "words", bool: "true or false"}
    return kinds.get(type(value), "nothing" if value is None else "a number")


def shortened(name: str) -> str:
    """The name, or its beginning where it is long."""
    return name if len(name) <= 60 else f"{name[:60]}..."


def _twice(name: str, where: str) -> Refusal:
    shown = "(no text)" if _halved(name) else shortened(name)
    return Refusal(
        f"{where}: column {shown} stands there twice: each has one value; remove one or correct "
        "its name."
    )


def _halved(value: object) -> bool:
    return isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value)


READERS: dict[str, Callable[[str, str], Iterable[Row]]] = {
    ".txt": text_rows,
    ".csv": csv_rows,
    ".jsonl": jsonl_rows,
    ".yaml": yaml_rows,
    ".yml": yaml_rows,
}
