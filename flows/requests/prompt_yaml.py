"""YAML prompt files as lists of prompts and tables, read no deeper than a row goes.

PyYAML would build what a file describes before anyone can look: ten aliases to ten aliases, ten
times over, are a billion values in 300 bytes, and thousands of brackets overrun its stack. So the
document is walked as nodes, to the depth of a row, and values are made here. Numbers that YAML
1.1 and 1.2 read differently (``0123``, ``1:30``) are refused.
"""

import re
from typing import Any

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from core.refusal import Refusal

DEPTH = 5  # list, row, `<<`, list of tables, their values
FIELDS_PER_SIGN = 4  # `- <<: *p` is a row of all fields in nine
SPARE_FIELDS = 10_000
WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]{0,40})|0x[0-9a-fA-F_]{1,20}|0b[01_]{1,64}")
DECIMAL = re.compile(r"[-+]?([0-9][0-9_]*)?\.?[0-9_]*([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", re.I)
CUT = re.compile(r"[ \t]+#[^\s#]")
TAG = "tag:yaml.org,2002:"


def entries_of(text: str, name: str) -> list[Any]:
    """The entries of the one list that the document is: text, numbers, tables of these.

    Raises:
        Refusal: It is no YAML, no list, or an entry holds what no row can.
    """
    try:
        return _Document(text, name).entries()
    except Refusal:
        raise
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise Refusal(
            f"{name}: is not YAML ({_place_of(error)}): it is a list of prompts or of tables; "
            "correct it there."
        ) from error


class _Loader(yaml.SafeLoader):
    """Composes nodes, and stops where a row would have to hold more than plain values."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.file, self.row, self.depth = name, 1, 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        if self.depth == 1 and isinstance(index, int):
            self.row = index + 1
        if self.depth > DEPTH:
            raise Refusal(
                f"{self.file}:{self.row}: holds lists within lists: a value is words or a number; "
                "write a single one."
            )
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Document:
    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self.tables: dict[int, dict[str, Any]] = {}
        self.open: set[int] = set()

    def entries(self) -> list[Any]:
        root = _Loader(self.text, self.name).get_single_node()
        if not isinstance(root, SequenceNode):
            kind = {MappingNode: "a table", ScalarNode: "a single value"}.get(
                type(root), "nothing"
            )
            raise Refusal(
                f"{self.name}: holds {kind}: a YAML prompt file is a list of prompts or of "
                "tables; begin each entry with a dash."
            )
        entries, left = [], len(self.text) * FIELDS_PER_SIGN + SPARE_FIELDS
        for number, node in enumerate(root.value, 1):
            entry = self.value(node, f"{self.name}:{number}")
            left -= len(entry) if isinstance(entry, dict) else 0
            if left < 0:
                raise Refusal(
                    f"{self.name}:{number}: aliases make more fields than a file of "
                    f"{len(self.text):,} characters may hold; write the fields out."
                )
            entries.append(entry)
        return entries

    def value(self, node: Node, where: str) -> Any:
        if isinstance(node, ScalarNode):
            return self.scalar(node, where)
        if isinstance(node, MappingNode) and node.tag == f"{TAG}map":
            return self.table(node, where)
        kind = "list" if node.tag == f"{TAG}seq" else node.tag.removeprefix(TAG)
        raise Refusal(
            f"{where}: is a {kind[:60]}: a row is a prompt or a table of fields; write "
            '{prompt: "..."}.'
        )

    def table(self, node: MappingNode, where: str) -> dict[str, Any]:
        """The table's own fields over those that it merges, each table made once."""
        if id(node) in self.tables:
            return self.tables[id(node)]
        if id(node) in self.open:
            raise Refusal(f"{where}: merges itself: `<<` names another table; correct its name.")
        self.open.add(id(node))
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise Refusal(
                    f"{where}: a name is a list or a table: fields have names; write prompt: ..."
                )
            if key.tag == f"{TAG}merge":
                merged = self.merged(value, where) | merged
            elif key.value in own:
                raise Refusal(
                    f"{where}: column {key.value[:60]} stands there twice: each has one value; "
                    "remove one or correct its name."
                )
            else:
                own[key.value] = self.field(value, f"{where}: column {key.value[:60]}")
        self.open.discard(id(node))
        self.tables[id(node)] = merged | own
        return self.tables[id(node)]

    def merged(self, node: Node, where: str) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        # Of several, the first counts.
        for part in reversed(node.value if isinstance(node, SequenceNode) else [node]):
            if not isinstance(part, MappingNode):
                raise Refusal(f"{where}: `<<` merges tables alone; name a table.")
            fields |= self.table(part, where)
        return fields

    def field(self, node: Node, where: str) -> Any:
        if isinstance(node, ScalarNode):
            return self.scalar(node, where)
        kind = "list" if isinstance(node, SequenceNode) else "table"
        raise Refusal(f"{where}: is a {kind}: a value is words or a number; write a single one.")

    def scalar(self, node: ScalarNode, where: str) -> Any:
        kind, text = node.tag.removeprefix(TAG), node.value
        if kind == "str":
            self.refuse_if_cut(node, where)
            return text
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in yaml.SafeLoader.bool_values:
            return yaml.SafeLoader.bool_values[text.lower()]
        if kind == "int" and WHOLE.fullmatch(text):
            return int(text.replace("_", ""), 0)
        if kind == "float" and DECIMAL.fullmatch(text):
            plain = text.lower().replace("_", "")
            return float(plain.replace(".inf", "inf").replace(".nan", "nan"))
        if kind in ("int", "float"):
            raise Refusal(
                f"{where}: {text[:60]!r} is a number that YAML reads in more than one way, or "
                "none: write it in plain decimal digits."
            )
        raise Refusal(
            f"{where}: is a {'date' if kind == 'timestamp' else kind[:60]}: a value is words or a "
            'number; write it in "quotes".'
        )

    def refuse_if_cut(self, node: ScalarNode, where: str) -> None:
        """YAML takes `` #ff0000`` for a comment: what stands before would be the prompt."""
        if node.style is None and CUT.match(self.text, node.end_mark.index):
            raise Refusal(
                f"{where}: YAML reads what follows the sign # as a comment: write the text in "
                '"quotes", or a space after # if it is a comment.'
            )


def _place_of(error: Exception) -> str:
    """Where a YAML error is, without what stands there."""
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}" if mark else "somewhere"
