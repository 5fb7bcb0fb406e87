"""``lamina models``: what is installed, and what is known of it."""

import json
import re
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from core.refusal import Refusal

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def list_models() -> None:
    """List installed models: name, kind, objective, folder, and whether one is unfinished."""
    from core.models import checkpoints
    from core.models.cards import unfinished

    rows = [
        (
            folder.name,
            record["kind"],
            str(record.get("objective", "")),
            str(folder),
            unfinished(record),
        )
        for folder, record in checkpoints.list_models()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def show(
    name: str, /, *, raw: Annotated[bool, Parameter(name="--json", negative="")] = False
) -> None:
    """Show the card of a model.

    Args:
        name: Its name, as `lamina models list` shows it.
        raw: Show its record as JSON instead.
    """
    from core.models import checkpoints
    from core.models.cards import card

    found = {folder.name: (folder, record) for folder, record in checkpoints.list_models()}
    if name not in found:
        raise Refusal(
            f"{name}: no such model is installed; choose one of "
            f"{', '.join(sorted(found)) or 'none'}, or name its folder's parent in LAMINA_MODELS."
        )
    folder, record = found[name]
    page = folder / "CARD.md"
    if raw:
        print(json.dumps(record, indent=2))
    else:
        print(page.read_text(encoding="utf-8") if page.is_file() else card(record), end="")


def merge(
    name: str,
    base: str,
    /,
    *,
    lora: list[Path],
    scale: list[float] | None = None,
) -> None:
    """Make a model of another one and of LoRA files that were learned on it.

    Args:
        name: Of the new model: lower case letters, digits and dashes.
        base: Name of the installed model.
        lora: A LoRA file that lamina train wrote; may be given several times, and they add up.
        scale: How strongly each counts, in their order; 1 where none is given.
    """
    from core.models.merging import merged_model
    from flows.settings.settings import read_settings

    scales = scale or [1.0] * len(lora)
    if len(scales) != len(lora):
        raise Refusal(
            f"scale={scales}: there are {len(lora)} LoRA files and {len(scales)} scales; give one "
            "to each, in their order, or none."
        )
    if not NAME.fullmatch(name):
        raise Refusal(
            f"{name}: a model's name has lower case letters, digits and dashes, at most 63; "
            "choose such a one."
        )
    folder = read_settings().models[0] / name
    print(merged_model(folder, base, list(zip(lora, scales, strict=True))))
