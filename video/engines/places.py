"""Where engines stand on this machine, and where what is known of them and their clips is kept."""

import os
from pathlib import Path

HOME = ".lamina"
INDEX = "model_index.json"
MOST_STATE_BYTES = 400_000_000  # of what our own model keeps of a walk; of a larger one nothing is
WALK = 3  # of what leads our own walks: layouts, held things; raised where that changes
ASKED_A_STEP = {"heun": 2}  # how often samplers ask the network; the others once


def shelves() -> list[Path]:
    """Folders that hold engines' folders, by LAMINA_ENGINES."""
    named = os.environ.get("LAMINA_ENGINES", "").split(os.pathsep)
    return [Path(path).expanduser() for path in named if path] or [_home() / "engines"]


def servers() -> dict[str, str]:
    """Servers of clips that have a name here, by LAMINA_ENGINE_SERVERS: ``fast=http://gpu:8091``."""
    named = (word.partition("=") for word in os.environ.get("LAMINA_ENGINE_SERVERS", "").split())
    return {name: address for name, _, address in named if address}


def is_engine(name: str) -> bool:
    """Whether a name is that of an engine beside our own: on a shelf, a folder or a server."""
    named = "/" in name or name in servers()
    return named or any(
        os.path.isfile(shelf / name / INDEX)  # unlike Path's, false for a name too long
        for shelf in shelves()
    )


def whereabouts() -> tuple[str, ...]:
    """All that decides what a name or a relative folder stands for."""
    names = ("LAMINA_ENGINES", "LAMINA_ENGINE_SERVERS", "LAMINA_HOME")
    return (*(os.environ.get(name, "") for name in names), os.getcwd())


def known_folder() -> Path:
    """What was found of engines, by digests."""
    return _home() / "known-engines"


def states_folder() -> Path:
    """States of clips under way."""
    return _home() / "states"


def states_kept() -> bool:
    """Whether the state of any clip stands."""
    return any(states_folder().glob("*.safetensors"))


def _home() -> Path:
    return Path(os.environ.get("LAMINA_HOME") or HOME).expanduser()


def walk_bytes(values: int, steps: int, sampler: str) -> int:
    """What the answers of a walk of our own model take, kept in float32.

    Args:
        values: Of one answer.
        steps: Walked.
        sampler: Its name.
    """
    return 4 * values * steps * ASKED_A_STEP.get(sampler, 1)
