"""``lamina models``: what is installed, and what is known of it."""

import json
from typing import Annotated

from cyclopts import Parameter

from core.refusal import Refusal


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
