"""How a flow's form differs from the request behind it, which commands and files know, too.

A form has no use for a seed that is there unasked: left empty, one is drawn, and the record tells
it. Commands, files and batches take 0 where none is named, so that the same words make the same
result.
"""

import hashlib
import secrets
from typing import Any, get_args

from prefect.runtime import flow_run
from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from core.request import Request
from flows.requests.uploads import PREFIX

SEEDS = 2**31
DRAWN = "Left empty, one is drawn and recorded."
SCANS = {"scan", "scans", "mask", "protect"}
UPLOADED = f" {PREFIX}NAME takes one that was uploaded in the gallery."
NAMED = "Left empty, one follows from the name and is recorded."

Fields = dict[str, Any]


class Form:
    """Marks the request of a flow, which a person fills in as a form."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """The request, with a seed where the form was sent without one."""
        model = _model(source)

        def filled(sent: Any) -> Any:
            return with_seed(model, sent) if isinstance(sent, dict) else sent

        return core_schema.no_info_before_validator_function(filled, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Fields:
        """What the form shows."""
        shown = handler(schema)
        fields: Fields = handler.resolve_ref_schema(shown)["properties"]
        if (seed := fields.get("seed", {})).get("default") == 0:
            del seed["default"]
            told = NAMED if "name" in fields else DRAWN
            seed["description"] = f"{seed['description']} {told}"
        for name in fields.keys() & SCANS:
            fields[name]["description"] += UPLOADED
        return shown


def with_seed(model: type[BaseModel], sent: Fields) -> Fields:
    """What a form sent, with a seed if the request has one and none was named.

    A run that is tried again draws the same. What goes on under its name when it is asked for
    again (a training, a dataset) has the seed of its name.
    """
    field = model.model_fields.get("seed")
    if field is None or field.default != 0 or sent.get("seed") is not None:
        return sent
    name = model.model_fields.get("name")
    after = sent.get("name", name.default) if name else flow_run.id or secrets.token_hex()
    return {**sent, "seed": seed_after(str(after))}


def seed_after(words: str) -> int:
    """A seed that follows from words."""
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8]) % SEEDS


def _model(source: Any) -> type[Request]:
    """The request's class, however it is annotated."""
    while not isinstance(source, type):
        source = get_args(source)[0]
    return source
