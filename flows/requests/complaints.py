"""What a request model complains about, as sentences: what came, the rule, the way out."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

RULES = {
    "greater_than_equal": ("must be at least {ge}", "try {ge}"),
    "less_than_equal": ("must be at most {le}", "try {le}"),
    "greater_than": ("must be more than {gt}", "try a larger value"),
    "less_than": ("must be less than {lt}", "try a smaller value"),
    "multiple_of": ("must be a multiple of {multiple_of}", "try {multiple_of}"),
    "literal_error": ("must be one of {expected}", "choose one of these"),
    "missing": ("is needed and was not given", "give it a value"),
    "extra_forbidden": ("is no field of this request", "remove it or correct its name"),
    "string_too_short": ("must not be empty", "write something"),
    "string_too_long": ("must have at most {max_length} characters", "shorten it"),
}


def sentence(error: ValidationError) -> str:
    """What came, the rule and the way out, one line per field that was refused."""
    return "\n".join(complaint(detail) for detail in error.errors())


def complaint(detail: ErrorDetails) -> str:
    """What came, the rule and the way out for one field that was refused."""
    context: Mapping[str, Any] = detail.get("ctx", {})
    if detail["type"] == "value_error":
        return str(context["error"])
    said = ".".join(map(str, detail["loc"]))
    name = said or ('""' if detail["loc"] else "request")
    shown = name if detail["type"] == "missing" else f"{name}={_short(detail['input'])}"
    if detail["type"] not in RULES:
        rule = detail["msg"][:1].lower() + detail["msg"][1:]
        return f"{shown}: {rule}; correct {name}, --help describes it."
    rule, way_out = RULES[detail["type"]]
    return f"{shown}: {name} {rule.format(**context)}; {way_out.format(**context)}."


def _short(value: object, longest: int = 60) -> str:
    text = str(value)
    return text if len(text) <= longest else f"{text[:longest]}..."
