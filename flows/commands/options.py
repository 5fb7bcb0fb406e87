"""Command-line options from the request models, and their complaints as sentences.

The same pydantic class makes the form, the API's check and these options, so a limit that is
changed in one place has changed everywhere.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import BaseModel, ValidationError
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


def options_of(
    model: type[BaseModel], *, given: tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command one option per field of ``model``, passed on as one ``request``.

    Args:
        model: The request model; descriptions become help, defaults stay.
        given: Fields that the command takes as its own arguments of the same names.

    Returns:
        A decorator for ``command(*arguments, request, **own_options)``. The command is called
        with a validated ``request``.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(command, eval_str=True)
        kept = [parameter for name, parameter in own.parameters.items() if name != "request"]
        fields = [_option(model, name) for name in model.model_fields if name not in given]
        names = {parameter.name for parameter in fields}

        @wraps(command)
        def with_request(*arguments: Any, **options: Any) -> Any:
            values = {name: options.pop(name) for name in names & options.keys()}
            positional = dict(zip(own.parameters, arguments, strict=False))
            values |= {name: positional[name] for name in given}
            return command(*arguments, request=model(**values), **options)

        order = sorted([*kept, *fields], key=lambda parameter: parameter.kind)
        with_request.__signature__ = own.replace(parameters=order)  # pyright: ignore[reportAttributeAccessIssue]
        with_request.__annotations__ = {p.name: p.annotation for p in order}
        return with_request

    return decorate


def sentence(error: ValidationError) -> str:
    """What came, the rule and the way out, one line per field that was refused."""
    return "\n".join(complaint(detail) for detail in error.errors())


def complaint(detail: ErrorDetails) -> str:
    """What came, the rule and the way out for one field that was refused."""
    context: Mapping[str, Any] = detail.get("ctx", {})
    if detail["type"] == "value_error":
        return str(context["error"])
    name = ".".join(map(str, detail["loc"])) or "request"
    shown = name if detail["type"] == "missing" else f"{name}={_short(detail['input'])}"
    if detail["type"] not in RULES:
        rule = detail["msg"][:1].lower() + detail["msg"][1:]
        return f"{shown}: {rule}; correct {name}, --help describes it."
    rule, way_out = RULES[detail["type"]]
    return f"{shown}: {name} {rule.format(**context)}; {way_out.format(**context)}."


def _short(value: object, longest: int = 60) -> str:
    text = str(value)
    return text if len(text) <= longest else f"{text[:longest]}..."


def _option(model: type[BaseModel], name: str) -> inspect.Parameter:
    field = model.model_fields[name]
    default = (
        inspect.Parameter.empty
        if field.is_required()
        else field.get_default(call_default_factory=True)  # pyright: ignore[reportCallIssue]
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[field.annotation, Parameter(help=field.description)],
    )
