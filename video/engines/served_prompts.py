"""A request whose prompt is read before anything is drawn: corrected, remarked on, or refused."""

from collections.abc import Mapping
from typing import Any

from core.operations.operation import Reading
from video.request import VideoRequest
from video.world.understanding import check_servable, understand

WORLD = "the procedural world"


def knows_only_scenes(record: Mapping[str, Any]) -> bool:
    """Whether a model was trained on the procedural world, going by its record.

    A model of own clips may know any word, and so may one whose record does not say.
    """
    training = record.get("training") or {}
    asked = training.get("request")
    if isinstance(asked, Mapping):
        return asked.get("clips") == ""
    return str(training.get("data", "")).startswith(WORLD)


def serve(request: VideoRequest, record: Mapping[str, Any], *, strict: bool = False) -> Reading:
    """The request as it is drawn; models of own clips take any prompt as it is typed.

    The facts are ``prompt_as_typed`` and ``read_as`` where something was corrected, and
    ``not_understood`` where words are left out.

    Args:
        request: As it was asked.
        record: Of the model that will answer.
        strict: Refuse a prompt of which a word is not understood.

    Raises:
        Refusal: The model cannot show what the prompt asks for.
    """
    if not knows_only_scenes(record):
        return Reading(request)
    found = understand(request.prompt)
    check_servable(found, request.model, strict=strict)
    if found.corrections:
        request = request.model_copy(update={"prompt": found.prompt})
    return Reading(request, found.facts(), tuple(found.remarks()))
