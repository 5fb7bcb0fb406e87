"""``lamina families``: how networks can be taught, and how each is read and walked."""

import inspect

from core.refusal import Refusal


def list_families() -> None:
    """List the families: name, what the network answers with, source."""
    from core.families.table import FAMILIES

    width = max(map(len, FAMILIES))
    answers = max(len(entry.answer) for entry in FAMILIES.values())
    for name, entry in FAMILIES.items():
        print(f"{name:{width}}  {entry.answer:{answers}}  {entry.source}")


def show(name: str, /) -> None:
    """Show what a family teaches, how it is walked and where it is from.

    Args:
        name: Its name, as `lamina families list` shows it.
    """
    from core.families.table import FAMILIES

    if name not in FAMILIES:
        raise Refusal(
            f"{name}: no such family; choose one of {', '.join(FAMILIES)}, or add its file and "
            "its line to core/families/table.py."
        )
    entry = FAMILIES[name]
    module = inspect.getmodule(entry.denoiser)
    print(inspect.cleandoc((module and module.__doc__) or ""))
    print(f"\nThe network answers with {entry.answer}; its usual sampler is {entry.sampler}")
    if entry.highest < 1:
        print(f"and walks begin at level {entry.highest}, as at 1 its answer says nothing.")
    print(f"Source: {entry.source}")
    print(f"Train one: lamina train video --family {name}, lamina train mri --family {name}")
