"""Command-line options from the request models.

The same pydantic class makes the form, the API's check and these options, so a limit that is
changed in one place has changed everywhere.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import BaseModel


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
