"""``lamina models``: what is installed, and what is known of it."""

import json

from core.refusal import Refusal


def list_models() -> None:
    """List installed models: name, kind, objective, folder."""
    from core.models import checkpoints

    rows = [
        (folder.name, record["kind"], str(record.get("objective", "")), str(folder))
        for folder, record in checkpoints.list_models()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def show(name: str, /) -> None:
    """Show the card and the record of a model.

    Args:
        name: Its name, as `lamina models list` shows it.
    """
    from core.models import checkpoints

    found = {folder.name: (folder, record) for folder, record in checkpoints.list_models()}
    if name not in found:
        raise Refusal(
            f"{name}: no such model is installed; choose one of "
            f"{', '.join(sorted(found)) or 'none'}, or name its folder's parent in LAMINA_MODELS."
        )
    folder, record = found[name]
    card = folder / "CARD.md"
    if card.is_file():
        print(card.read_text(encoding="utf-8"))
        print(f"Record, {folder / 'model.json'}:")
    print(json.dumps(record, indent=2))
