"""Models and engines that stand here, by name: files alone are looked at, without torch."""

from importlib.util import find_spec
from pathlib import Path

from core.refusal import Refusal
from flows.settings.settings import read_settings
from video.engines.places import INDEX, servers

SHIPPED = ("video", "medical")
OWN = "own"


class NotInstalledRefusal(Refusal):
    """A model or an engine is named that does not stand here."""


def installed_models(kind: str) -> list[str]:
    """Names of the models of a kind, the operator's and the shipped ones."""
    from core.models.files import RECORD, read_record
    from core.trouble import Trouble

    specs = [find_spec(package) for package in SHIPPED]
    shipped = [Path(s.origin).parent / "weights" for s in specs if s and s.origin]
    found: dict[str, str] = {}
    for shelf in (*read_settings().models, *shipped):
        for path in sorted(shelf.glob(f"*/{RECORD}")):
            try:
                found.setdefault(path.parent.name, read_record(path.parent)["kind"])
            except (ValueError, OSError, Trouble):  # one that is broken hides no other
                continue
    return sorted(name for name, of in found.items() if of == kind)


def installed_engines() -> list[str]:
    """Our own model, the engines on the shelves, and servers that have a name."""
    shelves = read_settings().engines
    folders = {path.parent.name for shelf in shelves for path in shelf.glob(f"*/{INDEX}")}
    return [OWN, *sorted({*folders, *servers()} - {OWN})]


def check_installed(model: str, engine: str) -> None:
    """Refuse what names a model or an engine of clips that is not here; a server is not asked.

    Args:
        model: Of ours; looked at where no engine is named.
        engine: A name, a folder with a slash, or an address; empty for a model of ours.

    Raises:
        NotInstalledRefusal: With what is here.
    """
    models, engines = installed_models("video"), installed_engines()[1:]
    if "://" in engine or engine in servers():
        return
    if "/" in engine:
        here = (Path(engine).expanduser() / INDEX).is_file()
    else:
        here = engine in engines if engine else model in models
    if not here:
        named = ", ".join([*models, *engines]) or "none"
        raise NotInstalledRefusal(
            f"model={engine or model}: no such model or engine stands here: one is named as "
            f"`lamina models list` or `lamina engines list` shows it; choose one of {named}."
        )
