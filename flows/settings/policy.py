"""What the environment says of what may not be drawn here; nothing unless an operator says so."""

import os
from collections.abc import Mapping
from pathlib import Path

from core.refusal import Refusal


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
