"""What the environment says of what may not be drawn here; nothing unless an operator says so."""

import os
from collections.abc import Mapping
from pathlib import Path

from core.refusal import Refusal

USUAL_THRESHOLD = 0.8


def prompt_policy(environment: Mapping[str, str] | None = None) -> Path | None:
    """The operator's file of rules for prompts; None for none.

    Args:
        environment: Variables to read; by default those of this process.

    Raises:
        Refusal: It is not named by its whole path.
    """
    variables = os.environ if environment is None else environment
    text = variables.get("LAMINA_PROMPT_POLICY", "")
    if not text:
        return None
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise Refusal(
            f"LAMINA_PROMPT_POLICY={text}: it begins with no slash: runs begin in folders of "
            "their own, so a file is named by its whole path; name it so, or leave it empty."
        )
    return path


def classifier_threshold(environment: Mapping[str, str] | None = None) -> float | None:
    """The score from which the classifier refuses a result; None where none looks.

    Args:
        environment: Variables to read; by default those of this process.

    Raises:
        Refusal: It is no classifier that is known, or no score.
    """
    variables = os.environ if environment is None else environment
    name = variables.get("LAMINA_CLASSIFIER", "") or "off"
    if name == "off":
        return None
    if name != "opennsfw":
        raise Refusal(
            f"LAMINA_CLASSIFIER={name}: results are looked into by opennsfw or by nobody; set it "
            "to opennsfw or off."
        )
    text = variables.get("LAMINA_CLASSIFIER_THRESHOLD", "") or str(USUAL_THRESHOLD)
    try:
        score = float(text)
    except ValueError:
        score = -1.0
    if not 0 < score <= 1:
        raise Refusal(
            f"LAMINA_CLASSIFIER_THRESHOLD={text}: it is a score above 0 and up to 1 from which a "
            f"result is refused; try {USUAL_THRESHOLD}."
        )
    return score
