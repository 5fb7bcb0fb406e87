"""How a flow's form differs from the request behind it, which commands and files know, too.

A form has no use for a seed that is there unasked: left empty, one is drawn, and the record tells
it. Commands, files and batches take 0 where none is named, so that the same words make the same
result.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from core.refusal import Refusal
from core.request import Request
from core.wording import inside
from flows.requests.complaints import sentence
from flows.requests.installed import OWN, installed_engines, installed_models
from flows.requests.uploads import PREFIX

SEEDS = 2**31
DRAWN = "Left empty, one is drawn and recorded."
SCANS = {"scan", "scans", "mask", "protect"}
UPLOADED = f" {PREFIX}NAME takes one that was uploaded in the gallery."
NAMED = "Left empty, one follows from the name and is recorded."

ADVANCED = "advanced"
FOLDED = {
    "VideoRequest": (
        "fps", "height", "width", "steps", "sampler", "guidance", "negative", "first", "last",
        "lora", "lora_scale", "unmarked", "boxes", "key", "control", "control_clip",
        "reference", "control_scale", "picture", "draft_after", "backend",
        "placement",
    ),
    "SuperResolutionRequest": (
        "steps", "slice_thickness_mm", "slice_gap_mm", "profile", "noise_std", "protect",
        "edition", "lora", "lora_scale", "adapt_minutes", "control", "control_scan",
        "control_scale", "backend",
    ),
    "MRIDatasetRequest": (
        "formats", "sources", "site", "accept_linkage", "linkage_drawings", "dataset_number",
    ),
    "VideoTrainingRequest": (
        "network", "family", "lora", "masks", "control", "count_shares", "layout_steps",
        "steps", "jump_steps", "batch_size", "accumulation", "learning_rate", "compile",
    ),
    "MRITrainingRequest": (
        "contrast_share", "lesion_share", "deformation_share", "network", "family", "lora",
        "control", "steps", "jump_steps", "batch_size", "accumulation", "learning_rate", "compile",
    ),
    "ClipBatchRequest": (
        "fps", "height", "width", "steps", "sampler", "guidance", "negative", "draws",
        "plateau_draws", "plateau_gain", "picture", "backend", "placement", "limits",
    ),
    "ExtendRequest": ("backend", "placement"),
    "FillRequest": ("backend", "placement"),
    "EditRequest": ("backend", "placement"),
    "ScanBatchRequest": (
        "steps", "slice_thickness_mm", "slice_gap_mm", "profile", "noise_std", "adapt_minutes",
        "backend", "limits",
    ),
}  # fmt: skip
"""Fields that few people change, by request: its form shows them when a person asks for them."""
KINDS = {"Video": "video", "Clip": "video", "SuperResolution": "mri", "MRI": "mri", "Scan": "mri"}
"""How a request's name begins, to the kind of its models."""
MODELS_AND_STARTS = ("model", "start")

Fields = dict[str, Any]


@dataclass(frozen=True)
class Unfit:
    """Stands for a request that its model refused.

    Prefect would end the run before the flow, in a state that looks like a fault's; so the flow is
    called, and what explains its failures says why.
    """

    why: str


class Form:
    """Marks the request of a flow, which a person fills in as a form."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """The request, with a seed where the form was sent without one, or why it is refused."""
        model = _model(source)

        def checked(sent: Any, check: core_schema.ValidatorFunctionWrapHandler) -> Any:
            try:
                return check(with_seed(model, flat(sent)) if isinstance(sent, dict) else sent)
            except Refusal as error:
                return Unfit(str(error))
            except ValidationError as error:
                return Unfit(sentence(error))

        return core_schema.no_info_wrap_validator_function(checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Fields:
        """What the form shows."""
        shown = handler(schema)
        form = handler.resolve_ref_schema(shown)
        fields: Fields = form["properties"]
        if (seed := fields.get("seed", {})).get("default") == 0:
            del seed["default"]
            told = NAMED if "name" in fields else DRAWN
            seed["description"] = f"{seed['description']} {told}"
        for name in fields.keys() & SCANS:
            fields[name]["description"] += UPLOADED
        _offer(form["title"], fields)
        _fold(form)
        return shown


def flat(sent: Fields) -> Fields:
    """What a form sent, with the fields that it folds away among the others.

    Raises:
        Refusal: One of them is told twice.
    """
    if not isinstance(folded := sent.get(ADVANCED), dict):
        return sent
    if twice := sorted(folded.keys() & sent.keys()):
        raise Refusal(
            f"{twice[0]}: it is told twice, alone and among {ADVANCED}: a field has one value; "
            "leave one of them out."
        )
    return {name: told for name, told in {**sent, **folded}.items() if name != ADVANCED}


def _offer(request: str, fields: Fields) -> None:
    """Let models and engines be chosen from those that are installed, or named as before."""
    kind = next((kind for begins, kind in KINDS.items() if request.startswith(begins)), "")
    for name in MODELS_AND_STARTS if kind else ():
        if name in fields:
            _choose(fields[name], "model", installed_models(kind), "Another model")
    if "engine" in fields:
        fields["engine"]["default"] = OWN
        _choose(fields["engine"], "engine", installed_engines(), "Another engine")


def _choose(field: Fields, kind: str, known: list[str], otherwise: str) -> None:
    """Let one of a list be chosen or another be named; the list says what it is of."""
    listed = f"Installed {kind}"
    rules = {key: field.pop(key) for key in ("type", "maxLength", "minLength") if key in field}
    if not field["default"]:
        del field["default"]
    field["description"] += (
        f" “{listed}” lists what stood there when the server started; "
        f"“{otherwise}” takes all else."
    )
    field["anyOf"] = [
        {"type": "string", "enum": known, "title": listed},
        {**rules, "title": otherwise},
    ]


def _fold(form: Fields) -> None:
    """Put fields that few people change behind a tab; sent among the others they stay valid."""
    fields: Fields = form["properties"]
    folded = {name: fields.pop(name) for name in FOLDED.get(form["title"], ()) if name in fields}
    if not folded:
        return
    for place, field in enumerate(folded.values()):
        field["position"] = place
    plain = {"type": "object", "title": "Usual values", "properties": {}, "maxProperties": 0}
    told = {"title": "Set them", "properties": folded, "additionalProperties": False}
    fields[ADVANCED] = {
        "title": "Advanced",
        "description": _listed([str(field["title"]) for field in folded.values()]),
        "anyOf": [plain, {"type": "object", **told}],
        "position": len(FOLDED[form["title"]]) + len(fields),
    }
    form["patternProperties"] = {f"^{name}$": field for name, field in folded.items()}


def _listed(titles: list[str]) -> str:
    """A sentence of titles."""
    return f"{', '.join([titles[0], *map(inside, titles[1:])])}."


def with_seed(model: type[BaseModel], sent: Fields) -> Fields:
    """What a form sent, with a seed if the request has one and none was named.

    A run that is tried again draws the same. What goes on under its name when it is asked for
    again (a training, a dataset) has the seed of its name.
    """
    field = model.model_fields.get("seed")
    if field is None or field.default != 0 or sent.get("seed") is not None:
        return sent
    from prefect.runtime import flow_run  # commands read forms' fields without Prefect

    name = model.model_fields.get("name")
    after = sent.get("name", name.default) if name else flow_run.id or secrets.token_hex()
    return {**sent, "seed": seed_after(str(after))}


def seed_after(words: str) -> int:
    """A seed that follows from words."""
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8]) % SEEDS


def without(annotation: Any) -> Request | Unfit:
    """The request of a form that was sent without any, or why there must be one."""
    model = _model(annotation)
    try:
        return model.model_validate(with_seed(model, {}))
    except ValidationError as error:
        return Unfit(sentence(error))


def _model(source: Any) -> type[Request]:
    """The request's class, however it is annotated."""
    while not isinstance(source, type):
        source = get_args(source)[0]
    return source
