"""How ``--help`` looks: texts fill their column, and a default that says nothing is left out."""

import re
from typing import Any

from attrs import evolve
from cyclopts.help import DefaultFormatter

SAYS_NOTHING = ("False", '""', "()")  # a flag that is off, and what a text calls empty or none


class FilledPanels(DefaultFormatter):
    """The panels of cyclopts, whose texts break where the column ends and not as in the source."""

    def __call__(self, console: Any, options: Any, panel: Any) -> None:
        """Render one panel."""
        super().__call__(console, options, panel.copy(entries=[_plain(e) for e in panel.entries]))

    def render_description(self, console: Any, options: Any, description: Any) -> None:
        """Render what stands above the panels."""
        super().render_description(console, options, _filled(description))


def _plain(entry: Any) -> Any:
    return evolve(
        entry,
        description=_filled(entry.description),
        choices=tuple(filter(None, entry.choices or ())) or None,
        default=None if entry.default in SAYS_NOTHING else _typed(entry.default),
    )


def _typed(default: Any) -> Any:
    """Several values as a person types them: ``1.0 1.0 1.0``."""
    several = isinstance(default, str) and re.fullmatch(r"\((.*)\)", default)
    return several[1].replace(",", "") if several else default


def _filled(description: Any) -> Any:
    text: Any = getattr(description, "primary_renderable", None)
    if hasattr(text, "plain"):
        text.plain = re.sub(r"(?<!\n)\n(?!\n)", " ", text.plain)
    return description
